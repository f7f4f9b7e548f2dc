"""Streams, and the rule that turns contradictory, late, doubled evidence into one truth.

Each column of evidence only ever moves one way (least start seen, greatest end seen), so the row is the same whatever
the order and number of the events. What readers want (`state`, `ended_at`, `health`) PostgreSQL computes from it.
"""

import enum
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
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
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate

from models import title
from models.base import Base, CreatedAt, Timestamp, UpdatedAt
from models.channel import Channel
from models.evidence import Merger, gathered
from models.statement import Statement


class StreamState(enum.StrEnum):
    """How far a stream is."""

    STARTING = "STARTING"
    LIVE = "LIVE"
    ENDED = "ENDED"
    FAILED = "FAILED"


class StreamHealth(enum.StrEnum):
    """Whether the encoder's data arrives."""

    HEALTHY = "HEALTHY"
    STARVING = "STARVING"


# Session Ended may come a few seconds before Stream End, or alone when Stream End was lost. A recording ends after the
# last of its streams, so its end tells theirs too, and that there was something to watch.
_ENDED = """stream_ended_at IS NOT NULL OR recording_over_at IS NOT NULL
 OR (started_at IS NOT NULL AND session_ended_at IS NOT NULL)"""
_STATE = f"""CASE
 WHEN {_ENDED} THEN 'ENDED'
 WHEN started_at IS NOT NULL THEN 'LIVE'
 WHEN failed_at IS NOT NULL OR session_ended_at IS NOT NULL THEN 'FAILED'
 ELSE 'STARTING' END"""
# GREATEST ignores nulls and keeps an end from lying before its start.
_ENDED_AT = f"""CASE
 WHEN {_ENDED} THEN GREATEST(COALESCE(stream_ended_at, session_ended_at, recording_over_at), started_at)
 ELSE NULL END"""
_HEALTH = f"""CASE
 WHEN started_at IS NULL OR {_ENDED} THEN NULL
 WHEN starved_at IS NOT NULL AND (recovered_at IS NULL OR starved_at > recovered_at) THEN 'STARVING'
 ELSE 'HEALTHY' END"""

# Of these an end is missing, or a start, or there is but the end of a recording, which goes on for a while and perhaps
# with the next stream.
_UNSETTLED = """(state IN ('LIVE', 'STARTING') OR (state = 'ENDED'
 AND (started_at IS NULL OR (stream_ended_at IS NULL AND session_ended_at IS NULL))))"""
UNSETTLED = text(_UNSETTLED)
"""Of which streams Amazon has to be asked; without binds, for their index."""


class Stream(Base):
    """One broadcast on a channel, known by the id that IVS gave it, with the title and category of its start."""

    __tablename__ = "streams"

    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id", ondelete="SET NULL"), index=True)
    # Set by `models.recording`, from whichever side the two come to know each other.
    recording_id: Mapped[UUID | None] = mapped_column(ForeignKey("recordings.id", ondelete="SET NULL"))
    ivs_stream_id: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    # What the owner has chosen for this stream stays, whatever evidence of its start still comes.
    title_edited: Mapped[bool] = mapped_column(server_default=text("false"))
    category_edited: Mapped[bool] = mapped_column(server_default=text("false"))

    first_seen_at: Mapped[Timestamp]
    session_created_at: Mapped[Timestamp | None]
    started_at: Mapped[Timestamp | None]
    stream_ended_at: Mapped[Timestamp | None]
    session_ended_at: Mapped[Timestamp | None]
    session_end_code: Mapped[str | None] = mapped_column(Text)
    recording_over_at: Mapped[Timestamp | None]
    failed_at: Mapped[Timestamp | None]
    failure_reason: Mapped[str | None] = mapped_column(Text)
    starved_at: Mapped[Timestamp | None]
    recovered_at: Mapped[Timestamp | None]

    # How often S3 was searched for a recording of which no event told, and when it is again.
    recording_looks: Mapped[int] = mapped_column(server_default=text("0"))
    recording_look_after: Mapped[Timestamp | None]

    # Of the last count while it was live, and the greatest so far; see `subscriptions.viewers`.
    viewer_count: Mapped[int] = mapped_column(server_default=text("0"))
    peak_viewer_count: Mapped[int] = mapped_column(server_default=text("0"))
    # What Amazon last counted; see `subscriptions.reconcile.streams`.
    concurrent_views: Mapped[int | None]

    state: Mapped[StreamState] = mapped_column(
        Enum(StreamState, native_enum=False, create_constraint=False, length=16), Computed(_STATE, persisted=True)
    )
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), Computed(_ENDED_AT, persisted=True))
    health: Mapped[StreamHealth | None] = mapped_column(
        Enum(StreamHealth, native_enum=False, create_constraint=False, length=16), Computed(_HEALTH, persisted=True)
    )
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        UniqueConstraint("channel_id", "ivs_stream_id"),
        CheckConstraint("viewer_count BETWEEN 0 AND peak_viewer_count", name="viewer_count_below_peak"),
        CheckConstraint("recording_looks >= 0", name="recording_looks_positive"),
        CheckConstraint("char_length(title) BETWEEN 1 AND 140", name="title_length"),
        Index(
            "ix_streams_channel_id_started_at_id",
            "channel_id",
            text("started_at DESC"),
            text("id DESC"),
            postgresql_where=text("started_at IS NOT NULL"),
        ),
        Index(
            "ix_streams_unrecorded_ended_at",
            "ended_at",
            postgresql_where=text("recording_id IS NULL AND started_at IS NOT NULL"),
        ),
        Index("ix_streams_unsettled", "id", postgresql_where=text(_UNSETTLED)),
        Index("ix_streams_watched", "id", postgresql_where=text("viewer_count > 0")),
        Index(
            "ix_streams_recording_id_first_seen_at_id",
            "recording_id",
            "first_seen_at",
            "id",
            postgresql_where=text("recording_id IS NOT NULL"),
        ),
    )


# Of these the least sighting is kept; of all others the greatest.
_LEAST = frozenset({"first_seen_at", "session_created_at", "started_at", "failed_at"})
_MERGER = Merger(
    Stream,
    key=("channel_id", "ivs_stream_id"),
    owner=Channel,
    copied=("title", "category_id"),
    evidence=(
        *("first_seen_at", "session_created_at", "started_at", "stream_ended_at", "session_ended_at"),
        *("session_end_code", "recording_over_at", "failed_at", "failure_reason", "starved_at", "recovered_at"),
    ),
    least=_LEAST,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one event says about one stream: `sightings` maps columns of evidence to times (texts for codes)."""

    ivs_stream_id: str
    seen_at: datetime
    sightings: Mapping[str, Any]


async def record(session: AsyncSession, evidence: Mapping[UUID, Sequence[Evidence]]) -> set[UUID]:
    """Merge each channel's evidence into its streams; return the ids of those channels of which any stream changed.

    The caller holds locks on the channels' rows: two workers that merge at once would each compute the live flag
    without the other's stream.
    """
    rows = []
    for channel_id, about in evidence.items():
        seen: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for one in about:
            seen[one.ivs_stream_id].append({"first_seen_at": one.seen_at, **one.sightings})
        rows += [
            {"channel_id": channel_id, "ivs_stream_id": key, **gathered(told, _LEAST)} for key, told in seen.items()
        ]
    changed = await _MERGER.merge(session, rows)
    if changed:
        await name(session, changed)
    return set(changed.values())


async def name(session: AsyncSession, stream_ids: Iterable[UUID]) -> None:
    """Give streams the title and category of their start, as far as that is known now; not over the owner's edits."""
    await _NAME.all(session, {"streams": list(stream_ids)})


def _naming() -> Update:
    moment = func.coalesce(Stream.started_at, Stream.first_seen_at)
    past = title.in_force(Stream.channel_id, moment).correlate(Stream).subquery()
    found = title.in_force(Stream.channel_id, moment).correlate(Stream).exists()
    # A channel may have had no category then, which is not the same as having no past.
    then = {
        column: case((edited, column), (found, select(past.c[column.key]).scalar_subquery()), else_=present)
        for column, edited, present in (
            (Stream.title, Stream.title_edited, Channel.title),
            (Stream.category_id, Stream.category_edited, Channel.category_id),
        )
    }
    return (
        update(Stream)
        .where(
            Stream.id == any_(bindparam("streams", type_=ARRAY(Uuid()))),
            Channel.id == Stream.channel_id,
            or_(*(column.is_distinct_from(value) for column, value in then.items())),
        )
        .values({column.key: value for column, value in then.items()})
        .execution_options(synchronize_session=False)
    )


_NAME = Statement(_naming())


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A channel that went live or offline, or on to another stream."""

    id: UUID
    category_id: UUID | None
    is_live: bool
    is_another: bool
    """Whether it is live with another stream than before, or offline after one."""


async def refresh_live(session: AsyncSession, channel_ids: Collection[UUID]) -> list[Refreshed]:
    """Derive each channel's live stream anew: its newest started stream, if that has no end; return what changed.

    A stream that is new, or over, has no viewers until they are counted.
    """
    rows = await _REFRESH.all(session, {"channels": list(channel_ids)})
    return [Refreshed(key, category_id, now is not None, now != then) for key, category_id, now, then in rows]


def _refreshing() -> ReturningUpdate[UUID, UUID | None, UUID | None, UUID | None]:
    newest = (
        select(Stream)
        .where(Stream.channel_id == Channel.id, Stream.started_at.is_not(None))
        # Whole seconds tie: of two streams started in one second the running one is the newer. Never by our own key,
        # which depends on the order of arrival.
        .order_by(Stream.started_at.desc(), Stream.ended_at.desc().nulls_first(), Stream.ivs_stream_id.desc())
        .limit(1)
        .correlate(Channel)
        .subquery()
    )
    live = newest.c.state == StreamState.LIVE
    live_id = select(newest.c.id).where(live).scalar_subquery()
    live_since = select(newest.c.started_at).where(live).scalar_subquery()
    before = aliased(Channel)
    return (
        update(Channel)
        .where(
            Channel.id == before.id,
            Channel.id == any_(bindparam("channels", type_=ARRAY(Uuid()))),
            or_(Channel.live_stream_id.is_distinct_from(live_id), Channel.live_since.is_distinct_from(live_since)),
        )
        .values(
            live_stream_id=live_id,
            live_since=live_since,
            viewer_count=case((Channel.live_stream_id.is_distinct_from(live_id), 0), else_=Channel.viewer_count),
        )
        .returning(Channel.id, Channel.category_id, Channel.live_stream_id, before.live_stream_id)
        .execution_options(synchronize_session=False)
    )


_REFRESH = Statement(_refreshing())
