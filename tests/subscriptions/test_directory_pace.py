"""However much changes, who watches the directory is answered no oftener than the rules say, and let go in time."""

import asyncio
import time

from server.runtime import Resolved
from tests.accounts import metric
from tests.client import Client
from tests.conftest import StartServer
from tests.owners import UPDATE, Owner
from tests.subscriptions.directory import watcher
from tests.waiting import eventually


async def test_changes_become_one_answer_per_interval(here: Resolved, start_server: StartServer) -> None:
    interval = 0.5
    async with start_server(resolved=here, worker=False, directory_interval_seconds=interval) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        await owner.goes_live()
        began = time.monotonic()
        async with watcher(running) as all_of_them:
            await all_of_them.next()
            changing = asyncio.create_task(_rename(owner, 40))
            rests, last = 0, ""
            while last != "title 39":
                (shown,) = (await all_of_them.next())["liveChannels"]["nodes"]
                rests, last = rests + 1, shown["title"]
                assert rests * interval <= time.monotonic() - began
            await changing
            assert rests < 40
            await all_of_them.silent()
        await client.aclose()


async def _rename(owner: Owner, times: int) -> None:
    for number in range(times):
        await owner.done(UPDATE, title=f"title {number}")


async def test_shutdown_ends_whoever_rests(here: Resolved, start_server: StartServer) -> None:
    async with start_server(resolved=here, worker=False, directory_interval_seconds=60) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        async with watcher(running) as all_of_them:
            await all_of_them.sees()
            await owner.goes_live()
            await all_of_them.silent()
            began = time.monotonic()
            running.server.should_exit = True
            assert (await all_of_them.socket.closed())[0] == 1012
            assert time.monotonic() - began < 10
        await client.aclose()


async def test_nobody_listens_any_more_when_all_have_left(here: Resolved, start_server: StartServer) -> None:
    async with start_server(resolved=here, worker=False, directory_interval_seconds=0) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        hub, before = running.runtime.services.hub, await metric(running.url, "streamcat_subscriptions")

        async def listening(number: int) -> None:
            async def counted() -> bool:
                # Who asks the same listens once.
                shared = hub.listeners("directory") == min(number, 1)
                return shared and await metric(running.url, "streamcat_subscriptions") == before + number

            await eventually(counted, f"{number} listen")

        async with watcher(running) as one, watcher(running) as other:
            await one.sees()
            await other.sees()
            await listening(2)
            await other.socket.send({"type": "complete", "id": "1"})
            await listening(1)
            await owner.goes_live()
            await one.sees(f"{owner.user.username}'s channel")
            await other.silent()
        await listening(0)
        await client.aclose()
