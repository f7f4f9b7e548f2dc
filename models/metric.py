"""Heartbeats of players, and the rule that says to which stream one belongs.

The table is partitioned by the day on which the *viewing* began, which the signed token says and no retry changes: so
a heartbeat that is sent twice meets itself in one partition, and what is too old is dropped as a whole.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp

# No viewer token holds for longer, so no partition older than a stream's start less this has heartbeats of the stream.
LONGEST_VIEWING: Final = timedelta(days=7)

PARTITION_PREFIX: Final = "metrics_"
_FIRST_PARTITION_DIGIT: Final = len(PARTITION_PREFIX)


class Metric(Base):
    """One heartbeat of one viewing: what a viewer's player told of itself at a moment.

    `sent_at` is the player's own time, kept within its viewing and its stream; `created_at` is when it came in.
    `user_id` is the channel's owner, who alone may see it.
    """

    __tablename__ = "metrics"

    viewing_started_at: Mapped[Timestamp] = mapped_column(primary_key=True)
    viewing_id: Mapped[UUID]
    stream_id: Mapped[UUID] = mapped_column(ForeignKey("streams.id", ondelete="CASCADE"))
    user_id: Mapped[UUID]
    sent_at: Mapped[Timestamp]
    created_at: Mapped[CreatedAt]

    ip: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    browser_name: Mapped[str | None] = mapped_column(Text)
    browser_version: Mapped[str | None] = mapped_column(Text)
    os: Mapped[str | None] = mapped_column(Text)
    is_mobile: Mapped[bool | None]
    time_zone: Mapped[str | None] = mapped_column(Text)
    available_resolution: Mapped[str | None] = mapped_column(Text)
    current_resolution: Mapped[str | None] = mapped_column(Text)
    quality: Mapped[str | None] = mapped_column(Text)
    codecs: Mapped[str | None] = mapped_column(Text)
    bitrate: Mapped[int | None]
    framerate: Mapped[float | None]
    latency_seconds: Mapped[float | None]
    buffer_seconds: Mapped[float | None]

    __table_args__ = (
        CheckConstraint("sent_at <= created_at", name="sent_before_it_came"),
        # NaN is the greatest of numbers to PostgreSQL, and so fails the upper bound.
        *(
            CheckConstraint(f"{column} >= 0 AND {column} < 1e10", name=f"{column}_sane")
            for column in ("bitrate", "framerate", "latency_seconds", "buffer_seconds")
        ),
        Index("ix_metrics_stream_id_sent_at_id", "stream_id", text("sent_at DESC"), text("id DESC")),
        # The newest of a viewing, which says whether the next comes too early.
        Index("ix_metrics_viewing_id_created_at", "viewing_id", text("created_at DESC")),
        {"postgresql_partition_by": "RANGE (viewing_started_at)"},
    )


def heartbeat_id(viewing_id: UUID, client_id: UUID, viewing_started_at: datetime) -> UUID:
    """Return the id of a heartbeat: the same for the same heartbeat, however often it is sent.

    A version 8 UUID that begins with the viewing's milliseconds, so that what is written together lies together.
    Source: RFC 9562, section 5.8.
    """
    digest = int.from_bytes(hashlib.sha256(viewing_id.bytes + client_id.bytes).digest()[:10])
    value = int(viewing_started_at.timestamp() * 1000) << 80 | digest
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


@dataclass(frozen=True, slots=True)
class Span:
    """A stream that viewers could watch, as far as heartbeats need to know it."""

    stream_id: UUID
    user_id: UUID
    started_at: datetime
    ended_at: datetime | None
    ivs_stream_id: str


def in_order(spans: Sequence[Span]) -> list[Span]:
    """Return one channel's streams by their start, each over at the latest when the next begins.

    Ties are broken as in `models.stream.refresh_live`.
    """
    if not spans:
        return []
    far = datetime.max.replace(tzinfo=UTC)
    ordered = sorted(spans, key=lambda span: (span.started_at, span.ended_at or far, span.ivs_stream_id))
    ends = [span.started_at for span in ordered[1:]]
    return [
        span if span.ended_at is not None else _until(span, end)
        for span, end in zip(ordered, [*ends, None], strict=True)
    ]


def _until(span: Span, end: datetime | None) -> Span:
    return Span(span.stream_id, span.user_id, span.started_at, end, span.ivs_stream_id)


def place(ordered: Sequence[Span], at: datetime, *, now: datetime, grace: timedelta) -> tuple[Span, datetime] | None:
    """Return the stream that a heartbeat of the time `at` belongs to, and its time there; null if it has none.

    A stream takes heartbeats while it is live and for `grace` after its end: of its last seconds, which viewers see
    later, or of a player that was offline. A clock that is slow at a stream's start counts from that start.
    """
    began = [span for span in ordered if span.started_at <= at]
    if began:
        span = began[-1]
        if span.ended_at is None:
            return span, at
        if now <= span.ended_at + grace:
            return span, min(at, span.ended_at)
        if at <= span.ended_at:
            return None
    for span in ordered[len(began) :]:
        if span.ended_at is None or now <= span.ended_at + grace:
            return span, span.started_at
    return None


def is_partition(name: str | None) -> bool:
    """Tell whether a table is one of the partitions, which migrations do not know."""
    if name is None or not name.startswith(PARTITION_PREFIX):
        return False
    return name[_FIRST_PARTITION_DIGIT:].isdecimal()


def partition_name(day: date) -> str:
    """Return the name of the partition of viewings that began on this day in UTC."""
    return f"{PARTITION_PREFIX}{day:%Y%m%d}"


async def partitions(session: AsyncSession) -> list[date]:
    """Return the days that have a partition, oldest first."""
    found = await session.scalars(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'metrics'::regclass")
    )
    digits = (name[_FIRST_PARTITION_DIGIT:] for name in found if is_partition(name))
    return sorted(date.fromisoformat(day) for day in digits)


async def add_partition(session: AsyncSession, day: date) -> None:
    """Make room for viewings that begin on this day; the caller knows that there is none yet, or does not mind."""
    await _alter(
        session,
        f"CREATE TABLE IF NOT EXISTS {partition_name(day)} PARTITION OF metrics "
        f"FOR VALUES FROM ('{day}+00') TO ('{day + timedelta(days=1)}+00')",
    )


async def drop_partition(session: AsyncSession, day: date) -> None:
    """Forget the viewings that began on this day."""
    await _alter(session, f"DROP TABLE IF EXISTS {partition_name(day)}")


async def _alter(session: AsyncSession, statement: str) -> None:
    # Both lock the whole table for a moment; waiting for long would make everybody else wait behind.
    await session.execute(text("SET LOCAL lock_timeout = '3s'"))
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('metrics partitions', 0))"))
    await session.execute(text(statement))
