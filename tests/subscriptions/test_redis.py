"""The bus on Redis: heard by every process, and made up for after an outage."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import text

from resolvers.context import Services
from server.runtime import Resolved
from tests.client import open_socket
from tests.conftest import Running, StartServer
from tests.subscriptions.hearing import Ear, caught_up, ear
from tests.subscriptions.proxy import open_proxy
from tests.subscriptions.queues import Watched, watch
from tests.subscriptions.redis_server import Redis
from tests.waiting import eventually

pytestmark = pytest.mark.redis

CHANGED = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { isLive } } }"


@pytest.fixture
async def two(redis: Redis, start_server: StartServer, resolved: Resolved) -> AsyncIterator[tuple[Running, Running]]:
    """Two processes on one Redis."""
    own = replace(resolved, bus_url=f"redis://127.0.0.1:{redis.port}/0")
    async with start_server(resolved=own, worker=False) as one, start_server(resolved=own, worker=False) as other:
        yield one, other


def frame(*, is_live: bool) -> dict[str, object]:
    return {"channelChanged": {"channel": {"isLive": is_live}}}


async def go(running: Running, channel: Watched, name: str, second: int) -> None:
    await running.runtime.ingest.apply([channel.parsed(name, second=second)], door="test")


async def settled(*services: Services) -> None:
    """Both processes hear."""

    async def healthy() -> bool:
        return all(one.hub.healthy for one in services)

    await eventually(healthy, "Redis is heard again", 10)


async def test_what_one_writes_the_other_hears_and_a_rollback_nobody(two: tuple[Running, Running]) -> None:
    here, there = two
    channel = await watch(here.runtime.services.sessions)
    async with open_socket(there.url) as socket, ear(there.runtime.services, channel.id) as listener:
        await socket.subscribe("1", CHANGED, {"id": channel.node_id})
        assert await socket.next("1") == frame(is_live=False)
        await go(here, channel, "Stream Start", 0)
        assert await socket.next("1") == frame(is_live=True)
        await listener.hears()
        await go(here, channel, "Stream End", 5)
        assert await socket.next("1") == frame(is_live=False)
        await listener.hears()

        async def fail() -> None:
            async with here.runtime.services.publisher.transaction() as transaction:
                transaction.channel_changed(channel.id)
                await transaction.session.execute(text("SELECT 1 / 0"))

        with pytest.raises(Exception, match="division by zero"):
            await fail()
        await caught_up(here.runtime.services)
        assert await listener.silent(there.runtime.services)


async def test_many_that_write_at_once_are_all_heard(two: tuple[Running, Running]) -> None:
    here, there = two
    channels = [await watch(here.runtime.services.sessions) for _ in range(30)]
    async with AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(ear(there.runtime.services, one.id)) for one in channels]
        await asyncio.gather(*(go(here, one, "Stream Start", 0) for one in channels))
        await asyncio.gather(*(one.hears() for one in ears))


async def test_an_outage_fails_no_writer_and_is_made_up_for(two: tuple[Running, Running], redis: Redis) -> None:
    here, there = two
    channel, other = [await watch(here.runtime.services.sessions) for _ in range(2)]
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(open_socket(there.url))
        await socket.subscribe("1", CHANGED, {"id": channel.node_id})
        assert await socket.next("1") == frame(is_live=False)
        ears: list[Ear] = [await stack.enter_async_context(ear(there.runtime.services, other.id)) for _ in range(20)]

        redis.kill()
        # At once, before anybody has noticed; and later, when it is known.
        await go(here, other, "Stream Start", 0)

        async def deaf() -> bool:
            return not (here.runtime.services.hub.healthy or there.runtime.services.hub.healthy)

        await eventually(deaf, "both notice", 10)
        await go(here, channel, "Stream Start", 0)
        assert await channel.streams() == [("st-one", "LIVE")]

        redis.start()
        await settled(here.runtime.services, there.runtime.services)
        assert await socket.next("1") == frame(is_live=True)
        await asyncio.gather(*(one.hears() for one in ears))
        await go(here, channel, "Stream End", 9)
        assert await socket.next("1") == frame(is_live=False)


async def test_a_writer_that_lost_its_way_to_redis_tells_the_others_later(
    redis: Redis, start_server: StartServer, resolved: Resolved
) -> None:
    # For the others nothing is amiss, so no gap makes them look.
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(open_proxy(redis.port))
        direct, around = (replace(resolved, bus_url=f"redis://127.0.0.1:{port}/0") for port in (redis.port, proxy.port))
        there = await stack.enter_async_context(start_server(resolved=direct, worker=False))
        here = await stack.enter_async_context(start_server(resolved=around, worker=False))
        channel = await watch(here.runtime.services.sessions)
        listener = await stack.enter_async_context(ear(there.runtime.services, channel.id))
        proxy.cut()
        await go(here, channel, "Stream Start", 0)
        assert await listener.silent(there.runtime.services)
        proxy.mend()
        await listener.hears()
        assert there.runtime.services.hub.healthy
