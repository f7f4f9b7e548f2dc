"""What owners do in their rooms, that nobody else may, and what Amazon is asked."""

from typing import Any

import pytest

from tests.accounts import metric, sql
from tests.chatting import (
    BAN,
    BANS,
    DELETE,
    DISCONNECT,
    EVENT,
    UNBAN,
    Room,
    asked,
    key_of,
    open_room,
    send,
    told,
)
from tests.client import Client, Registered
from tests.conftest import Emulator, Running, StartServer

MESSAGE = "abcDEF123456"
OPERATIONS = ("DeleteMessage", "DisconnectUser", "SendEvent", "CreateChatToken")


@pytest.fixture
async def room(client: Client, running: Running) -> Room:
    return await open_room(client, running.runtime)


@pytest.fixture
async def troll(client: Client) -> Registered:
    return await client.register()


async def say(running: Running, room: Room, message_id: str, content: str = "hello") -> None:
    """Put a message into the table, as the archive would."""
    statement = (
        "INSERT INTO chat_messages (id, chat_room_id, ivs_message_id, content, sender_name, sent_at) "
        "VALUES (gen_random_uuid(), :room, :message, :content, 'somebody', now())"
    )
    await sql(running.runtime, statement, room=room.key, message=message_id, content=content)


async def kept(running: Running, room: Room) -> list[Any]:
    """Everything in the database that a mutation of chat could change."""
    messages = "SELECT ivs_message_id FROM chat_messages WHERE chat_room_id = :room ORDER BY 1"
    bans = "SELECT user_id, reason FROM chat_bans WHERE chat_room_id = :room ORDER BY 1"
    return [
        tuple(row) for statement in (messages, bans) for row in await sql(running.runtime, statement, room=room.key)
    ]


def every_mutation(room: Room, troll: Registered) -> list[tuple[str, dict[str, Any]]]:
    return [
        (DELETE, {"chatRoomId": room.id, "ivsMessageId": MESSAGE}),
        (DISCONNECT, {"chatRoomId": room.id, "userId": troll.id}),
        (BAN, {"chatRoomId": room.id, "userId": troll.id}),
        (UNBAN, {"chatRoomId": room.id, "userId": troll.id}),
        (EVENT, {"chatRoomId": room.id, "eventName": "poll", "attributes": []}),
    ]


async def test_nobody_but_the_owner_may(
    client: Client, running: Running, emulator: Emulator, room: Room, troll: Registered
) -> None:
    await say(running, room, MESSAGE)
    banned = await client.register()
    await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=banned.id)
    before = await kept(running, room), [await asked(emulator, room, each) for each in OPERATIONS]
    mutations = every_mutation(room, troll)
    mutations[3] = (UNBAN, {"chatRoomId": room.id, "userId": banned.id})
    for document, fields in mutations:
        for token, code in ((None, "UNAUTHENTICATED"), (troll.token, "FORBIDDEN"), (banned.token, "FORBIDDEN")):
            error = await client.error(document, {"input": fields}, token=token)
            assert error["extensions"] == {"code": code}, document
    assert (await kept(running, room), [await asked(emulator, room, each) for each in OPERATIONS]) == before


async def test_a_room_that_does_not_exist_is_nobody_s(client: Client, room: Room, troll: Registered) -> None:
    unknown = "Q2hhdFJvb206MDAwMDAwMDAwMDAwNzAwMDgwMDAwMDAwMDAwMDAwMDA"
    for document, fields in every_mutation(room, troll):
        error = await client.error(document, {"input": {**fields, "chatRoomId": unknown}}, token=troll.token)
        assert (error["message"], error["extensions"]) == ("The chat room is not yours.", {"code": "FORBIDDEN"})


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        (DELETE, {"ivsMessageId": "short"}),
        (DELETE, {"ivsMessageId": "abcDEF12345-"}),
        (DISCONNECT, {"userId": "guest-1"}),
        (DISCONNECT, {"userId": "ABCDEF" * 5 + "AB"}),
        (BAN, {"userId": "guest-" + "0" * 32}),
        (UNBAN, {"userId": "nobody"}),
        (EVENT, {"chatRoomId": "nothing", "eventName": "poll"}),
    ],
)
async def test_ids_that_are_none_are_bad_input(
    client: Client, emulator: Emulator, room: Room, document: str, fields: dict[str, Any]
) -> None:
    error = await client.error(document, {"input": {"chatRoomId": room.id, **fields}}, token=room.owner.token)
    assert error["extensions"] == {"code": "BAD_INPUT"}
    assert [await asked(emulator, room, each) for each in OPERATIONS] == [[], [], [], []]


async def test_a_message_is_hidden_and_forgotten(
    client: Client, running: Running, emulator: Emulator, room: Room
) -> None:
    await say(running, room, MESSAGE, "rude")
    await say(running, room, "other0000000", "kind")
    fields = {"chatRoomId": room.id, "ivsMessageId": MESSAGE, "reason": "rude"}
    after = {"chatRoom": {"id": room.id, "messages": {"nodes": [{"content": "kind"}]}}, "errors": []}
    assert await send(client, DELETE, room.owner.token, **fields) == after
    # Again, and one that is not in the table yet.
    assert await send(client, DELETE, room.owner.token, **fields) == after
    live = await send(client, DELETE, room.owner.token, chatRoomId=room.id, ivsMessageId="LiveLiveLive")
    assert live == after
    assert await asked(emulator, room, "DeleteMessage") == [
        {"id": MESSAGE, "reason": "rude"},
        {"id": MESSAGE, "reason": "rude"},
        {"id": "LiveLiveLive"},
    ]


async def test_the_same_id_in_another_room_stays(client: Client, running: Running, room: Room) -> None:
    other = await open_room(client, running.runtime)
    await say(running, other, MESSAGE)
    assert (await send(client, DELETE, room.owner.token, chatRoomId=room.id, ivsMessageId=MESSAGE))["errors"] == []
    assert await kept(running, other) == [(MESSAGE,)]


async def test_a_message_stays_until_amazon_has_hidden_it(
    client: Client, running: Running, emulator: Emulator, room: Room
) -> None:
    await say(running, room, MESSAGE)
    where = {"roomIdentifier": room.arn}
    await emulator.fault("DeleteMessage", "error", times=None, where=where)
    payload = await send(client, DELETE, room.owner.token, chatRoomId=room.id, ivsMessageId=MESSAGE)
    await emulator.lift_faults()
    assert (payload["chatRoom"], told(payload)) == (None, [("AmazonUnavailable", None)])
    assert await kept(running, room) == [(MESSAGE,)]


@pytest.mark.parametrize("document", [DELETE, DISCONNECT, BAN])
async def test_reasons_are_checked(
    client: Client, running: Running, emulator: Emulator, room: Room, troll: Registered, document: str
) -> None:
    fields = {"chatRoomId": room.id} | ({"ivsMessageId": MESSAGE} if document is DELETE else {"userId": troll.id})
    for reason in ("", "x" * 201, "a\0b"):
        payload = await send(client, document, room.owner.token, **fields, reason=reason)
        assert told(payload) == [("TextInvalid", ["input", "reason"])]
    assert await kept(running, room) == []
    assert [await asked(emulator, room, each) for each in OPERATIONS] == [[], [], [], []]


async def test_users_and_guests_are_disconnected(
    client: Client, emulator: Emulator, room: Room, troll: Registered
) -> None:
    guest, account = "guest-" + "0" * 31 + "f", key_of(troll).hex
    for user_id in (troll.id, account, guest):
        payload = await send(client, DISCONNECT, room.owner.token, chatRoomId=room.id, userId=user_id)
        assert payload == {"chatRoom": {"id": room.id}, "errors": []}
    assert await asked(emulator, room, "DisconnectUser") == [
        {"userId": account},
        {"userId": account},
        {"userId": guest},
    ]


async def test_who_is_not_there_is_disconnected(
    client: Client, emulator: Emulator, room: Room, troll: Registered
) -> None:
    where = {"roomIdentifier": room.arn}
    await emulator.fault("DisconnectUser", "error", code="ResourceNotFoundException", times=2, where=where)
    for document in (DISCONNECT, BAN):
        payload = await send(client, document, room.owner.token, chatRoomId=room.id, userId=troll.id)
        assert payload["errors"] == []


async def test_a_ban_disconnects_and_stands(
    client: Client, running: Running, emulator: Emulator, room: Room, troll: Registered
) -> None:
    fields = {"chatRoomId": room.id, "userId": troll.id}
    first = await send(client, BAN, room.owner.token, **fields, reason="spam")
    assert first["errors"] == []
    ban = {"user": {"username": troll.username}, "chatRoom": {"id": room.id}, "reason": "spam"}
    assert first["ban"] == {**ban, "createdAt": first["ban"]["createdAt"]}
    # Again, as Amazon names the user; what was said stays unless something else is said.
    again = await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=key_of(troll).hex)
    assert again == first
    other = await send(client, BAN, room.owner.token, **fields, reason="insults")
    assert other["ban"]["reason"] == "insults"
    assert await kept(running, room) == [(key_of(troll), "insults")]
    assert [call["userId"] for call in await asked(emulator, room, "DisconnectUser")] == [key_of(troll).hex] * 3


async def test_a_ban_stands_when_amazon_fails(
    client: Client, running: Running, emulator: Emulator, room: Room, troll: Registered
) -> None:
    fields = {"chatRoomId": room.id, "userId": troll.id}
    await emulator.fault("DisconnectUser", "error", times=None, where={"roomIdentifier": room.arn})
    payload = await send(client, BAN, room.owner.token, **fields)
    await emulator.lift_faults()
    assert (payload["ban"], told(payload)) == (None, [("AmazonUnavailable", None)])
    assert await kept(running, room) == [(key_of(troll), None)]
    before = len(await asked(emulator, room, "DisconnectUser"))
    assert (await send(client, BAN, room.owner.token, **fields))["errors"] == []
    assert len(await asked(emulator, room, "DisconnectUser")) == before + 1


async def test_a_ban_in_a_room_that_is_pending_needs_no_amazon(
    client: Client, running: Running, emulator: Emulator, room: Room, troll: Registered
) -> None:
    pending = "UPDATE chat_rooms SET arn = NULL, provisioning = 'FAILED' WHERE id = :id"
    await sql(running.runtime, pending, id=room.key)
    payload = await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id)
    assert payload["errors"] == []
    assert await kept(running, room) == [(key_of(troll), None)]
    assert await asked(emulator, room, "DisconnectUser") == []


async def test_all_that_is_wrong_with_a_ban(client: Client, running: Running, emulator: Emulator, room: Room) -> None:
    for user_id, kind in ((room.owner.id, "ChatSelfBan"), ("0" * 12 + "7" + "0" * 3 + "8" + "0" * 15, "NotFound")):
        payload = await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=user_id, reason="")
        assert told(payload) == [("TextInvalid", ["input", "reason"]), (kind, ["input", "userId"])]
    assert await kept(running, room) == []
    assert await asked(emulator, room, "DisconnectUser") == []


async def test_bans_are_the_owner_s_to_see(client: Client, room: Room, troll: Registered) -> None:
    others = [await client.register() for _ in range(2)]
    for user in (*others, troll):
        await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=user.id, reason=f"no {user.username}")
    shown = [
        {"user": {"username": user.username}, "reason": f"no {user.username}", "chatRoom": {"id": room.id}}
        for user in (troll, *reversed(others))
    ]
    stranger = await client.register()
    for token, bans, banned in (
        (room.owner.token, {"nodes": shown}, False),
        (troll.token, None, True),
        (stranger.token, None, False),
        (None, None, False),
    ):
        answer = await client.data(BANS, {"id": room.id}, token=token)
        assert answer == {"node": {"viewerIsBanned": banned, "bans": bans}}
    for user in (troll, stranger, *others):
        payload = await send(client, UNBAN, room.owner.token, chatRoomId=room.id, userId=user.id)
        assert payload["errors"] == []
    assert payload["chatRoom"] == {"bans": {"nodes": []}}


async def test_bans_end_with_the_account(client: Client, running: Running, room: Room, troll: Registered) -> None:
    await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id)
    await sql(running.runtime, "DELETE FROM users WHERE id = :id", id=key_of(troll))
    assert await kept(running, room) == []


async def test_an_event_is_sent_once(client: Client, emulator: Emulator, room: Room) -> None:
    attributes = [{"key": "question", "value": "¿Qué?"}, {"key": "empty", "value": ""}]
    payload = await send(
        client, EVENT, room.owner.token, chatRoomId=room.id, eventName="poll:" + "x" * 95, attributes=attributes
    )
    assert payload["errors"] == []
    assert len(payload["eventId"]) == 12
    assert await asked(emulator, room, "SendEvent") == [
        {"eventName": "poll:" + "x" * 95, "attributes": {"question": "¿Qué?", "empty": ""}}
    ]
    await emulator.fault("SendEvent", "drop-after", where={"roomIdentifier": room.arn})
    payload = await send(client, EVENT, room.owner.token, chatRoomId=room.id, eventName="poll")
    assert told(payload) == [("AmazonUnavailable", None)]
    assert len(await asked(emulator, room, "SendEvent")) == 2


async def test_all_that_is_wrong_with_an_event(client: Client, emulator: Emulator, room: Room) -> None:
    attributes = [
        {"key": "", "value": "a\0"},
        {"key": "twice", "value": "é" * 300},
        {"key": "twice", "value": "é" * 300},
    ]
    payload = await send(
        client, EVENT, room.owner.token, chatRoomId=room.id, eventName="AWS:" + "x" * 97, attributes=attributes
    )
    assert told(payload) == [
        ("TextInvalid", ["input", "eventName"]),
        ("TextInvalid", ["input", "eventName"]),
        ("TextInvalid", ["input", "attributes", "0", "key"]),
        ("TextInvalid", ["input", "attributes", "0", "value"]),
        ("TextInvalid", ["input", "attributes", "2", "key"]),
        ("TextInvalid", ["input", "attributes"]),
    ]
    assert "1212 bytes" in payload["errors"][-1]["message"]
    exact = [{"key": "k", "value": "v" * 1023}]
    for fields, wrong in ((exact, []), ([*exact, {"key": "l", "value": ""}], ["TextInvalid"])):
        payload = await send(client, EVENT, room.owner.token, chatRoomId=room.id, eventName="poll", attributes=fields)
        assert [kind for kind, _ in told(payload)] == wrong
    assert len(await asked(emulator, room, "SendEvent")) == 1


async def test_actions_are_counted_by_user(start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(worker=False, chat_actions_per_minute_per_user=2) as server:
        client = Client(server.url)
        room, troll = await open_room(client, server.runtime), await client.register()
        sample = 'streamcat_rate_refused_total{limit="chat_actions"}'
        before = await metric(server.url, sample)
        for _ in range(2):
            payload = await send(client, EVENT, room.owner.token, chatRoomId=room.id, eventName="poll")
            assert payload["errors"] == []
        for document, fields in every_mutation(room, troll):
            assert told(await send(client, document, room.owner.token, **fields)) == [("TooManyAttempts", None)]
        assert await metric(server.url, sample) == before + 5
        assert [len(await asked(emulator, room, each)) for each in OPERATIONS] == [0, 0, 2, 0]
        assert await kept(server, room) == []
        await client.aclose()
