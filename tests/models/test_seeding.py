"""A made-up world: the same for the same dice, and in all that is derived what the ordinary code would have derived."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models import (
    Channel,
    ChatMessage,
    Follow,
    Recording,
    RecordingState,
    Stream,
    StreamState,
    User,
    chat,
    seeding,
    stream,
    utcnow,
)
from models.chat import Said
from models.engine import Sessions
from models.seeding import Person, World, Written
from models.vault import Vault
from tests.registration import fresh_database, open_sessions

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
PARTNERS = 40


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    async with fresh_database(database_url) as url, open_sessions(url) as sessions:
        yield sessions


async def sow(session: AsyncSession, count: int, *, random_seed: int = 1) -> tuple[World, Written]:
    taken = await seeding.taken_names(session)
    world = seeding.imagine(count, random_seed=random_seed, now=utcnow(), taken=taken)
    possessions = [seeding.invented(person, partner_followers=PARTNERS) for person in world.people]
    return world, await seeding.write(
        session, world, possessions, password_hash="not a hash", partner_followers=PARTNERS
    )


def test_same_dice_make_the_same_world() -> None:
    world = seeding.imagine(100, random_seed=7, now=NOW)
    assert world == seeding.imagine(100, random_seed=7, now=NOW)
    assert world != seeding.imagine(100, random_seed=8, now=NOW)


def test_another_time_shifts_the_same_world() -> None:
    shift = timedelta(days=3)

    def plain(world: World) -> list[object]:
        return [(one.username, one.title, one.followers, len(one.streams), len(one.former)) for one in world.people]

    now, later = (seeding.imagine(100, random_seed=7, now=moment) for moment in (NOW, NOW + shift))
    assert plain(now) == plain(later)
    assert [one.joined_at + shift for one in now.people] == [one.joined_at for one in later.people]


@pytest.mark.parametrize("count", [1, 2, 500])
def test_nobody_does_two_things_at_once_nor_anything_before_joining(count: int) -> None:
    for person in seeding.imagine(count, random_seed=3, now=NOW).people:
        moments = [person.joined_at]
        for one in person.streams:
            moments += [one.connected_at, one.started_at, one.ended_at or NOW]
            assert (one.ended_at is None) == (one is person.live)
        assert moments == sorted(moments)
        assert moments[-1] <= NOW
        renames = [former.ended_at for former in person.former]
        assert renames == sorted(renames)
        assert all(person.joined_at < ended_at < NOW for ended_at in renames)


def test_names_are_unique_and_never_taken() -> None:
    first = seeding.imagine(3000, random_seed=1, now=NOW)
    taken = {person.username.lower() for person in first.people}
    assert len(taken) == 3000
    second = seeding.imagine(3000, random_seed=1, now=NOW, taken=taken)
    assert not taken & {person.username.lower() for person in second.people}


def test_few_have_most_of_the_followers_and_some_are_live() -> None:
    people = seeding.imagine(1000, random_seed=1, now=NOW).people
    counts = sorted((person.followers for person in people), reverse=True)
    assert sum(counts[:100]) > sum(counts) / 2
    assert sum(person.live is not None for person in people) == 80
    assert sum(not person.streams for person in people) > 50
    titles = Counter(person.title for person in people if person.streams)
    assert titles.most_common(1)[0][1] < 40


async def test_what_is_derived_is_what_the_ordinary_code_derives(sessions: Sessions) -> None:
    async with sessions() as session, session.begin():
        world, written = await sow(session, 150)
    async with sessions() as session, session.begin():
        channels = {one.id: one for one in (await session.execute(select(Channel))).scalars()}
        assert await stream.refresh_live(session, list(channels)) == []
        assert {one.id for one in written.live} == {key for key, one in channels.items() if one.is_live}
        assert len(written.live) == sum(person.live is not None for person in world.people) == 12
        follows = select(Follow.channel_id, func.count()).group_by(Follow.channel_id)
        counted = {key: count for key, count in await session.execute(follows)}  # noqa: C416
        for person in world.people:
            channel = channels[person.channel_id]
            assert channel.follower_count == person.followers == counted.get(person.channel_id, 0)
            assert channel.is_partner == (channel.follower_count >= PARTNERS)
            assert channel.type == ("ADVANCED_HD" if channel.is_partner else "STANDARD")
        assert sum(one.is_partner for one in channels.values()) > 3
        for person in world.people:
            await same_streams(session, person, channels[person.channel_id])


async def test_recordings_are_ready_and_those_of_streams_that_are_over(sessions: Sessions) -> None:
    async with sessions() as session, session.begin():
        _, written = await sow(session, 60)
    async with sessions() as session:
        recorded = select(Recording, Stream).join(Stream, Stream.recording_id == Recording.id)
        rows = (await session.execute(recorded)).all()
    assert len(rows) == written.counts["recordings"] > 100
    for recording, one in rows:
        assert (recording.state, recording.look_after) == (RecordingState.READY, None)
        assert (recording.channel_id, recording.started_at) == (one.channel_id, one.started_at)
        assert recording.ended_at == one.ended_at == one.started_at + timedelta(milliseconds=recording.duration_ms)


async def test_messages_belong_to_the_stream_that_the_ordinary_code_finds(sessions: Sessions) -> None:
    async with sessions() as session, session.begin():
        _, written = await sow(session, 60)
    async with sessions() as session, session.begin():
        rooms: dict[UUID, list[Said]] = defaultdict(list)
        rows = (await session.execute(select(ChatMessage))).scalars().all()
        for row in rows:
            said = Said(row.ivs_message_id, row.content, row.sender_name, row.sent_at, row.user_id)
            rooms[row.chat_room_id].append(said)
        assert [await chat.keep(session, room_id, said) for room_id, said in rooms.items()] == [0] * len(rooms)
    assert len(rows) == written.counts["chat_messages"] > 500
    assert {row.user_id is None for row in rows if row.is_guest} == {True}
    assert 0.05 < sum(row.is_guest for row in rows) / len(rows) < 0.35
    assert len({row.user_id for row in rows}) > 20


async def same_streams(session: AsyncSession, person: Person, channel: Channel) -> None:
    """Tell the ordinary code of the same streams once more: nothing is news to it."""
    rows = (await session.execute(select(Stream).where(Stream.channel_id == channel.id))).scalars().all()
    assert len(rows) == len(person.streams)
    assert {row.state for row in rows} <= {StreamState.LIVE, StreamState.ENDED}
    columns = ("session_created_at", "started_at", "stream_ended_at", "session_ended_at", "starved_at", "recovered_at")
    evidence = [
        stream.Evidence(
            row.ivs_stream_id,
            row.first_seen_at,
            {column: getattr(row, column) for column in columns if getattr(row, column) is not None},
        )
        for row in rows
    ]
    before = {row.id: (row.title, row.category_id, row.updated_at) for row in rows}
    assert await stream.record(session, {channel.id: evidence}) == set()
    # Titles are derived even where nothing else is news.
    await stream.name(session, before)
    again = select(Stream).where(Stream.channel_id == channel.id).execution_options(populate_existing=True)
    after = (await session.execute(again)).scalars().all()
    assert {row.id: (row.title, row.category_id, row.updated_at) for row in after} == before


async def test_another_batch_is_added_with_the_same_dice(sessions: Sessions) -> None:
    for total in (40, 80):
        async with sessions() as session, session.begin():
            _, written = await sow(session, 40)
        assert {written.counts[table] for table in ("users", "channels", "chat_rooms", "stages")} == {40}
        async with sessions() as session:
            for table in ("users", "channels", "chat_rooms", "stages"):
                count = text(f"SELECT count(*) FROM {table}")  # noqa: S608 - our names
                assert (await session.execute(count)).scalar_one() == total


async def test_all_or_nothing(sessions: Sessions) -> None:
    async with sessions() as session, session.begin():
        world, _ = await sow(session, 5)
    again = replace(world, people=[replace(world.people[0])], follows=[])
    with pytest.raises(Exception, match="duplicate key"):
        async with sessions() as session, session.begin():
            await seeding.write(session, again, [seeding.invented(world.people[0])], password_hash="not a hash")
    async with sessions() as session:
        assert (await session.execute(select(func.count()).select_from(User))).scalar_one() == 5


async def test_stream_keys_open_with_the_vault(sessions: Sessions) -> None:
    vault = Vault(["k" * 40])
    world = seeding.imagine(2, random_seed=1, now=utcnow())
    possessions = [replace(seeding.invented(one), stream_key=f"sk_{one.username}") for one in world.people]
    async with sessions() as session, session.begin():
        await seeding.write(session, world, possessions, password_hash="not a hash", vault=vault)
        for channel in (await session.execute(select(Channel))).scalars():
            assert channel.stream_key_sealed is not None
            assert vault.open(channel.stream_key_sealed, row_id=channel.id) == f"sk_{channel.name}"
    assert "sk_" not in repr(possessions)
