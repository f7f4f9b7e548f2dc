"""Bans hold against tokens from before: the worker disconnects once more when none of those is left."""

from datetime import UTC, datetime, timedelta

import pytest

from models import ChatBan
from subscriptions.bans import Bans
from tests.accounts import sql
from tests.chatting import BAN, UNBAN, Room, asked, key_of, open_room, send
from tests.client import Client, Registered
from tests.conftest import Emulator, Running, StartServer
from tests.waiting import eventually

DUE = "UPDATE chat_bans SET enforce_after = now() WHERE chat_room_id = :room"
LEFT = "SELECT enforce_after FROM chat_bans WHERE chat_room_id = :room"


@pytest.fixture
async def room(client: Client, running: Running) -> Room:
    return await open_room(client, running.runtime)


async def banned(client: Client, room: Room, reason: str | None = None) -> Registered:
    troll = await client.register()
    payload = await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id, reason=reason)
    assert payload["errors"] == []
    return troll


async def left(running: Running, room: Room) -> list[datetime | None]:
    return [row[0] for row in await sql(running.runtime, LEFT, room=room.key)]


async def test_the_last_token_from_before_does_not_help(
    client: Client, running: Running, emulator: Emulator, room: Room
) -> None:
    troll = await banned(client, room, "spam")
    (due,) = await left(running, room)
    assert due is not None
    assert timedelta(seconds=60) < due - datetime.now(UTC) <= timedelta(seconds=75)
    assert len(await asked(emulator, room, "DisconnectUser")) == 1
    await sql(running.runtime, DUE, room=room.key)

    async def enforced() -> bool:
        return await left(running, room) == [None]

    await eventually(enforced, "the ban is enforced")
    assert await asked(emulator, room, "DisconnectUser") == [{"userId": key_of(troll).hex, "reason": "spam"}] * 2


async def test_what_amazon_refuses_is_tried_again(
    client: Client, running: Running, emulator: Emulator, room: Room
) -> None:
    await banned(client, room)
    # Of a kind that the SDK does not repeat by itself.
    where = {"roomIdentifier": room.arn}
    await emulator.fault("DisconnectUser", "error", code="AccessDeniedException", where=where)
    await sql(running.runtime, DUE, room=room.key)

    async def tried() -> bool:
        return len(await asked(emulator, room, "DisconnectUser")) == 2

    await eventually(tried, "Amazon is asked")
    (due,) = await left(running, room)
    assert due is not None
    assert due > datetime.now(UTC) + timedelta(seconds=30)
    await sql(running.runtime, DUE, room=room.key)

    async def enforced() -> bool:
        return await left(running, room) == [None]

    await eventually(enforced, "the ban is enforced")
    assert len(await asked(emulator, room, "DisconnectUser")) == 3


async def test_nothing_is_enforced_that_has_ended(
    client: Client, running: Running, emulator: Emulator, room: Room
) -> None:
    troll = await banned(client, room)
    await send(client, UNBAN, room.owner.token, chatRoomId=room.id, userId=troll.id)
    bans = Bans(running.runtime.services.publisher, running.runtime.aws, calls_per_second=80)
    await bans.run_due()
    assert len(await asked(emulator, room, "DisconnectUser")) == 1


async def test_a_ban_that_is_renewed_meanwhile_stays_due(start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(worker=False) as server:
        client = Client(server.url)
        room = await open_room(client, server.runtime)
        troll = await banned(client, room)
        await sql(server.runtime, DUE, room=room.key)
        bans = Bans(server.runtime.services.publisher, server.runtime.aws, calls_per_second=80)
        ((ban, arn),) = [claim for claim in await bans._claim() if claim[0].chat_room_id == room.key]
        assert isinstance(ban, ChatBan)
        assert arn == room.arn
        await send(client, BAN, room.owner.token, chatRoomId=room.id, userId=troll.id)
        await bans._enforce(ban, arn)
        assert await left(server, room) != [None]
        await client.aclose()
