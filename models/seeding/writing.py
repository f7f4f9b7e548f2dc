"""Writes a made-up world with COPY. What the ordinary code derives is left to triggers and to the ordinary code."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from models import metric, stage, stream
from models.base import Base
from models.category import Category
from models.channel import Channel
from models.chat import ChatMessage, ChatRoom
from models.follow import Follow
from models.invitation import StageJoinRequest, StageToken
from models.metric import Metric
from models.recording import Recording
from models.rollup import Rhythm
from models.seeding import rows
from models.seeding.audience import COLUMNS, REMEMBERED, heartbeats, watch
from models.seeding.possessions import Possessions
from models.seeding.rows import Rows
from models.seeding.world import LONGEST_STREAM, World
from models.stage import Stage, StageParticipant
from models.stream import Refreshed, Stream
from models.title import ChannelTitle
from models.user import User
from models.vault import Vault


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows of what there are now, and which channels went live."""

    counts: Mapping[str, int]
    live: Sequence[Refreshed]


async def taken_names(session: AsyncSession) -> set[str]:
    """Return what nobody else can be called, in lower case."""
    names = union_all(
        select(func.lower(User.username)),
        *(select(func.lower(model.name)) for model in (Channel, ChatRoom, Stage)),
    )
    return set((await session.execute(names)).scalars())


async def make_room(session: AsyncSession, now: datetime) -> None:
    """Make the partitions that the heartbeats of a world of this moment need.

    This locks tables until the transaction's end: where others work, do it in one of its own before `write`.
    """
    present = set(await metric.partitions(session))
    for ago in range((REMEMBERED + LONGEST_STREAM).days + 2):
        day = (now - timedelta(days=ago)).astimezone(UTC).date()
        if day not in present:
            await metric.add_partition(session, day)


async def write(
    session: AsyncSession,
    world: World,
    possessions: Sequence[Possessions],
    *,
    password_hash: str,
    partner_followers: int = 100,
    rhythm: Rhythm = Rhythm(),  # noqa: B008 - a value, which nothing changes
    vault: Vault | None = None,
) -> Written:
    """Write the world in the session's transaction; `possessions` are those of its people, in their order.

    Channels with `partner_followers` are partners: their possessions must be of that type. Without a vault there are
    neither stream keys nor invitations.
    """
    # Thousands of rows in one statement are what this is for.
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await make_room(session, world.now)
    categories = {slug: key for slug, key in await session.execute(select(Category.slug, Category.id))}  # noqa: C416
    owned = list(zip(world.people, possessions, strict=True))
    belongings = {person.id: its for person, its in owned}
    crowds = list(watch(world, rhythm))
    channels = (
        {
            **rows.channel(person, its, vault),
            "category_id": categories[person.category] if person.category else None,
            "is_partner": person.followers >= partner_followers,
        }
        for person, its in owned
    )
    recorded = ((person, one, its) for person, its in owned for one in person.streams if one.recorded_as)
    tables: list[tuple[type[Base], Rows]] = [
        (User, (rows.user(person, password_hash) for person in world.people)),
        (Channel, channels),
        (ChatRoom, (rows.part(person.room_id, person, its.room_arn) for person, its in owned)),
        (Stage, (rows.part(person.stage_id, person, its.stage_arn) for person, its in owned)),
        (ChannelTitle, rows.titles(world, categories)),
        (Recording, (rows.recording(*each) for each in recorded)),
        (
            Stream,
            (rows.stream(one, belongings[one.owner.id], categories[one.stream.category]) for one in crowds),
        ),
        (Follow, rows.follows(world)),
        (ChatMessage, rows.messages(world)),
        (StageParticipant, rows.participants(owned)),
        (StageToken, rows.invitations(owned, vault) if vault else ()),
        (StageJoinRequest, rows.join_requests(world)),
    ]
    counts = {model.__tablename__: await _copy(session, model, of_table) for model, of_table in tables}
    # These are too many to be held at once.
    beats = heartbeats(crowds, world.random_seed, rhythm)
    counts[Metric.__tablename__] = await _copy_records(session, Metric, COLUMNS, beats)
    live = await stream.refresh_live(session, [person.channel_id for person in world.people if person.live])
    await stage.refresh_live(session, [person.stage_id for person in world.people if person.gathering])
    await _count_viewers(session, [channel.id for channel in live])
    return Written(counts, live)


async def _count_viewers(session: AsyncSession, channel_ids: Sequence[UUID]) -> None:
    """Let the channels say what their streams say, as when viewers are counted."""
    live = (Channel.id.in_(channel_ids), Stream.id == Channel.live_stream_id)
    await session.execute(
        update(Channel)
        .where(*live)
        .values(viewer_count=Stream.viewer_count)
        .execution_options(synchronize_session=False)
    )


async def _copy(session: AsyncSession, model: type[Base], mappings: Rows) -> int:
    """Add rows that have the same columns, and return how many."""
    listed = list(mappings)
    if not listed:
        return 0
    return await _copy_records(session, model, list(listed[0]), (tuple(row.values()) for row in listed))


async def _copy_records(
    session: AsyncSession, model: type[Base], columns: Sequence[str], records: Iterable[tuple[Any, ...]]
) -> int:
    """Add rows of these columns, and return how many; the session has begun its transaction already."""
    raw = await (await session.connection()).get_raw_connection()
    connection: Any = raw.driver_connection
    done: str = await connection.copy_records_to_table(model.__tablename__, records=records, columns=columns)
    return int(done.removeprefix("COPY "))
