"""Event streams: graphql-sse in its distinct connections mode, on the path of everything else."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from server.http import HttpProtocol
from tests.accounts import SIGN_IN, SIGN_OUT, USER_DELETE, VIEWER, metric, reached, sign_in, sql
from tests.client import PASSWORD, Client, Registered, open_socket
from tests.conftest import Running, StartServer
from tests.event_stream import COMPLETE, EVENT_STREAM, Stream, events_of, open_stream
from tests.schema.test_http import GRAPHQL, JSON, refusal
from tests.schema.test_websocket import WATCH, made_up, retitle, shown
from tests.schema.test_websocket_ends import topic
from tests.waiting import eventually

CREATE = {"input": {"username": "nobody", "password": "wrong"}}
SOCKETS, RUNS, MEMBERS = "streamcat_sockets", "streamcat_subscription_runs", "streamcat_subscriptions"


def closed(code: int) -> str:
    return f'streamcat_sockets_closed_total{{code="{code}"}}'


async def becomes(url: str, sample: str, value: float) -> None:
    async def so() -> bool:
        return await metric(url, sample) == value

    await eventually(so, f"{sample} is {value:g}")


def watch(url: str, user: Registered, token: str | None = None, **headers: str) -> Any:
    return open_stream(url, WATCH, {"id": user.channel_id}, token, **headers)


async def begun(stream: Stream, user: Registered) -> None:
    assert await stream.next() == shown(user, f"{user.username}'s channel")


async def test_the_present_first_and_then_changes(client: Client, running: Running) -> None:
    user = await client.register()
    async with watch(running.url, user) as stream:
        assert {name: stream.response.headers[name] for name in ("cache-control", "x-accel-buffering")} == {
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        await begun(stream, user)
        for title in ("first", "second", "third"):
            await retitle(running.runtime, user, title)
            assert await stream.next() == shown(user, title)


async def test_by_get_as_a_page_s_event_source_asks(client: Client, running: Running) -> None:
    user = await client.register()
    parameters = {"query": WATCH, "variables": json.dumps({"id": user.channel_id})}
    accept = {"accept": EVENT_STREAM}
    async with client.http.stream("GET", "/graphql", params=parameters, headers=accept) as response:
        assert response.status_code == 200
        await begun(Stream(response), user)


async def test_the_same_run_as_a_websocket_that_asks_the_same(client: Client, running: Running) -> None:
    user = await client.register()
    runs, members, sockets = [await metric(running.url, sample) for sample in (RUNS, MEMBERS, SOCKETS)]
    async with open_socket(running.url) as other, watch(running.url, user) as stream:
        await other.subscribe("1", WATCH, {"id": user.channel_id})
        assert await other.next("1") == shown(user, f"{user.username}'s channel")
        await begun(stream, user)
        assert await metric(running.url, RUNS) == runs + 1
        assert await metric(running.url, MEMBERS) == members + 2
        assert await metric(running.url, SOCKETS) == sockets + 2
        await retitle(running.runtime, user, "for both")
        assert await other.next("1") == shown(user, "for both")
        assert await stream.next() == shown(user, "for both")
        await other.send({"id": "1", "type": "complete"})
        await becomes(running.url, MEMBERS, members + 1)
        await retitle(running.runtime, user, "for one")
        assert await stream.next() == shown(user, "for one")
    # Who goes away leaves nothing behind.
    for sample, before in ((RUNS, runs), (MEMBERS, members), (SOCKETS, sockets)):
        await becomes(running.url, sample, before)
    assert running.runtime.services.hub.listeners(topic(user)) == 0


async def test_queries_and_mutations_are_one_result(client: Client) -> None:
    async def ask(document: str, variables: dict[str, Any] | None = None) -> Any:
        response = await client.post(document, variables, accept=EVENT_STREAM)
        assert (response.status_code, response.headers["content-type"]) == (200, f"{EVENT_STREAM}; charset=utf-8")
        (name, result), end = events_of(response.text)
        assert (name, end) == ("next", COMPLETE)
        return result

    user = await client.register()
    assert await ask(VIEWER) == {"data": {"viewer": None}}
    payload = (await ask(SIGN_IN, {"input": {"username": user.username, "password": PASSWORD}}))["data"]
    assert payload["sessionCreate"]["user"]["username"] == user.username
    # What is wrong with a document is told inside the stream, since pages see nothing else of an answer.
    (error,) = (await ask("{ nope }"))["errors"]
    assert error["extensions"] == {"code": "BAD_INPUT"}
    (error,) = (await ask("subscription { nope }"))["errors"]
    assert error["message"] == "Cannot query field 'nope' on type 'Subscription'."


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"id": "x"}, "`channelId` is not an id: pass the `id` of an object on unchanged."),
        ({"id": made_up("Channel")}, "`channelId` is no channel's id."),
        ({}, "Variable '$id' has invalid value: Expected a value of non-null type 'ID!' to be provided."),
    ],
)
async def test_a_subscription_that_cannot_run(server_url: str, variables: dict[str, str], message: str) -> None:
    async with open_stream(server_url, WATCH, variables) as stream:
        (name, result), end = await stream.rest()
    assert (name, set(result), end) == ("next", {"errors"}, COMPLETE)
    assert [(error["message"], error["extensions"]) for error in result["errors"]] == [(message, {"code": "BAD_INPUT"})]


async def test_what_is_refused_before_a_stream_begins(client: Client, running: Running) -> None:
    user = await client.register()
    variables = {"id": user.channel_id}
    for headers, expected in (
        ({"authorization": "Bearer wrong"}, (401, "UNAUTHENTICATED")),
        ({"origin": "https://elsewhere.example"}, (403, "FORBIDDEN")),
        ({"content-type": "text/plain"}, (415, "BAD_INPUT")),
    ):
        response = await client.post(WATCH, variables, accept=EVENT_STREAM, **headers)
        assert refusal(response)[:2] == expected
        assert response.headers["content-type"] == f"{JSON}; charset=utf-8"
    response = await client.http.post("/graphql", json=[], headers={"accept": EVENT_STREAM})
    assert refusal(response)[:2] == (400, "BAD_INPUT")
    by_get = await client.http.get(
        "/graphql", params={"query": "mutation { sessionDelete { user { id } } }"}, headers={"accept": EVENT_STREAM}
    )
    assert refusal(by_get) == (405, "BAD_INPUT", "Mutations need POST.")


@pytest.mark.parametrize(
    ("accept", "query", "subscription"),
    [
        (EVENT_STREAM, EVENT_STREAM, EVENT_STREAM),
        ("text/*", EVENT_STREAM, EVENT_STREAM),
        # As urql and GraphiQL ask, who take a stream where nothing else will do.
        (f"{GRAPHQL}, {JSON}, {EVENT_STREAM}, multipart/mixed", GRAPHQL, EVENT_STREAM),
        (f"{JSON};q=0.5, {EVENT_STREAM}", EVENT_STREAM, EVENT_STREAM),
        (f"{JSON}, {EVENT_STREAM};q=0", JSON, JSON),
    ],
)
async def test_the_type_of_the_answer(
    client: Client, running: Running, accept: str, query: str, subscription: str
) -> None:
    user = await client.register()
    assert (await client.post(VIEWER, accept=accept)).headers["content-type"] == f"{query}; charset=utf-8"
    body = {"query": WATCH, "variables": {"id": user.channel_id}}
    async with client.http.stream("POST", "/graphql", json=body, headers={"accept": accept}) as response:
        assert response.headers["content-type"] == f"{subscription}; charset=utf-8"
        assert response.status_code == (200 if subscription == EVENT_STREAM else 400)


async def test_sign_out_ends_the_session_s_streams(client: Client, running: Running, start_server: StartServer) -> None:
    user = await client.register()
    second = (await sign_in(client, user.username))["token"]
    async with (
        start_server(worker=False) as elsewhere,
        watch(running.url, user, user.token) as by_token,
        watch(running.url, user, cookie=f"streamcat_session={user.token}") as by_cookie,
        watch(running.url, user, second) as other_session,
    ):
        for stream in (by_token, by_cookie, other_session):
            await begun(stream, user)
        away = Client(elsewhere.url)
        await away.data(SIGN_OUT, token=user.token)
        await away.aclose()
        over = {
            "message": "The session is over: sign in again with sessionCreate.",
            "extensions": {"code": "UNAUTHENTICATED"},
        }
        for stream in (by_token, by_cookie):
            assert await stream.rest() == [("next", {"errors": [over]}), COMPLETE]
        await retitle(running.runtime, user, "still here")
        assert await other_session.next() == shown(user, "still here")


async def test_a_stream_ends_when_its_session_s_time_is_over(client: Client, running: Running) -> None:
    user = await client.register()
    soon = (
        "UPDATE sessions SET expires_at = now() + interval '1 s' WHERE token_hash = sha256(convert_to(:token, 'UTF8'))"
    )
    await sql(running.runtime, soon, token=user.token)
    async with watch(running.url, user, user.token) as stream:
        await begun(stream, user)
        (_, result), end = await stream.rest()
        assert ([error["extensions"]["code"] for error in result["errors"]], end) == (["UNAUTHENTICATED"], COMPLETE)


async def test_a_subscription_whose_object_goes_is_complete(client: Client, running: Running) -> None:
    user = await client.register()
    async with watch(running.url, user) as stream:
        await begun(stream, user)
        await client.data(USER_DELETE, {"input": {"password": PASSWORD}}, token=user.token)
        assert await stream.rest() == [COMPLETE]


async def test_at_shutdown_streams_end_and_none_is_complete(client: Client, start_server: StartServer) -> None:
    """Clients take `complete` for the end; after an end without it they begin again elsewhere."""
    user = await client.register()
    async with start_server(worker=False) as server:
        before = await metric(server.url, closed(1012))
        async with watch(server.url, user) as guest, watch(server.url, user, user.token) as signed_in:
            for stream in (guest, signed_in):
                await begun(stream, user)
            server.server.should_exit = True
            started = time.monotonic()
            assert [await stream.rest() for stream in (guest, signed_in)] == [[], []]
        assert server.runtime.services.hub.listeners(topic(user)) == 0
    # A server that waits for open responses takes `shutdown_seconds`, and does not end them by itself.
    assert time.monotonic() - started < 4
    assert await metric(client.url, closed(1012)) == before + 2


async def test_during_shutdown_new_streams_are_refused(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    async with start_server(worker=False) as server:
        await server.server._web.shut_down()
        late = Client(server.url)
        response = await late.post(WATCH, {"id": user.channel_id}, accept=EVENT_STREAM)
        assert refusal(response) == (503, "UNAVAILABLE", "The server stops; try again in a moment.")
        assert response.headers["retry-after"] == "1"
        assert await late.data(VIEWER) == {"viewer": None}
        await late.aclose()


@pytest.mark.parametrize(
    ("setting", "limit", "expected"),
    [
        ({"sockets": 2}, "sockets", (503, "The server already serves 2 websockets and event streams.")),
        (
            {"sockets_per_address": 2},
            "sockets_per_address",
            (429, "Your address already has 2 websockets and event streams open."),
        ),
    ],
)
async def test_streams_and_websockets_share_their_limits(
    client: Client, start_server: StartServer, setting: dict[str, Any], limit: str, expected: tuple[int, str]
) -> None:
    user = await client.register()
    async with start_server(worker=False, **setting) as server:
        before = await metric(server.url, reached(limit))
        guest = Client(server.url)
        async with open_socket(server.url):
            async with watch(server.url, user) as stream:
                await begun(stream, user)
                response = await guest.post(WATCH, {"id": user.channel_id}, accept=EVENT_STREAM)
                assert refusal(response) == (expected[0], "TOO_COSTLY", expected[1])
                assert response.headers["retry-after"] == "5"
                with pytest.raises(Exception, match=f"HTTP {expected[0]}"):
                    async with open_socket(server.url):
                        pass
                assert await metric(server.url, reached(limit)) == before + 2
                # What is answered at once takes no place.
                assert await guest.data(VIEWER) == {"viewer": None}
            async with watch(server.url, user) as stream:
                await begun(stream, user)
        await guest.aclose()


async def test_comments_keep_a_stream_alive(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    async with start_server(worker=False, socket_ping_seconds=0.3) as server:
        start = time.monotonic()
        async with watch(server.url, user) as stream:
            await begun(stream, user)
            assert [await stream.event() for _ in range(3)] == [("", None)] * 3
            assert time.monotonic() - start >= 0.9
            await retitle(server.runtime, user, "between")
            seen = [await stream.event()]
            while seen[-1] == ("", None):
                seen.append(await stream.event())
            assert seen[-1] == ("next", {"data": shown(user, "between")})


LARGE = "a" * 90_000


@asynccontextmanager
async def unread(url: str, user: Registered, alias: str = LARGE) -> AsyncIterator[socket.socket]:
    """A stream of large results whose client has a small buffer, and does not read."""
    query = f"subscription($id: ID!) {{ {alias}: channelChanged(channelId: $id) {{ channel {{ title }} }} }}"
    body = json.dumps({"query": query, "variables": {"id": user.channel_id}}).encode()
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\naccept: {EVENT_STREAM}\r\n"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(0)
    address = httpx.URL(url)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(connection, (address.host, address.port))
        await loop.sock_sendall(connection, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        yield connection
    finally:
        connection.close()


async def received(connection: socket.socket, until: bytes = b"") -> bytes:
    """Read, to the text or to the end."""
    data = b""
    async with asyncio.timeout(20):
        while not (until and until in data):
            try:
                chunk = await asyncio.get_running_loop().sock_recv(connection, 1 << 20)
            except ConnectionResetError:
                break
            if not chunk:
                break
            data += chunk
    return data


async def test_a_slow_client_gets_the_newest_state(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    async with start_server(worker=False, socket_send_timeout_seconds=20.0) as server:
        sample = "streamcat_socket_payloads_replaced_total"
        before = await metric(server.url, sample)
        async with unread(server.url, user) as slow, watch(server.url, user) as quick:
            await begun(quick, user)
            number = 0
            # Until the buffers on the way are full, and then some.
            while await metric(server.url, sample) < before + 3:
                number += 1
                await retitle(server.runtime, user, f"title {number}")
                assert await quick.next() == shown(user, f"title {number}")
            data = await received(slow, f'"title {number}"'.encode())
        assert data.count(b"event: next") <= number + 1 - 3


async def test_a_client_that_does_not_read_is_dropped(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    async with start_server(worker=False, socket_send_timeout_seconds=0.5) as server:
        before, sockets = await metric(server.url, closed(1001)), await metric(server.url, SOCKETS)
        async with unread(server.url, user) as slow, watch(server.url, user) as quick:
            await begun(quick, user)
            number = 0

            async def dropped() -> bool:
                nonlocal number
                number += 1
                await retitle(server.runtime, user, f"title {number}")
                assert await quick.next() == shown(user, f"title {number}")
                return await metric(server.url, SOCKETS) == sockets + 1

            await eventually(dropped, "the client that does not read is dropped")
            assert await metric(server.url, closed(1001)) == before + 1
            # The connection too, with all that waited in it.
            data = await received(slow)
            assert not data.endswith(b"0\r\n\r\n")
        assert len(data) < number * len(LARGE)


async def test_a_client_that_does_not_read_the_last_words_leaves_nothing(
    client: Client, start_server: StartServer
) -> None:
    user = await client.register()
    async with start_server(worker=False, socket_ping_seconds=1.0, socket_send_timeout_seconds=60) as server:

        def held() -> list[int]:
            connections = server.server.server_state.connections
            return [one.transport.get_write_buffer_size() for one in connections if isinstance(one, HttpProtocol)]

        sockets = await metric(server.url, SOCKETS)
        async with unread(server.url, user, "a" * 20_000), watch(server.url, user) as quick:
            await begun(quick, user)
            number = 0
            # Less than what makes it a client that does not read.
            while not max(held()):
                number += 1
                await retitle(server.runtime, user, f"title {number}")
                assert await quick.next() == shown(user, f"title {number}")
            await client.data(USER_DELETE, {"input": {"password": PASSWORD}}, token=user.token)
            assert await quick.rest() == [COMPLETE]

            async def gone() -> bool:
                return await metric(server.url, SOCKETS) == sockets and not any(held())

            await eventually(gone, "the connection has ended")
