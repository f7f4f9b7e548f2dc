import base64
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from models import Channel
from schema.base import parse_id
from server.runtime import Runtime
from tests.accounts import SIGN_IN, VIEWER, metric, reached
from tests.client import PASSWORD, Client, Registered, Socket, open_socket, unique
from tests.conftest import Running, StartServer

WATCH = """
subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { title stage { name } owner { username } } } }
"""


def key_of(user: Registered) -> UUID:
    return parse_id(user.channel_id, argument="id", expected="Channel")[1]


async def retitle(runtime: Runtime, user: Registered, title: str) -> None:
    """Change what a subscription shows, and tell: as every writer does, in one transaction."""
    async with runtime.services.publisher.transaction() as transaction:
        await transaction.session.execute(update(Channel).where(Channel.id == key_of(user)).values(title=title))
        transaction.channel_changed(key_of(user))


def shown(user: Registered, title: str) -> dict[str, Any]:
    channel = {"title": title, "stage": {"name": user.username}, "owner": {"username": user.username}}
    return {"channelChanged": {"channel": channel}}


async def silent(socket: Socket) -> None:
    """After this, everything the server had to say about earlier messages has arrived."""
    await socket.send({"type": "ping", "payload": {"after": "everything"}})
    assert await socket.receive() == {"type": "pong", "payload": {"after": "everything"}}


async def test_queries_and_mutations_over_the_socket(client: Client, server_url: str) -> None:
    user = await client.register()
    async with open_socket(server_url) as socket:
        await socket.subscribe("q", VIEWER)
        assert await socket.next("q") == {"viewer": None}
        assert await socket.receive() == {"id": "q", "type": "complete"}
        await socket.subscribe("m", SIGN_IN, {"input": {"username": user.username, "password": PASSWORD}})
        payload = (await socket.next("m"))["sessionCreate"]
        assert (payload["errors"], payload["user"]["username"]) == ([], user.username)
        assert await socket.receive() == {"id": "m", "type": "complete"}
        # Signing in makes a session, not this socket's: who it is was settled by its handshake.
        await socket.subscribe("q", VIEWER)
        assert await socket.next("q") == {"viewer": None}
    async with open_socket(server_url, payload["token"]) as socket:
        await socket.subscribe("q", VIEWER)
        assert await socket.next("q") == {"viewer": {"username": user.username}}


async def test_a_subscription_shows_the_present_and_then_fresh_data(client: Client, running: Running) -> None:
    user = await client.register()
    async with open_socket(running.url) as socket:
        await socket.subscribe("1", WATCH, {"id": user.channel_id})
        assert await socket.next("1") == shown(user, f"{user.username}'s channel")
        for title in ("first", "second", "third"):
            await retitle(running.runtime, user, title)
            assert await socket.next("1") == shown(user, title)
        await socket.send({"id": "1", "type": "complete"})
        await retitle(running.runtime, user, "unheard")
        await silent(socket)


async def test_a_notice_without_a_change_is_no_news(client: Client, running: Running) -> None:
    user = await client.register()
    async with open_socket(running.url) as socket:
        await socket.subscribe("1", WATCH, {"id": user.channel_id})
        assert await socket.next("1") == shown(user, f"{user.username}'s channel")
        await retitle(running.runtime, user, "once")
        assert await socket.next("1") == shown(user, "once")
        for _ in range(3):
            await retitle(running.runtime, user, "once")
        await retitle(running.runtime, user, "news")
        assert await socket.next("1") == shown(user, "news")


async def test_subscriptions_of_one_socket_do_not_disturb_each_other(client: Client, running: Running) -> None:
    one, two = await client.register(), await client.register()
    async with open_socket(running.url) as socket:
        for name, user in (("one", one), ("two", two)):
            await socket.subscribe(name, WATCH, {"id": user.channel_id})
            assert await socket.next(name) == shown(user, f"{user.username}'s channel")
        await retitle(running.runtime, two, "for two")
        assert await socket.next("two") == shown(two, "for two")
        await socket.send({"id": "two", "type": "complete"})
        await retitle(running.runtime, two, "unheard")
        await retitle(running.runtime, one, "for one")
        assert await socket.next("one") == shown(one, "for one")


NO_KEY = UUID("00000000-0000-7000-8000-000000000000")


def made_up(type_name: str) -> str:
    """Return the id of an object that does not exist."""
    return base64.urlsafe_b64encode(f"{type_name}:{NO_KEY.hex}".encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("document", "channel_id", "message"),
    [
        (WATCH, "x", "`channelId` is not an id: pass the `id` of an object on unchanged."),
        (WATCH, made_up("Channel"), "`channelId` is no channel's id."),
        (WATCH, made_up("User"), "`channelId` is the id of a User; the id of a Channel is needed."),
        ("{ nope }", "", "Cannot query field 'nope' on type 'Query'. Did you mean 'node' or 'nodes'?"),
    ],
    ids=["no id", "unknown", "another type", "invalid"],
)
async def test_an_operation_that_cannot_run_leaves_the_socket_open(
    server_url: str, document: str, channel_id: str, message: str
) -> None:
    async with open_socket(server_url) as socket:
        await socket.subscribe("1", document, {"id": channel_id})
        answer = await socket.receive()
        assert (answer["type"], answer["id"]) == ("error", "1")
        (error,) = answer["payload"]
        assert (error["message"], error["extensions"]) == (message, {"code": "BAD_INPUT"})
        await silent(socket)
        await socket.subscribe("1", VIEWER)
        assert await socket.next("1") == {"viewer": None}


async def test_a_socket_runs_only_so_many_operations(client: Client, start_server: StartServer) -> None:
    users = [await client.register() for _ in range(3)]
    async with start_server(worker=False, socket_max_operations=2) as server:
        before = await metric(server.url, reached("socket_operations"))
        async with open_socket(server.url) as socket:
            for user in users[:2]:
                await socket.subscribe(user.username, WATCH, {"id": user.channel_id})
                await socket.next(user.username)
            assert await metric(server.url, reached("socket_operations")) == before
            await socket.subscribe("third", WATCH, {"id": users[2].channel_id})
            error = {
                "message": "The socket already runs 2 operations; complete one first.",
                "extensions": {"code": "TOO_COSTLY"},
            }
            assert await socket.receive() == {"id": "third", "type": "error", "payload": [error]}
            assert await metric(server.url, reached("socket_operations")) == before + 1
            await retitle(server.runtime, users[0], "still here")
            assert await socket.next(users[0].username) == shown(users[0], "still here")
            await socket.send({"id": users[0].username, "type": "complete"})
            await socket.subscribe("third", WATCH, {"id": users[2].channel_id})
            assert await socket.next("third") == shown(users[2], f"{users[2].username}'s channel")


async def test_messages_have_a_greatest_size(start_server: StartServer) -> None:
    async with start_server(worker=False, socket_max_message_bytes=1000) as server:
        before = await metric(server.url, reached("socket_message_bytes"))
        frame = len(json.dumps({"type": "ping", "payload": {"a": ""}}))
        async with open_socket(server.url) as socket:
            largest = {"type": "ping", "payload": {"a": "x" * (1000 - frame)}}
            assert len(json.dumps(largest)) == 1000
            await socket.send(largest)
            assert await socket.receive() == {**largest, "type": "pong"}
            assert await metric(server.url, reached("socket_message_bytes")) == before
            await socket.send({"type": "ping", "payload": {"a": "x" * (1001 - frame)}})
            assert (await socket.closed())[0] == 1009
        assert await metric(server.url, reached("socket_message_bytes")) == before + 1


@pytest.mark.parametrize(
    "frame", [b"\xff\x00", b'{"type":"ping"}', "{", "", "5", "null", "[]", "[" * 50_000, '{"type":1}']
)
async def test_frames_that_are_no_messages(server_url: str, frame: str | bytes) -> None:
    for init in (True, False):
        async with open_socket(server_url, init=init) as socket:
            await socket.raw.send(frame)
            assert await socket.closed() == (4400, "Invalid message: a JSON object with a type is needed")


async def test_who_is_nobody_does_not_get_in(client: Client, server_url: str) -> None:
    user = await client.register(unique("Gone"))
    await client.data("mutation { sessionDelete { user { id } } }", token=user.token)
    for token in (user.token, "wrong"):
        async with open_socket(server_url, init=False) as socket:
            await socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
            reason = "Forbidden: The session is unknown or over: sign in again with sessionCreate."
            assert await socket.closed() == (4403, reason)
        async with open_socket(server_url, init=False, headers={"authorization": f"Bearer {token}"}) as socket:
            await socket.send({"type": "connection_init"})
            assert await socket.closed() == (4403, reason)
    # A browser's stale cookie is a guest's.
    async with open_socket(server_url, headers={"cookie": f"streamcat_session={user.token}"}) as socket:
        await socket.subscribe("1", VIEWER)
        assert await socket.next("1") == {"viewer": None}


@pytest.mark.parametrize("compression", [False, True])
async def test_messages_are_compressed_only_if_the_operator_wants_it(
    client: Client, start_server: StartServer, compression: bool
) -> None:
    user = await client.register()
    async with (
        start_server(worker=False, socket_compression=compression) as running,
        open_socket(running.url) as socket,
    ):
        # The client asks for it, as all do.
        assert bool(socket.raw.protocol.extensions) == compression
        for number in range(3):
            await socket.subscribe(str(number), WATCH, {"id": user.channel_id})
            await socket.next(str(number))
        for title in ("x" * 10, "ü" * 140):
            await retitle(running.runtime, user, title)
            messages = [await socket.receive() for _ in range(3)]
            assert {message["id"] for message in messages} == {"0", "1", "2"}
            assert all(message["payload"]["data"] == shown(user, title) for message in messages)
