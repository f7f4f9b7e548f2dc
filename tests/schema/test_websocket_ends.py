import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import UUID

import pytest
import websockets
from websockets.frames import Close, Opcode

from schema.base import parse_id
from subscriptions import topics
from tests.accounts import SIGN_OUT, VIEWER, metric, sign_in, sql
from tests.client import Client, Registered, Socket, open_socket
from tests.conftest import Running, StartServer
from tests.raw_socket import RawSocket, open_raw
from tests.waiting import eventually

WATCH = "subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { title } } }"
SESSION_OVER = (4403, "Forbidden: the session is over")


def topic(user: Registered) -> str:
    return topics.channel(parse_id(user.channel_id, argument="id", expected="Channel")[1])


def watching(user: Registered) -> dict[str, Any]:
    return {"id": "1", "type": "subscribe", "payload": {"query": WATCH, "variables": {"id": user.channel_id}}}


async def watch(socket: Socket, user: Registered) -> None:
    await socket.send(watching(user))
    await socket.next("1")


async def listeners_become(running: Running, user: Registered, count: int) -> None:
    async def so_many() -> bool:
        return running.runtime.services.hub.listeners(topic(user)) == count

    await eventually(so_many, f"{count} listeners")


async def alive(socket: Socket) -> None:
    await socket.send({"type": "ping"})
    assert await socket.receive() == {"type": "pong"}


@pytest.mark.parametrize("end", ["complete", "close", "cut"])
async def test_the_end_of_a_subscription_leaves_nothing_behind(client: Client, running: Running, end: str) -> None:
    user = await client.register()
    before = await metric(running.url, "streamcat_subscriptions")

    async def subscriptions_become(number: int) -> None:
        async def so_many() -> bool:
            return await metric(running.url, "streamcat_subscriptions") == before + number

        await eventually(so_many, f"{number} subscriptions")

    async with open_socket(running.url) as other:
        await watch(other, user)
        async with open_socket(running.url) as socket:
            await watch(socket, user)
            await subscriptions_become(2)
            # They ask the same.
            assert running.runtime.services.hub.listeners(topic(user)) == 1
            if end == "complete":
                await socket.send({"id": "1", "type": "complete"})
                await alive(socket)
            elif end == "close":
                await socket.raw.close()
            else:
                socket.raw.transport.abort()
            await subscriptions_become(1)
            await listeners_become(running, user, 1)
        await alive(other)
    await subscriptions_become(0)
    await listeners_become(running, user, 0)


async def test_sign_out_anywhere_closes_the_sessions_sockets(
    client: Client, running: Running, start_server: StartServer
) -> None:
    user = await client.register()
    second = (await sign_in(client, user.username))["token"]
    cookie = {"cookie": f"streamcat_session={user.token}"}
    async with (
        start_server(worker=False) as elsewhere,
        open_socket(running.url, user.token) as by_token,
        open_socket(running.url, headers=cookie) as by_cookie,
        open_socket(running.url, second) as other_session,
        open_socket(running.url) as guest,
    ):
        await watch(by_token, user)
        away = Client(elsewhere.url)
        assert await away.data(SIGN_OUT, token=user.token) == {"sessionDelete": {"user": {"username": user.username}}}
        await away.aclose()
        assert await by_token.closed() == SESSION_OVER
        assert await by_cookie.closed() == SESSION_OVER
        for socket in (other_session, guest):
            await alive(socket)
        await listeners_become(running, user, 0)


async def test_sign_out_over_a_socket_is_answered_before_it_closes(client: Client, running: Running) -> None:
    user = await client.register()
    # The notice and the answer race; several turns, so that either would come first in one of them.
    for _ in range(8):
        token = (await sign_in(client, user.username))["token"]
        async with open_socket(running.url, token) as socket:
            await watch(socket, user)
            await socket.subscribe("out", SIGN_OUT)
            assert await socket.next("out") == {"sessionDelete": {"user": {"username": user.username}}}
            assert await socket.receive() == {"id": "out", "type": "complete"}
            assert await socket.closed() == SESSION_OVER


async def test_a_socket_ends_when_its_sessions_time_is_over(client: Client, running: Running) -> None:
    user = await client.register()
    lasting = (await sign_in(client, user.username))["token"]
    soon = (
        "UPDATE sessions SET expires_at = now() + interval '1.5 s' "
        "WHERE token_hash = sha256(convert_to(:token, 'UTF8')) RETURNING id"
    )
    async with open_socket(running.url, lasting) as other:
        ((session_id,),) = await sql(running.runtime, soon, token=user.token)
        async with open_socket(running.url, user.token) as socket:
            await watch(socket, user)
            assert running.runtime.services.hub.listeners(topics.session(UUID(str(session_id)))) == 1
            assert await socket.closed() == SESSION_OVER
        assert running.runtime.services.hub.listeners(topics.session(UUID(str(session_id)))) == 0
        await alive(other)


async def test_at_shutdown_sockets_close_and_no_subscription_is_complete(
    client: Client, start_server: StartServer
) -> None:
    """Clients take `complete` for the end; after 1012 alone they subscribe again elsewhere."""
    user = await client.register()
    async with start_server(worker=False) as server, open_socket(server.url) as one, open_socket(server.url) as two:
        for socket in (one, two):
            await watch(socket, user)
        await two.subscribe("2", WATCH, {"id": user.channel_id})
        await two.next("2")
        async with open_socket(server.url) as idle:
            server.server.should_exit = True
            for socket in (one, two, idle):
                with pytest.raises(websockets.ConnectionClosedError) as closed:
                    await socket.receive()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "Service restart")
        assert server.runtime.services.hub.listeners(topic(user)) == 0


async def test_during_shutdown_new_sockets_are_refused_and_queries_are_answered(start_server: StartServer) -> None:
    async with start_server(worker=False) as server:
        await server.server._web.shut_down()
        async with open_socket(server.url, init=False) as socket:
            assert await socket.closed() == (1012, "Service restart")
        client = Client(server.url)
        assert await client.data(VIEWER) == {"viewer": None}
        await client.aclose()


async def pongs_until_stuck(raw: RawSocket) -> None:
    """Ask for far more than the buffers on the way hold, and read nothing of it."""
    while True:
        await raw.send({"type": "ping", "payload": {"a": "x" * 90_000}})


async def answers_until_stuck(raw: RawSocket) -> None:
    """The same by operations: an answer repeats the alias that was asked for."""
    number = 0
    while True:
        number += 1
        query = f"{{ {'a' * 90_000}: __typename }}"
        await raw.send({"id": f"n{number}", "type": "subscribe", "payload": {"query": query}})


@pytest.mark.parametrize("flood", [pongs_until_stuck, answers_until_stuck])
async def test_a_client_that_does_not_read_is_dropped_and_delays_nobody(
    client: Client, start_server: StartServer, flood: Callable[[RawSocket], Coroutine[Any, Any, None]]
) -> None:
    user = await client.register()
    closed = 'streamcat_sockets_closed_total{code="1001"}'
    async with start_server(
        worker=False, socket_send_timeout_seconds=0.5, socket_max_operations=1000, socket_messages_per_second=10_000
    ) as server:
        before, sockets = await metric(server.url, closed), await metric(server.url, "streamcat_sockets")
        async with open_socket(server.url) as other, open_raw(server.url, receive_buffer=4096) as raw:
            await raw.send(watching(user))
            assert json.loads((await raw.frame()).data)["type"] == "next"
            assert server.runtime.services.hub.listeners(topic(user)) == 1
            flooding = asyncio.create_task(flood(raw))

            async def dropped() -> bool:
                await alive(other)
                return server.runtime.services.hub.listeners(topic(user)) == 0

            async def gone() -> bool:
                return await metric(server.url, "streamcat_sockets") == sockets + 1

            try:
                await eventually(dropped, "the client that does not read is dropped")
                assert await metric(server.url, closed) == before + 1
                await eventually(gone, "its socket is forgotten")
            finally:
                flooding.cancel()
                await asyncio.gather(flooding, return_exceptions=True)
            await alive(other)


async def frames(raw: RawSocket, *, answering: bool) -> AsyncIterator[tuple[Opcode, float, bytes]]:
    while True:
        frame = await raw.frame()
        if answering:
            await raw.flush()
        yield frame.opcode, time.monotonic(), bytes(frame.data)


async def test_pings_come_at_the_interval(start_server: StartServer) -> None:
    async with start_server(worker=False, socket_ping_seconds=0.3) as server:
        start, moments = time.monotonic(), []
        async with open_raw(server.url) as raw:
            async for opcode, moment, _ in frames(raw, answering=True):
                assert opcode is Opcode.PING
                moments.append(moment)
                if len(moments) == 4:
                    break
            await alive_raw(raw)
        # Never earlier than asked; how much later is up to the machine.
        assert moments[0] - start >= 0.3


async def alive_raw(raw: RawSocket) -> None:
    await raw.send({"type": "ping"})
    async for opcode, _, data in frames(raw, answering=True):
        if opcode is not Opcode.PING:
            assert json.loads(data) == {"type": "pong"}
            return


async def test_a_client_that_answers_no_ping_is_dropped(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    async with start_server(worker=False, socket_ping_seconds=0.5) as server, open_raw(server.url) as raw:
        await raw.send(watching(user))
        seen = [(opcode, data) async for opcode, _, data in until_close(raw)]
        assert sorted(opcode for opcode, _ in seen) == [Opcode.TEXT, Opcode.CLOSE, Opcode.PING]
        close = Close.parse(seen[-1][1])
        # After uvicorn's own 1011 clients like graphql-ws would give up.
        assert (close.code, close.reason) == (1001, "Client does not answer pings")
        await listeners_become(server, user, 0)


async def until_close(raw: RawSocket) -> AsyncIterator[tuple[Opcode, float, bytes]]:
    async for opcode, moment, data in frames(raw, answering=False):
        yield opcode, moment, data
        if opcode is Opcode.CLOSE:
            return
