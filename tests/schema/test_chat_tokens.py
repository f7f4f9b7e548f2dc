"""Who gets into a chat room, and what for: owner, user, guest, banned; and when nobody does."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resolvers.chat_tokens import Admission
from schema.mutations.chat_token import ChatTokenCreatePayload
from tests.accounts import fresh_address, metric, sql
from tests.chatting import BAN, DISCONNECT, TOKEN, UNBAN, Room, asked, key_of, open_room, send, told
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.waiting import eventually

OWNER = ["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]


@pytest.fixture
async def room(client: Client, running: Running) -> Room:
    return await open_room(client, running.runtime)


def minutes_from_now(moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.now(UTC)) / timedelta(minutes=1)


def claims(token: str) -> dict[str, Any]:
    """What the emulator's tokens say; Amazon's are opaque."""
    body = token.partition(".")[0]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


async def test_each_gets_exactly_what_is_deserved(client: Client, emulator: Emulator, room: Room) -> None:
    stranger = await client.register()
    for token, capabilities, sender, name in (
        (room.owner.token, OWNER, key_of(room.owner).hex, room.owner.username),
        (stranger.token, ["SEND_MESSAGE"], key_of(stranger).hex, stranger.username),
    ):
        payload = await send(client, TOKEN, token, chatRoomId=room.id, guestName="ignored")
        assert payload["errors"] == []
        assert payload["capabilities"] == capabilities
        endpoint = "wss://edge.ivschat.us-east-1.amazonaws.com"
        assert payload["chatRoom"] == {"id": room.id, "endpoint": endpoint, "viewerIsBanned": False}
        assert 0 < minutes_from_now(payload["tokenExpiresAt"]) <= 1
        assert 59 < minutes_from_now(payload["sessionExpiresAt"]) <= 60
        assert (await asked(emulator, room, "CreateChatToken"))[-1] == {
            "userId": sender,
            "capabilities": capabilities,
            "attributes": {"displayName": name, "isGuest": "false"},
            "sessionDurationInMinutes": 60,
        }
        assert claims(payload["token"])["user_id"] == sender


async def test_a_guest_reads(client: Client, emulator: Emulator, room: Room) -> None:
    first, second = [await send(client, TOKEN, None, chatRoomId=room.id, guestName="Zoë 🦉") for _ in range(2)]
    assert (first["errors"], first["capabilities"]) == ([], [])
    assert first["token"] != second["token"]
    one, two = await asked(emulator, room, "CreateChatToken")
    assert one["capabilities"] == []
    assert one["attributes"] == {"displayName": "Zoë 🦉", "isGuest": "true"}
    assert one["userId"].startswith("guest-")
    assert one["userId"] != two["userId"]
    await send(client, TOKEN, None, chatRoomId=room.id)
    assert (await asked(emulator, room, "CreateChatToken"))[-1]["attributes"]["displayName"] == "Guest"


@pytest.mark.parametrize(("guests", "capabilities"), [("write", ["SEND_MESSAGE"]), ("none", None)])
async def test_guests_may_do_what_is_set(
    start_server: StartServer, emulator: Emulator, guests: str, capabilities: list[str] | None
) -> None:
    async with start_server(chat_guests=guests, chat_session_minutes=180, chat_endpoint="wss://chat.test") as server:
        client = Client(server.url)
        room = await open_room(client, server.runtime)
        if capabilities is None:
            error = await client.error(TOKEN, {"input": {"chatRoomId": room.id}})
            assert error["extensions"] == {"code": "UNAUTHENTICATED"}
            assert await asked(emulator, room, "CreateChatToken") == []
        else:
            payload = await send(client, TOKEN, None, chatRoomId=room.id)
            assert payload["capabilities"] == capabilities
            assert 179 < minutes_from_now(payload["sessionExpiresAt"]) <= 180
            assert payload["chatRoom"]["endpoint"] == "wss://chat.test"
        payload = await send(client, TOKEN, room.owner.token, chatRoomId=room.id)
        assert payload["capabilities"] == OWNER
        await client.aclose()


async def test_all_faults_at_once_and_nothing_is_asked(client: Client, emulator: Emulator, room: Room) -> None:
    unknown = base64.urlsafe_b64encode(b"ChatRoom:00000000000070008000000000000000").decode().rstrip("=")
    before = len(await emulator.calls("CreateChatToken"))
    payload = await send(client, TOKEN, None, chatRoomId=unknown, guestName="")
    assert told(payload) == [("NotFound", ["input", "chatRoomId"]), ("TextInvalid", ["input", "guestName"])]
    assert payload["token"] is None
    for name in ("   ", "x" * 31, "a\0b"):
        assert told(await send(client, TOKEN, None, chatRoomId=room.id, guestName=name)) == [
            ("TextInvalid", ["input", "guestName"])
        ]
    error = await client.error(TOKEN, {"input": {"chatRoomId": room.owner.id}})
    assert error["extensions"] == {"code": "BAD_INPUT"}
    assert len(await emulator.calls("CreateChatToken")) == before


async def test_who_is_banned_gets_no_token_until_let_in(client: Client, emulator: Emulator, room: Room) -> None:
    troll = await client.register()
    other = troll.payload["user"]["chatRoom"]["id"]
    banned = await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id, reason="spam")
    assert banned["errors"] == []
    payload = await send(client, TOKEN, troll.token, chatRoomId=room.id)
    assert told(payload) == [("ChatBanned", ["input", "chatRoomId"])]
    assert payload["errors"][0]["reason"] == "spam"
    assert (payload["token"], await asked(emulator, room, "CreateChatToken")) == (None, [])
    # Elsewhere nothing has changed.
    assert (await send(client, TOKEN, troll.token, chatRoomId=other))["errors"] == []
    await send(client, UNBAN, room.owner.token, chatRoomId=room.id, userId=troll.id)
    assert (await send(client, TOKEN, troll.token, chatRoomId=room.id))["errors"] == []


async def test_a_rename_does_not_help(client: Client, running: Running, room: Room) -> None:
    troll = await client.register()
    await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id)
    await sql(running.runtime, "UPDATE users SET username = 'r' || left(username, 20) WHERE id = :id", id=key_of(troll))
    assert told(await send(client, TOKEN, troll.token, chatRoomId=room.id)) == [("ChatBanned", ["input", "chatRoomId"])]


async def test_a_ban_while_amazon_is_asked_still_counts(client: Client, emulator: Emulator, room: Room) -> None:
    troll = await client.register()
    where = {"roomIdentifier": room.arn}
    await emulator.fault("CreateChatToken", "late", seconds=1.5, where=where)
    asking = asyncio.create_task(send(client, TOKEN, troll.token, chatRoomId=room.id))

    async def begun() -> bool:
        return len(await asked(emulator, room, "CreateChatToken")) == 1

    await eventually(begun, "Amazon is asked")
    assert (await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id))["errors"] == []
    assert told(await asking) == [("ChatBanned", ["input", "chatRoomId"])]
    await emulator.lift_faults()


async def test_a_room_that_is_pending_is_not_ready(client: Client, running: Running, emulator: Emulator) -> None:
    room = await open_room(client, running.runtime)
    pending = "arn = NULL, provisioning = 'FAILED'"
    await sql(running.runtime, f"UPDATE chat_rooms SET {pending} WHERE id = :id", id=room.key)  # noqa: S608 - ours
    for token in (None, room.owner.token):
        assert told(await send(client, TOKEN, token, chatRoomId=room.id)) == [("NotReady", ["input", "chatRoomId"])]
    assert told(await send(client, DISCONNECT, room.owner.token, chatRoomId=room.id, userId=room.owner.id)) == [
        ("NotReady", ["input", "chatRoomId"])
    ]
    query = "query($id: ID!) { node(id: $id) { ... on ChatRoom { endpoint } } }"
    assert await client.data(query, {"id": room.id}) == {"node": {"endpoint": None}}
    assert await asked(emulator, room, "CreateChatToken") == []


@pytest.mark.parametrize(("code", "wait"), [("InternalServerException", 1), ("PendingVerification", 60)])
async def test_amazon_s_failures_are_told(client: Client, emulator: Emulator, room: Room, code: str, wait: int) -> None:
    await emulator.fault("CreateChatToken", "error", code=code, times=None, where={"roomIdentifier": room.arn})
    payload = await send(client, TOKEN, room.owner.token, chatRoomId=room.id)
    await emulator.lift_faults()
    assert told(payload) == [("AmazonUnavailable", None)]
    assert payload["errors"][0]["retryAfterSeconds"] == wait
    assert (await send(client, TOKEN, room.owner.token, chatRoomId=room.id))["errors"] == []


@pytest.fixture(scope="module")
async def strict(start_server: StartServer) -> AsyncIterator[Running]:
    """A server with small limits."""
    limits = {"chat_tokens_per_minute_per_user": 2, "chat_tokens_per_minute_per_address": 1}
    async with start_server(worker=False, **limits) as running:
        yield running


async def test_tokens_are_counted_by_user_and_by_guests_address(strict: Running, emulator: Emulator) -> None:
    client = Client(strict.url, address=fresh_address())
    room = await open_room(client, strict.runtime)
    stranger = await client.register()
    names = ("chat_user_tokens", "chat_address_tokens")
    samples = [f'streamcat_rate_refused_total{{limit="{name}"}}' for name in names]
    before = [await metric(strict.url, sample) for sample in samples]
    for token, most in ((stranger.token, 2), (None, 1)):
        for _ in range(most):
            assert (await send(client, TOKEN, token, chatRoomId=room.id))["errors"] == []
        payload = await send(client, TOKEN, token, chatRoomId=room.id)
        assert told(payload) == [("TooManyAttempts", None)]
        assert 0 < payload["errors"][0]["retryAfterSeconds"] <= 61
    assert len(await asked(emulator, room, "CreateChatToken")) == 3
    elsewhere = Client(strict.url, address=fresh_address())
    assert (await send(elsewhere, TOKEN, None, chatRoomId=room.id))["errors"] == []
    assert (await send(client, TOKEN, room.owner.token, chatRoomId=room.id))["errors"] == []
    assert [await metric(strict.url, sample) for sample in samples] == [count + 1 for count in before]
    await client.aclose()
    await elsewhere.aclose()


async def test_the_installation_stays_below_amazon_s_rate(start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(worker=False, chat_tokens_per_second=1) as server:
        client = Client(server.url, address=fresh_address())
        room = await open_room(client, server.runtime)
        await sql(server.runtime, "DELETE FROM paces WHERE key = 'chat_tokens:all'")
        payloads = [await send(client, TOKEN, None, chatRoomId=room.id) for _ in range(2)]
        assert [told(payload) for payload in payloads] == [[], [("TooManyAttempts", None)]]
        assert len(await asked(emulator, room, "CreateChatToken")) == 1
        await sql(server.runtime, "DELETE FROM paces WHERE key = 'chat_tokens:all'")
        await client.aclose()


async def test_a_token_is_in_no_log_and_no_repr(client: Client, room: Room, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = (await send(client, TOKEN, room.owner.token, chatRoomId=room.id))["token"]
    theirs = ("httpx", "httpcore")
    ours = [record for record in caplog.records if record.name.partition(".")[0] not in theirs]
    text = "\n".join(logging.Formatter().format(record) for record in ours)
    assert [piece for piece in (token[:20], token[-20:]) if piece in text] == []
    now = datetime.now(UTC)
    values: list[Any] = [ChatTokenCreatePayload(token=token), Admission(None, (), token, now, now)]  # type: ignore[arg-type]
    assert [type(value) for value in values if token in repr(value)] == []
