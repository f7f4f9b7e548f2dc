"""Roll-ups of heartbeats per stream and minute of UTC: what analytics read instead of heartbeats.

Of each minute stand its sums, and how many viewings it had by the minute in which each was there before. A range of
minutes has as many distinct viewings as there are in its minutes that were not there before in the range: exact for
every range, without a set of viewers. Likewise what a viewing had before, who is present and what is watched.

A trigger marks what every commit touches, in that commit; a marked minute, and those that depend on it, are computed
from heartbeats by whoever reads, until the job has stored them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
)

from models.base import Base

MINUTE: Final = timedelta(minutes=1)

# What `metric_counts` counts by `previous`, the minute that a range must not hold, or must, for it to count.
VIEWERS: Final = "viewers"  # viewings, by the minute before in which they were there
BROWSERS: Final = "browsers"  # viewings with a value, by the minute before in which they had it; so the next two
SYSTEMS: Final = "systems"
QUALITIES: Final = "qualities"
PRESENT: Final = "present"  # greatest presence in the minute, of heartbeats since a minute; -infinity: of all
WATCHED: Final = "watched"  # microseconds watched in the minute, by the minute of the heartbeat
KINDS: Final = (VIEWERS, BROWSERS, SYSTEMS, QUALITIES, PRESENT, WATCHED)
READINGS: Final = ("latency_seconds", "buffer_seconds", "bitrate", "framerate")


def _of_stream(*, key: bool = True) -> Column[UUID]:
    return Column("stream_id", Uuid(), ForeignKey("streams.id", ondelete="CASCADE"), primary_key=key, nullable=False)


def _time(name: str, *, key: bool = True) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), primary_key=key, nullable=False)


MARKS: Final = Table(
    "metric_marks",
    Base.metadata,
    # Without a key: each commit adds its own rows and so waits for nobody, and they are seen when its heartbeats are.
    _of_stream(key=False),
    _time("minute", key=False),
    # Of few heartbeats that come late; without it, everything from the minute on may have changed.
    Column("viewing_id", Uuid()),
    Index("ix_metric_marks_stream_id_minute", "stream_id", "minute"),
)
MINUTES: Final = Table(
    "metric_minutes",
    Base.metadata,
    _of_stream(),
    _time("minute"),
    Column("heartbeats", Integer(), nullable=False),
    *(
        column
        for name in READINGS
        for column in (Column(f"{name}_sum", Float()), Column(f"{name}_count", Integer(), nullable=False))
    ),
)
COUNTS: Final = Table(
    "metric_counts",
    Base.metadata,
    _of_stream(),
    Column("kind", Text(), primary_key=True),
    _time("previous"),
    _time("minute"),
    Column("name", Text(), primary_key=True),
    Column("amount", BigInteger(), nullable=False),
    CheckConstraint(f"kind IN ({', '.join(repr(kind) for kind in KINDS)})", name="kind_known"),
    Index("ix_metric_counts_stream_id_minute", "stream_id", "minute"),
)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """For how long a heartbeat makes its viewing present, and at most stands for watching."""

    window: timedelta = timedelta(seconds=45)
    interval: timedelta = timedelta(seconds=30)

    @property
    def reach(self) -> int:
        """How many minutes after its own a heartbeat has a say in."""
        return max(-(-self.window // MINUTE), -(-self.interval // MINUTE))


def minute_of(moment: datetime) -> datetime:
    """Return where the minute of a moment begins."""
    return moment.replace(second=0, microsecond=0)
