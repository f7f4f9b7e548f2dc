"""Messages are kept once, with their sender if there is one, and with the stream that was live when they were sent."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from models import Channel, ChatMessage, ChatRoom, Stream, User, chat, stream, uuid7
from models.chat import Said
from models.engine import Sessions, create_engine, create_sessions
from models.stream import Evidence
from tests import factories
from tests.factories import EPOCH


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    engine = create_engine(database_url, pool_size=3, statement_timeout_ms=10_000, name="chat-messages")
    yield create_sessions(engine)
    await engine.dispose()


class World:
    """One channel and its room."""

    def __init__(self, sessions: Sessions, channel_id: UUID, room_id: UUID, user_id: UUID) -> None:
        self._sessions = sessions
        self.channel_id, self.room_id, self.user_id = channel_id, room_id, user_id

    async def stream(self, name: str, start: int, end: int | None, *, began: bool = True) -> None:
        """Evidence of a stream that began at a second, and ended at another."""
        sightings: dict[str, Any] = {"session_created_at": EPOCH}
        if began:
            sightings["started_at"] = EPOCH + timedelta(seconds=start)
        if end is not None:
            sightings["stream_ended_at"] = EPOCH + timedelta(seconds=end)
        async with self._sessions() as session, session.begin():
            channel = await session.get_one(Channel, self.channel_id, with_for_update=True)
            await stream.record(session, {channel.id: [Evidence(name, EPOCH, sightings)]})

    async def keep(self, *said: Said) -> int:
        async with self._sessions() as session, session.begin():
            return await chat.keep(session, self.room_id, said)

    async def kept(self) -> dict[str, str | None]:
        """Return the streams' names by the ids of the messages."""
        of_room = (
            select(ChatMessage.ivs_message_id, Stream.ivs_stream_id)
            .outerjoin(Stream, Stream.id == ChatMessage.stream_id)
            .where(ChatMessage.chat_room_id == self.room_id)
            .order_by(ChatMessage.ivs_message_id)
        )
        async with self._sessions() as session:
            return dict([tuple(row) for row in await session.execute(of_room)])

    async def rows(self) -> list[tuple[Any, ...]]:
        columns = ChatMessage.ivs_message_id, ChatMessage.user_id, ChatMessage.sender_name, ChatMessage.is_guest
        of_room = select(*columns).where(ChatMessage.chat_room_id == self.room_id).order_by(columns[0])
        async with self._sessions() as session:
            return [tuple(row) for row in await session.execute(of_room)]


@pytest.fixture
async def world(sessions: Sessions) -> World:
    async with sessions() as session, session.begin():
        channel = await factories.user(session)
        room = (await session.execute(select(ChatRoom.id).where(ChatRoom.user_id == channel.user_id))).scalar_one()
        return World(sessions, channel.id, room, channel.user_id)


def at(seconds: float, message_id: str | None = None, **members: Any) -> Said:
    name = message_id or f"{seconds:06.1f}"
    return Said(name, "hello", "somebody", EPOCH + timedelta(seconds=seconds), **members)


async def test_the_stream_is_the_one_that_was_live(world: World) -> None:
    await world.stream("one", 10, 20)
    await world.stream("two", 30, None)
    await world.stream("never", 0, None, began=False)
    moments = (9.9, 10, 19.9, 20, 29.9, 30, 99)
    assert await world.keep(*(at(moment) for moment in moments)) == 7
    assert list((await world.kept()).values()) == [None, "one", "one", None, None, "two", "two"]


async def test_a_stream_whose_end_was_lost_takes_nothing_from_later_ones(world: World) -> None:
    await world.stream("lost", 0, None)
    await world.stream("next", 10, 20)
    await world.keep(at(5), at(15), at(25))
    assert list((await world.kept()).values()) == ["lost", "next", None]


async def test_other_channels_streams_do_not_count(world: World, sessions: Sessions) -> None:
    async with sessions() as session, session.begin():
        other = await factories.user(session)
        await factories.streams(session, other, 1, live=True)
    await world.keep(at(5))
    assert await world.kept() == {"0005.0": None}


async def test_a_message_is_kept_once_and_its_stream_is_corrected(world: World, sessions: Sessions) -> None:
    assert await world.keep(at(15, "a"), at(15, "a"), at(25, "b")) == 2
    assert await world.keep(at(15, "a"), at(25, "b")) == 0
    await world.stream("late", 10, 20)
    assert await world.keep(at(15, "a"), at(25, "b")) == 1
    assert await world.kept() == {"a": "late", "b": None}
    await world.stream("late", 10, 30)
    assert await world.keep(at(25, "b")) == 1
    assert await world.kept() == {"a": "late", "b": "late"}
    # The same id in another room is another message.
    async with sessions() as session, session.begin():
        other = await factories.user(session)
        room = (await session.execute(select(ChatRoom.id).where(ChatRoom.user_id == other.user_id))).scalar_one()
        assert await chat.keep(session, room, [at(15, "a")]) == 1


async def test_senders_are_linked_if_they_are_there(world: World, sessions: Sessions) -> None:
    async with sessions() as session, session.begin():
        gone = User(id=uuid7(), username=f"gone-{uuid7().hex[-12:]}", password_hash="not a hash")
        session.add(gone)
        await session.flush()
        await chat.keep(session, world.room_id, [at(1, "a", user_id=gone.id)])
        await session.execute(text("DELETE FROM users WHERE id = :id"), {"id": gone.id})
    await world.keep(at(2, "b", user_id=world.user_id), at(3, "c", user_id=gone.id), at(4, "d"))
    assert await world.rows() == [
        ("a", None, "somebody", False),
        ("b", world.user_id, "somebody", False),
        ("c", None, "somebody", False),
        ("d", None, "somebody", True),
    ]


async def test_any_number_is_one_statement(world: World) -> None:
    await world.stream("one", 0, None)
    said = [at(number, f"{number:012d}", user_id=world.user_id) for number in range(20_000)]
    assert await world.keep(*said) == 20_000
    assert set((await world.kept()).values()) == {"one"}
    assert await world.keep() == 0
