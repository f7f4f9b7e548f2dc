"""Writes a made-up world with COPY. What the ordinary code derives is left to triggers and to the ordinary code."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from models import stream
from models.base import Base
from models.category import Category
from models.channel import Channel
from models.chat import ChatMessage, ChatRoom
from models.follow import Follow
from models.provisioned import ProvisioningState
from models.recording import Recording
from models.seeding.possessions import Possessions
from models.seeding.talk import talk
from models.seeding.world import Broadcast, Person, World
from models.stage import Stage
from models.stream import Refreshed, Stream
from models.title import ChannelTitle
from models.user import User
from models.vault import Vault

Rows = Iterable[dict[str, Any]]

_READY: Final = {"provisioning": ProvisioningState.READY, "provision_attempts": 1}


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


async def write(
    session: AsyncSession,
    world: World,
    possessions: Sequence[Possessions],
    *,
    password_hash: str,
    partner_followers: int = 100,
    vault: Vault | None = None,
) -> Written:
    """Write the world in the session's transaction; `possessions` are those of its people, in their order.

    Channels with `partner_followers` are partners: their possessions must be of that type. Without a vault there are no
    stream keys.
    """
    # Thousands of rows in one statement are what this is for.
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    categories = {slug: key for slug, key in await session.execute(select(Category.slug, Category.id))}  # noqa: C416
    owned = list(zip(world.people, possessions, strict=True))
    channels = (
        {
            **_channel(person, its, vault),
            "category_id": categories[person.category] if person.category else None,
            "is_partner": person.followers >= partner_followers,
        }
        for person, its in owned
    )
    tables: list[tuple[type[Base], Rows]] = [
        (User, (_user(person, password_hash) for person in world.people)),
        (Channel, channels),
        (ChatRoom, (_part(person.room_id, person, its.room_arn) for person, its in owned)),
        (Stage, (_part(person.stage_id, person, its.stage_arn) for person, its in owned)),
        (ChannelTitle, _titles(world, categories)),
        (
            Recording,
            (_recording(person, one) for person in world.people for one in person.streams if one.recorded_as),
        ),
        (
            Stream,
            (_stream(person, one, its, categories[one.category]) for person, its in owned for one in person.streams),
        ),
        (Follow, _follows(world)),
        (ChatMessage, _messages(world)),
    ]
    counts = {model.__tablename__: await _copy(session, model, rows) for model, rows in tables}
    live = await stream.refresh_live(session, [person.channel_id for person in world.people if person.live])
    return Written(counts, live)


async def _copy(session: AsyncSession, model: type[Base], rows: Rows) -> int:
    """Add rows that have the same columns; the session has begun its transaction already."""
    listed = list(rows)
    if listed:
        raw = await (await session.connection()).get_raw_connection()
        connection: Any = raw.driver_connection
        columns = list(listed[0])
        records = [tuple(row.values()) for row in listed]
        await connection.copy_records_to_table(model.__tablename__, records=records, columns=columns)
    return len(listed)


def _user(person: Person, password_hash: str) -> dict[str, Any]:
    return {
        "id": person.id,
        "username": person.username,
        "password_hash": password_hash,
        "created_at": person.joined_at,
        "updated_at": person.joined_at,
    }


def _part(key: UUID, person: Person, arn: str) -> dict[str, Any]:
    """Return what channel, room and stage have in common."""
    return {
        "id": key,
        "user_id": person.id,
        "name": person.username,
        "arn": arn,
        "created_at": person.joined_at,
        "updated_at": person.joined_at,
        **_READY,
    }


def _channel(person: Person, its: Possessions, vault: Vault | None) -> dict[str, Any]:
    sealed = vault.seal(its.stream_key, row_id=person.channel_id) if vault and its.stream_key else None
    return {
        **_part(person.channel_id, person, its.channel_arn),
        "updated_at": person.former[-1].ended_at if person.former else person.joined_at,
        "title": person.title,
        "playback_url": its.playback_url,
        "ingest_endpoint": its.ingest_endpoint,
        "type": its.channel_type,
        "stream_key_sealed": sealed,
        "stream_key_arn": its.stream_key_arn,
    }


def _titles(world: World, categories: Mapping[str, UUID]) -> Rows:
    for person in world.people:
        for former in person.former:
            yield {
                "id": former.id,
                "channel_id": person.channel_id,
                "category_id": categories[former.category] if former.category else None,
                "title": former.title,
                "ended_at": former.ended_at,
            }


def _stream(person: Person, one: Broadcast, its: Possessions, category_id: UUID) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel_id": person.channel_id,
        "category_id": category_id,
        "ivs_stream_id": (one is person.live and its.ivs_stream_id) or one.ivs_stream_id,
        "title": one.title,
        "first_seen_at": one.connected_at,
        "session_created_at": one.connected_at,
        "started_at": one.started_at,
        "stream_ended_at": one.ended_at,
        "session_ended_at": one.ended_at,
        "recording_id": one.recorded_as,
        "starved_at": one.starved_at,
        "recovered_at": one.recovered_at,
        "created_at": one.connected_at,
        "updated_at": one.ended_at or one.started_at,
    }


def _recording(person: Person, one: Broadcast) -> dict[str, Any]:
    """Return a recording that is as good as watched: where its files would be, none are."""
    ended_at = one.ended_at or one.started_at
    prefix = f"ivs/v1/made-up/{person.channel_id.hex}/{one.started_at:%Y/%-m/%-d/%-H/%-M}/{one.ivs_stream_id[-12:]}"
    return {
        "id": one.recorded_as,
        "channel_id": person.channel_id,
        "recording_session_id": f"rec-{one.ivs_stream_id[-12:]}",
        "started_at": one.started_at,
        "over_at": ended_at,
        "duration_ms": int((ended_at - one.started_at).total_seconds() * 1000),
        "bucket": "made-up",
        "prefix": prefix,
        "playlist_key": f"{prefix}/media/hls/master.m3u8",
        "thumbnail_key": f"{prefix}/media/thumbnails/thumb0.jpg",
        "created_at": one.started_at,
        "updated_at": ended_at,
    }


def _follows(world: World) -> Rows:
    for follow in world.follows:
        yield {
            "id": follow.id,
            "user_id": follow.user_id,
            "channel_id": follow.channel_id,
            "created_at": follow.since,
        }


def _messages(world: World) -> Rows:
    for message in talk(world):
        yield {
            "id": message.id,
            "chat_room_id": message.room_id,
            "stream_id": message.stream_id,
            "user_id": message.sender.id if message.sender else None,
            "ivs_message_id": message.ivs_message_id,
            "content": message.content,
            "sender_name": message.sender_name,
            "is_guest": message.sender is None,
            "sent_at": message.sent_at,
            "created_at": message.sent_at,
        }
