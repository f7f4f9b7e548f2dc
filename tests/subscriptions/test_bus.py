"""The bus on PostgreSQL: heard after the commit, by every process; a silence is noticed, told and repaired."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import make_url, text

from server.errors import StartupError
from server.runtime import Resolved, Runtime, open_runtime
from server.settings import Settings
from subscriptions import topics
from tests.client import Client, open_socket
from tests.conftest import SETTINGS, Running, StartServer
from tests.subscriptions.hearing import Ear, caught_up, ear
from tests.subscriptions.proxy import Proxy, open_proxy
from tests.subscriptions.queues import Watched, watch
from tests.waiting import eventually

CHANGED = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { isLive } } }"
SIGN_OUT = "mutation { sessionDelete { user { id } } }"


def frame(*, is_live: bool) -> dict[str, object]:
    return {"channelChanged": {"channel": {"isLive": is_live}}}


async def go(runtime: Runtime, channel: Watched, name: str, second: int = 0) -> None:
    await runtime.ingest.apply([channel.parsed(name, second=second)], door="test")


async def test_a_rollback_says_nothing(running: Running) -> None:
    services, channel_id = running.runtime.services, uuid4()
    async with ear(services, channel_id) as listener:

        async def fail() -> None:
            async with services.publisher.transaction() as transaction:
                transaction.channel_changed(channel_id)
                await transaction.session.execute(text("SELECT 1 / 0"))

        with pytest.raises(Exception, match="division by zero"):
            await fail()
        assert await listener.silent(services)

        async with services.publisher.transaction() as transaction:
            transaction.channel_changed(channel_id)
            assert await listener.silent(services)
        await listener.hears()


async def test_what_one_process_writes_the_subscribers_of_another_see(
    running: Running, start_server: StartServer, client: Client
) -> None:
    user = await client.register()
    async with start_server(worker=False) as other, open_socket(other.url, user.token) as socket:
        await socket.subscribe("1", CHANGED, {"id": user.channel_id})
        assert await socket.next("1") == frame(is_live=False)
        channel = await Watched.of(running.runtime.services.sessions, user.username)
        await go(running.runtime, channel, "Stream Start")
        assert await socket.next("1") == frame(is_live=True)
        await go(running.runtime, channel, "Stream End", 1)
        assert await socket.next("1") == frame(is_live=False)

        # A session that ends here ends there.
        await client.data(SIGN_OUT, token=user.token)
        assert (await socket.closed())[0] == 4403


async def test_fifty_that_begin_to_listen_at_once_all_hear(running: Running) -> None:
    services, channel_id = running.runtime.services, uuid4()
    async with AsyncExitStack() as stack:
        ears = await asyncio.gather(*(stack.enter_async_context(ear(services, channel_id)) for _ in range(50)))
        for _ in range(3):
            async with services.publisher.transaction() as transaction:
                transaction.channel_changed(channel_id)
            await asyncio.gather(*(one.hears() for one in ears))
        assert all(await asyncio.gather(*(one.silent(services) for one in ears)))
    assert services.hub.listeners(topics.channel(channel_id)) == 0


@asynccontextmanager
async def behind(proxy: Proxy, start_server: StartServer, resolved: Resolved) -> AsyncIterator[Running]:
    """A server whose bus, and nothing else, is reached through the proxy."""
    bus_url = make_url(resolved.bus_url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    async with start_server(resolved=replace(resolved, bus_url=bus_url)) as running:
        yield running


@pytest.fixture
async def proxy(resolved: Resolved) -> AsyncIterator[Proxy]:
    async with open_proxy(make_url(resolved.bus_url).port or 5432) as proxy:
        yield proxy


async def healthy(running: Running) -> bool:
    return running.runtime.services.hub.healthy


async def unhealthy(running: Running) -> bool:
    return not running.runtime.services.hub.healthy


async def listening_connections(runtime: Runtime) -> set[int]:
    async with runtime.services.sessions() as session:
        found = await session.execute(text("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
        return set(found.scalars())


@pytest.mark.parametrize("fault", ["terminated", "silent"])
async def test_a_lost_listener_is_noticed_told_and_made_up_for(
    running: Running, start_server: StartServer, resolved: Resolved, proxy: Proxy, fault: str
) -> None:
    channel = await watch(running.runtime.services.sessions)
    others = await listening_connections(running.runtime)
    reconnects = REGISTRY.get_sample_value("streamcat_bus_reconnects_total") or 0
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(behind(proxy, start_server, resolved))
        services = own.runtime.services
        socket = await stack.enter_async_context(open_socket(own.url))
        await socket.subscribe("1", CHANGED, {"id": channel.node_id})
        assert await socket.next("1") == frame(is_live=False)
        ears: list[Ear] = [await stack.enter_async_context(ear(services, uuid4())) for _ in range(20)]

        if fault == "terminated":
            [listener] = await listening_connections(running.runtime) - others
            proxy.cut()
            async with services.sessions() as session:
                await session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": listener})
        else:
            proxy.swallow()
        await go(running.runtime, channel, "Stream Start")
        await eventually(lambda: unhealthy(own), "the silence is noticed", 6)

        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{own.url}/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"database": "ok", "bus": "silent: being reconnected", "queue": "ok"}
        await caught_up(running.runtime.services)
        assert [one.waiting().done() for one in ears] == [False] * 20

        proxy.mend()
        await eventually(lambda: healthy(own), "the bus is back", 15)
        # What was said meanwhile is made up for: everybody looks again, and hears what is said from now on.
        assert await socket.next("1") == frame(is_live=True)
        await asyncio.gather(*(one.hears() for one in ears))
        await go(running.runtime, channel, "Stream End", 5)
        assert await socket.next("1") == frame(is_live=False)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{own.url}/readyz")).json()["bus"] == "ok"
        assert all(await asyncio.gather(*(one.silent(services) for one in ears)))
        assert REGISTRY.get_sample_value("streamcat_bus_reconnects_total") == reconnects + 1
        if fault == "terminated":
            assert len(await listening_connections(running.runtime)) == len(others) + 1


async def test_a_process_does_not_start_without_its_bus(resolved: Resolved) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    bus_url = make_url(resolved.bus_url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    async def start() -> None:
        async with open_runtime(Settings(**SETTINGS), replace(resolved, bus_url=bus_url)):
            pass

    with pytest.raises(StartupError, match="The bus does not answer: ConnectionRefusedError"):
        await start()
