"""Recordings, each an entity of its own: with a reconnect window several streams share one.

As in `models.stream`, evidence only moves one way and PostgreSQL computes the state from it.
"""

import enum
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import TypeEngine

from models import place
from models.base import Base, CreatedAt, Timestamp, UpdatedAt
from models.channel import Channel
from models.deletion import RecordingDeletion
from models.evidence import Merger, gathered
from models.place import RecordingEvidence, Told
from models.statement import Statement
from models.stream import Stream


class RecordingState(enum.StrEnum):
    """How far a recording is."""

    RECORDING = "RECORDING"
    READY = "READY"
    FAILED = "FAILED"


# A failure outweighs an end: what is offered must be whole. A recording of no length is none.
_STATE = """CASE
 WHEN start_failed_at IS NOT NULL OR end_failed_at IS NOT NULL THEN 'FAILED'
 WHEN over_at IS NULL THEN 'RECORDING'
 WHEN duration_ms > 0 THEN 'READY'
 ELSE 'FAILED' END"""
# GREATEST ignores nulls and keeps an end from lying before its start.
_ENDED_AT = """CASE
 WHEN over_at IS NULL AND start_failed_at IS NULL AND end_failed_at IS NULL THEN NULL
 ELSE GREATEST(COALESCE(over_at, end_failed_at, start_failed_at), started_at) END"""


class Recording(Base):
    """What Amazon writes to S3 of one or several streams, known by the id that IVS gave it.

    `playlist_key` and `thumbnail_key` are S3 keys that the recording's own metadata led to; `look_after` is the time of
    the next look for that metadata, and the lease of the present one.
    """

    __tablename__ = "recordings"

    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    recording_session_id: Mapped[str] = mapped_column(Text)

    started_at: Mapped[Timestamp | None]
    over_at: Mapped[Timestamp | None]
    start_failed_at: Mapped[Timestamp | None]
    end_failed_at: Mapped[Timestamp | None]
    failure_reason: Mapped[str | None] = mapped_column(Text)
    bucket: Mapped[str | None] = mapped_column(Text)
    prefix: Mapped[str | None] = mapped_column(Text)
    duration_ms: Mapped[int | None]

    state: Mapped[RecordingState] = mapped_column(
        Enum(RecordingState, native_enum=False, create_constraint=False, length=16), Computed(_STATE, persisted=True)
    )
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), Computed(_ENDED_AT, persisted=True))

    playlist_key: Mapped[str | None] = mapped_column(Text)
    thumbnail_key: Mapped[str | None] = mapped_column(Text)
    look_after: Mapped[Timestamp | None]
    look_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    look_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        UniqueConstraint("channel_id", "recording_session_id"),
        CheckConstraint("duration_ms >= 0", name="duration_positive"),
        CheckConstraint("look_attempts >= 0", name="attempts_positive"),
        CheckConstraint("playlist_key IS NULL OR (bucket IS NOT NULL AND prefix IS NOT NULL)", name="playlist_is_kept"),
        *(
            Index(
                f"ix_recordings_ready_{'_'.join([*ahead, column, 'id'])}",
                *ahead,
                text(f"{column} DESC"),
                text("id DESC"),
                postgresql_where=text("state = 'READY'"),
            )
            for ahead, column in (((), "ended_at"), ((), "duration_ms"), (("channel_id",), "ended_at"))
        ),
        Index("ix_recordings_look_after", "look_after", postgresql_where=text("look_after IS NOT NULL")),
    )


def _deleted(given: Any) -> ColumnElement[bool]:
    """Return whether the owner has deleted the recording: what still comes late must not bring it back."""
    return exists().where(
        RecordingDeletion.channel_id == given.channel_id,
        or_(
            RecordingDeletion.recording_session_id == given.recording_session_id,
            # What was found on S3 had another id.
            RecordingDeletion.prefix == given.prefix,
        ),
    )


# Of these the least sighting is kept; of all others the greatest.
_LEAST = frozenset({"started_at", "start_failed_at", "end_failed_at"})
_MERGER: Final = Merger(
    Recording,
    key=("channel_id", "recording_session_id"),
    owner=Channel,
    unless=_deleted,
    evidence=(
        *("started_at", "over_at", "start_failed_at", "end_failed_at"),
        *("failure_reason", "bucket", "prefix", "duration_ms"),
    ),
    least=_LEAST,
)
# After this long somebody looks whether the recording has ended without our hearing of it.
OVERDUE: Final = timedelta(hours=1)


async def record(session: AsyncSession, evidence: Mapping[UUID, Sequence[RecordingEvidence]]) -> set[UUID]:
    """Merge evidence, by channel, into recordings and link their streams; return the ids of the changed channels.

    The streams have their rows already, and the caller holds locks on the channels': a recording that its owner
    deletes meanwhile does not come back.
    """
    told: Told = defaultdict(list)
    for channel_id, about in evidence.items():
        for one in about:
            told[channel_id, one.recording_session_id].append(one)
    if not told:
        return set()
    told = await place.by_place(session, told)
    rows = [
        {
            "channel_id": channel_id,
            "recording_session_id": session_id,
            **gathered((one.sightings for one in about), _LEAST),
        }
        for (channel_id, session_id), about in told.items()
    ]
    changed = await _MERGER.merge(session, rows)
    if changed:
        await _SCHEDULE.all(session, {"recordings": list(changed)})
    # A stream belongs to one recording. Should two claim it, the choice must not depend on who came first.
    links: dict[tuple[UUID, str], str] = {}
    for (channel_id, session_id), about in told.items():
        for stream_id in {stream_id for one in about for stream_id in one.ivs_stream_ids}:
            links[channel_id, stream_id] = max(session_id, links.get((channel_id, stream_id), ""))
    return {*changed.values(), *await _link(session, links)}


def _scheduling() -> Update:
    """Let the metadata be read as soon as there is something to offer, and never of what failed."""
    unread = Recording.playlist_key.is_(None) & Recording.prefix.is_not(None)
    look_after = case(
        (Recording.state == RecordingState.RECORDING, func.coalesce(Recording.look_after, func.now() + OVERDUE)),
        ((Recording.state == RecordingState.READY) & unread, func.now()),
    )
    return (
        update(Recording)
        .where(Recording.id == any_(bindparam("recordings", type_=ARRAY(Uuid()))))
        .values(look_after=look_after, look_attempts=0)
        .execution_options(synchronize_session=False)
    )


_SCHEDULE: Final = Statement(_scheduling())


async def _link(session: AsyncSession, links: Mapping[tuple[UUID, str], str]) -> set[UUID]:
    if not links:
        return set()
    told = {
        "channel_id": [channel_id for channel_id, _ in links],
        "ivs_stream_id": [stream_id for _, stream_id in links],
        "session_id": list(links.values()),
    }
    return {row["channel_id"] for row in await _LINK.all(session, told)}


def _linking() -> ReturningUpdate[UUID]:
    columns: dict[str, TypeEngine[Any]] = {"channel_id": Uuid(), "ivs_stream_id": Text(), "session_id": Text()}
    told = (
        func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in columns.items()))
        .table_valued(*columns, name="told")
        .render_derived()
    )
    present = (
        select(func.coalesce(Recording.recording_session_id, "").collate("C"))
        .where(Recording.id == Stream.recording_id)
        .scalar_subquery()
    )
    claimant = aliased(Recording)
    return (
        update(Stream)
        .where(
            Stream.channel_id == told.c.channel_id,
            Stream.ivs_stream_id == told.c.ivs_stream_id,
            claimant.channel_id == told.c.channel_id,
            claimant.recording_session_id == told.c.session_id,
            or_(Stream.recording_id.is_(None), present < told.c.session_id),
        )
        .values(recording_id=claimant.id)
        .returning(Stream.channel_id)
    )


_LINK: Final = Statement(_linking())


async def bury(session: AsyncSession, *which: ColumnElement[bool]) -> None:
    """Delete recordings, and leave to a job what S3 holds of them.

    The caller holds locks on their channels' rows: an event that comes late finds either the recording or its deletion.
    """
    kept = Recording.bucket.is_not(None) & Recording.prefix.is_not(None)
    # Into one that is not over Amazon still writes.
    settled = case((Recording.state == RecordingState.RECORDING, func.now() + OVERDUE), else_=func.now())
    left = {
        RecordingDeletion.id: Recording.id,
        RecordingDeletion.channel_id: Recording.channel_id,
        RecordingDeletion.channel_arn: func.coalesce(Channel.arn, ""),
        RecordingDeletion.recording_session_id: Recording.recording_session_id,
        RecordingDeletion.bucket: Recording.bucket,
        RecordingDeletion.prefix: Recording.prefix,
        RecordingDeletion.delete_after: case((kept, settled)),
    }
    buried = select(*left.values()).join(Channel, Channel.id == Recording.channel_id).where(*which)
    await session.execute(insert(RecordingDeletion).from_select(list(left), buried))
    await session.execute(delete(Recording).where(*which).execution_options(synchronize_session=False))
