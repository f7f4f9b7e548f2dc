"""Keeps the roll-ups of heartbeats: computes anew what commits have marked, and forgets what is too old.

Any number of processes may do so: one at a time works on a stream, and a minute that is computed twice is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import bindparam, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY, INTERVAL, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from models import Stream
from models.engine import Sessions
from models.rollup import COUNTS, MARKS, MINUTE, MINUTES, READINGS, Rhythm
from models.rollup.computed import Computed, compute
from models.rollup.stale import Mark, Run, affected

ROLLED_UP = Counter("streamcat_rollup_minutes_total", "Minutes of streams that were rolled up, or not", ["outcome"])

_STREAMS_A_ROUND: Final = 100
# Minutes whose marks one transaction takes, and that one statement computes, so that neither is long.
_MINUTES_AT_ONCE: Final = 15

_OPEN = "date_bin('1 minute', now(), TIMESTAMPTZ '1970-01-01 00:00+00')"
# A minute is due as soon as it is over, so that who asks for what is live has little to compute; then again only when
# it is of some age, however many heartbeats come late for it meanwhile.
_DUE = text(
    f"""
SELECT stream_id FROM metric_marks WHERE minute < {_OPEN}
 GROUP BY stream_id
HAVING min(minute) <= now() - CAST(:age AS interval) OR max(minute) > coalesce(
         (SELECT max(minute) FROM metric_minutes WHERE metric_minutes.stream_id = metric_marks.stream_id), '-infinity')
 ORDER BY min(minute) LIMIT :most
"""  # noqa: S608 - our own text
).bindparams(bindparam("age", type_=INTERVAL()))
_TAKE = text(
    f"""
DELETE FROM metric_marks
 WHERE stream_id = :stream AND minute < {_OPEN}
   AND minute < (SELECT min(minute) FROM metric_marks WHERE stream_id = :stream) + CAST(:at_once AS interval)
RETURNING minute, viewing_id, {_OPEN}
"""  # noqa: S608 - our own text
).bindparams(bindparam("at_once", type_=INTERVAL()))
_COUNT = text("""
INSERT INTO metric_counts (stream_id, kind, name, minute, previous, amount)
SELECT :stream, kind, name, minute, coalesce(previous, '-infinity'), amount
  FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[]), :minutes, :previous, CAST(:amounts AS bigint[]))
    AS counted (kind, name, minute, previous, amount)
""").bindparams(
    bindparam("minutes", type_=ARRAY(TIMESTAMP(timezone=True))),
    bindparam("previous", type_=ARRAY(TIMESTAMP(timezone=True))),
)


@dataclass(frozen=True, slots=True)
class RollupsConfig:
    """What heartbeats stand for, and for how many days roll-ups are kept."""

    rhythm: Rhythm
    retention_days: int


class Rollups:
    """The jobs about roll-ups."""

    def __init__(self, sessions: Sessions, config: RollupsConfig) -> None:
        self._sessions = sessions
        self.config = config
        self._reach = config.rhythm.reach * MINUTE

    async def roll_up(self) -> int:
        """Compute what is marked and due of some streams; return how many minutes were stored."""
        async with self._sessions() as session:
            due = await session.execute(_DUE, {"age": MINUTE + self._reach, "most": _STREAMS_A_ROUND})
            streams = due.scalars().all()
        return sum([await self._of_stream(stream_id) for stream_id in streams])

    async def forget(self) -> int:
        """Delete the roll-ups of some streams that have been over for too long; return of how many."""
        old = select(Stream.id).where(
            Stream.ended_at < func.now() - timedelta(days=self.config.retention_days),
            select(MINUTES.c.stream_id).where(MINUTES.c.stream_id == Stream.id).exists(),
        )
        async with self._sessions() as session, session.begin():
            streams = (await session.execute(old.limit(_STREAMS_A_ROUND))).scalars().all()
            for table in (COUNTS, MINUTES):
                await session.execute(delete(table).where(table.c.stream_id.in_(streams)))
        return len(streams)

    async def _of_stream(self, stream_id: UUID) -> int:
        async with self._sessions() as session, session.begin():
            if not await _locked(session, stream_id):
                return 0
            # What is marked by whoever commits after this statement is left for the next round.
            taken = await session.execute(_TAKE, {"stream": stream_id, "at_once": _MINUTES_AT_ONCE * MINUTE})
            rows = taken.all()
            if not rows:
                return 0
            newest = select(func.max(MINUTES.c.minute)).where(MINUTES.c.stream_id == stream_id)
            rhythm, now = self.config.rhythm, rows[0][2]
            marks = {Mark(minute, viewing_id) for minute, viewing_id, _ in rows}
            runs = await affected(session, stream_id, marks, (await session.execute(newest)).scalar_one(), rhythm)
            stored = 0
            for start, before in _pieces(runs, now):
                computed = await compute(session, stream_id, start, before, rhythm)
                await _replace(session, stream_id, computed)
                stored += len(computed.minutes)
                ROLLED_UP.labels("stored").inc(len(computed.minutes))
                ROLLED_UP.labels("kept").inc(computed.kept)
            last = (await session.execute(newest)).scalar_one()
            if last is not None and last + self._reach >= now:
                # What was rolled up has a say in the minute that is not over, even if nobody sends in it.
                await session.execute(insert(MARKS).values(stream_id=stream_id, minute=now))
        return stored


async def _locked(session: AsyncSession, stream_id: UUID) -> bool:
    """Keep others from the stream's roll-ups, and the stream from being deleted; return false if either is too late."""
    # However many watch a stream, this is nobody's request.
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    if not (await session.execute(lock, {"name": f"rollups of {stream_id}"})).scalar_one():
        return False
    # Before its marks: who deletes the stream comes to them the same way.
    kept = select(Stream.id).where(Stream.id == stream_id).with_for_update(read=True, key_share=True)
    return (await session.execute(kept)).first() is not None


def _pieces(runs: list[Run], end: datetime) -> Iterator[Run]:
    """Cut the runs in pieces, and off at `end`."""
    for start, until in runs:
        before = min(until, end)
        for number in range(0, (before - start) // MINUTE, _MINUTES_AT_ONCE):
            begin = start + number * MINUTE
            yield begin, min(before, begin + _MINUTES_AT_ONCE * MINUTE)


async def _replace(session: AsyncSession, stream_id: UUID, computed: Computed) -> None:
    if not computed.minutes:
        return
    for table in (COUNTS, MINUTES):
        these = table.c.minute.in_(computed.minutes)
        await session.execute(delete(table).where(table.c.stream_id == stream_id, these))
    if computed.totals:
        rows = [
            {"stream_id": stream_id, "minute": one.minute, "heartbeats": one.heartbeats}
            | {f"{name}_sum": total for name, (total, _) in zip(READINGS, one.readings, strict=True)}
            | {f"{name}_count": number for name, (_, number) in zip(READINGS, one.readings, strict=True)}
            for one in computed.totals
        ]
        await session.execute(insert(MINUTES).values(rows))
    counts = computed.counts
    columns: dict[str, list[Any]] = {
        "kinds": [one.kind for one in counts],
        "names": [one.name for one in counts],
        "minutes": [one.minute for one in counts],
        "previous": [one.previous for one in counts],
        "amounts": [one.amount for one in counts],
    }
    await session.execute(_COUNT, {"stream": stream_id, **columns})
