"""Smallest valid rows, written straight into the database, for tests about reading."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from models import (
    Category,
    Channel,
    ChannelType,
    ChatRoom,
    Pace,
    ProvisioningState,
    ReceivedEvent,
    RecordingDeletion,
    Stage,
    StageJoinRequest,
    StageToken,
    User,
    chat,
    stage,
    stream,
    uuid7,
)
from models.stage import Sighting
from models.stream import Evidence
from tests.client import unique

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


async def empty(session: AsyncSession) -> None:
    """Delete all but the categories; a tenth of what TRUNCATE takes, as long as there is little."""
    for model in (ReceivedEvent, Pace, RecordingDeletion, User):
        await session.execute(delete(model))


async def user(session: AsyncSession, username: str | None = None, **channel: Any) -> Channel:
    """A user with channel, chat room and stage, READY without Amazon; return the channel."""
    name = username or unique("u")
    owner = User(id=uuid7(), username=name, password_hash="not a hash")
    session.add(owner)
    await session.flush()
    ready = {"provisioning": ProvisioningState.READY}
    row = Channel(
        id=uuid7(),
        user_id=owner.id,
        name=name,
        title=f"{name}'s channel",
        arn=f"arn:aws:ivs:us-east-1:123456789012:channel/{owner.id.hex}",
        playback_url="https://example.invalid/live.m3u8",
        ingest_endpoint="example.invalid",
        type=ChannelType.STANDARD,
        **ready,
        **channel,
    )
    session.add_all(
        [
            row,
            ChatRoom(
                id=uuid7(),
                user_id=owner.id,
                name=name,
                arn=f"arn:aws:ivschat:us-east-1:123456789012:room/{owner.id.hex}",
                **ready,
            ),
            Stage(id=uuid7(), user_id=owner.id, name=name, arn=f"arn:stage/{owner.id.hex}", **ready),
        ]
    )
    await session.flush()
    return row


async def streams(session: AsyncSession, channel: Channel, count: int, *, live: bool = False) -> None:
    """Streams of one minute each, a minute apart; with `live` the last one has no end."""
    evidence = []
    for index in range(count):
        start = EPOCH + timedelta(minutes=2 * index)
        sightings = {"started_at": start}
        if not (live and index == count - 1):
            sightings["stream_ended_at"] = start + timedelta(minutes=1)
        evidence.append(Evidence(f"st-{channel.id.hex[-12:]}{index:06d}", start, sightings))
    await stream.record(session, {channel.id: evidence})
    await stream.refresh_live(session, [channel.id])


async def gathering(session: AsyncSession, host: Channel, guests: Sequence[Channel]) -> Stage:
    """The host's stage, live, with guests who are invited and on it, each of whom has asked for it."""
    row = (await session.execute(select(Stage).where(Stage.user_id == host.user_id))).scalar_one()
    for index, guest in enumerate([host, *guests]):
        seen = EPOCH + timedelta(minutes=index)
        sighting = Sighting("st-session", f"p-{index}", published_at=seen, user_id=guest.user_id)
        await stage.record(session, {row.id: [sighting]})
    for guest in guests:
        of = {"stage_id": row.id, "user_id": guest.user_id}
        expires = datetime.now(UTC) + timedelta(hours=1)
        session.add(
            StageToken(id=uuid7(), participant_id=uuid7().hex, token_sealed=b"unreadable", expires_at=expires, **of)
        )
        session.add(StageJoinRequest(id=uuid7(), asked_at=EPOCH, **of))
    await session.flush()
    await stage.refresh_live(session, [row.id])
    return row


async def messages(session: AsyncSession, channel: Channel, count: int, *, each: timedelta) -> None:
    """Messages of the owner in the owner's room, the first at EPOCH."""
    room_id = (await session.execute(select(ChatRoom.id).where(ChatRoom.user_id == channel.user_id))).scalar_one()
    said = [
        chat.Said(f"{index:012d}", f"message {index}", channel.name, EPOCH + index * each, channel.user_id)
        for index in range(count)
    ]
    await chat.keep(session, room_id, said)


async def category(session: AsyncSession, slug: str) -> UUID:
    """The key of a seeded category."""
    return (await session.execute(select(Category.id).where(Category.slug == slug))).scalar_one()
