"""A client that does not read: it costs a bounded amount, and what it gets when it reads again is the newest state."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from schema.base import parse_id
from server.websockets import BUFFER, WebSocketProtocol
from tests.accounts import metric
from tests.client import Client, Registered, open_socket
from tests.conftest import Running, StartServer
from tests.raw_socket import RawSocket, open_raw
from tests.waiting import eventually

# An answer repeats the alias, so that the buffers on the way are soon full.
BIG = "a" * 3_000
WATCH = f"subscription($id: ID!) {{ channelChanged(channelId: $id) {{ channel {{ title {BIG}: __typename }} }} }}"
CHANGES = 200
# Their answers are more than the buffers hold. One operation more makes the server wait before it reads on.
OPERATIONS = 100
REPLACED = "streamcat_socket_payloads_replaced_total"
SOCKETS = "streamcat_sockets"
RUNS = "streamcat_subscription_runs"


def asked(user: Registered, operation_id: str = "1") -> dict[str, Any]:
    return {"id": operation_id, "type": "subscribe", "payload": {"query": WATCH, "variables": {"id": user.channel_id}}}


def title(data: Any) -> str:
    shown: str = data["channelChanged"]["channel"]["title"]
    return shown


async def titles(raw: RawSocket, last: str) -> list[str]:
    """Read until the last one has come."""
    found = [""]
    while found[-1] != last:
        message = json.loads((await raw.frame()).data)
        assert message["type"] == "next"
        found.append(title(message["payload"]["data"]))
    return found[1:]


async def change(running: Running, user: Registered, number: int) -> str:
    """Give the channel a new title, and tell everybody."""
    _, key = parse_id(user.channel_id, argument="id", expected="Channel")
    shown = f"change {number}"
    async with running.runtime.services.publisher.transaction() as transaction:
        values = {"title": shown, "id": UUID(str(key))}
        await transaction.session.execute(text("UPDATE channels SET title = :title WHERE id = :id"), values)
        transaction.channel_changed(key)
    return shown


def held(running: Running) -> list[int]:
    """How many bytes wait for each client, in the server's own memory."""
    connections = running.server.server_state.connections
    return [one.transport.get_write_buffer_size() for one in connections if isinstance(one, WebSocketProtocol)]


async def test_a_burst_to_a_client_that_does_not_read_is_the_newest_state(
    client: Client, start_server: StartServer
) -> None:
    user = await client.register()
    async with (
        start_server(worker=False, socket_send_timeout_seconds=60) as server,
        open_socket(server.url) as reader,
        open_raw(server.url, receive_buffer=4096) as stalled,
    ):
        before = await metric(server.url, REPLACED)
        await stalled.send(asked(user))
        first = title(json.loads((await stalled.frame()).data)["payload"]["data"])
        await reader.send(asked(user))
        assert title(await reader.next("1")) == first
        most = 0
        for number in range(CHANGES):
            shown = await change(server, user, number)
            assert title(await reader.next("1")) == shown
            most = max(most, *held(server))
        # What the buffer may hold, and the one message that went beyond.
        assert most <= BUFFER + len(BIG) + 1000
        replaced = await metric(server.url, REPLACED) - before
        assert replaced > CHANGES / 2

        seen = await titles(stalled, f"change {CHANGES - 1}")
        # In order, without a gap until it was full; and then the newest.
        sent = int(CHANGES - replaced)
        assert seen == [*(f"change {number}" for number in range(sent - 1)), f"change {CHANGES - 1}"]
        shown = await change(server, user, CHANGES)
        assert await titles(stalled, shown) == [shown]


async def test_a_client_that_takes_too_long_is_closed(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    closed = 'streamcat_sockets_closed_total{code="1001"}'
    async with (
        start_server(worker=False, socket_send_timeout_seconds=0.5) as server,
        open_socket(server.url) as reader,
        open_raw(server.url, receive_buffer=4096) as stalled,
    ):
        before, sockets = await metric(server.url, closed), await metric(server.url, SOCKETS)
        await stalled.send(asked(user))
        await stalled.frame()
        await reader.send(asked(user))
        await reader.next("1")
        number = 0
        # One more than the buffer holds: it is what waits, and for how long.
        while max(held(server)) <= BUFFER:
            number += 1
            shown = await change(server, user, number)
            assert title(await reader.next("1")) == shown
        shown = await change(server, user, number + 1)
        assert title(await reader.next("1")) == shown

        async def gone() -> bool:
            return await metric(server.url, SOCKETS) == sockets - 1

        await eventually(gone, "the client that does not read is closed")
        assert await metric(server.url, closed) == before + 1


@pytest.mark.parametrize("last_words", ["none", "close"])
async def test_a_client_that_neither_reads_nor_answers_pings_leaves_nothing(
    start_server: StartServer, last_words: str
) -> None:
    async with (
        start_server(
            worker=False,
            socket_ping_seconds=1.0,
            socket_send_timeout_seconds=60,
            socket_max_operations=OPERATIONS,
            socket_messages_per_second=10_000,
        ) as server,
        open_raw(server.url, receive_buffer=4096) as stalled,
    ):
        sockets = await metric(server.url, SOCKETS)
        for number in range(OPERATIONS + 1 if last_words == "none" else OPERATIONS):
            query = f"{{ {BIG}: __typename }}"
            await stalled.send({"id": f"{number}", "type": "subscribe", "payload": {"query": query}})

        async def full() -> bool:
            return max(held(server), default=1) > 0

        await eventually(full, "more is sent than is taken")
        if last_words == "close":
            stalled.protocol.send_close()
            await stalled.flush()

        async def gone() -> bool:
            return await metric(server.url, SOCKETS) == sockets - 1 and held(server) == []

        await eventually(gone, "the client that does not answer is forgotten")


async def test_a_subscription_that_is_left_at_once_leaves_nothing(client: Client, running: Running) -> None:
    user = await client.register()
    async with open_raw(running.url) as raw:
        before = await metric(running.url, RUNS)
        # In one packet, so that it is over before it has begun.
        for message in (asked(user), {"id": "1", "type": "complete"}, {"type": "ping"}):
            raw.protocol.send_text(json.dumps(message).encode())
        await raw.together()
        assert json.loads((await raw.frame()).data) == {"type": "pong"}

        async def so() -> bool:
            return await metric(running.url, RUNS) == before

        await eventually(so, "no run is left", 5)
