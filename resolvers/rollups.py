"""What the roll-ups of a range of a stream add up to, with what is not rolled up yet: as if all were heartbeats."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from models.rollup import BROWSERS, PRESENT, QUALITIES, READINGS, SYSTEMS, VIEWERS, WATCHED, Rhythm
from models.rollup.computed import Computed, Count, compute
from models.rollup.stale import Mark, affected
from resolvers.buckets import Buckets

SHARED: Final = (BROWSERS, SYSTEMS, QUALITIES)

_MARKS = text("""
SELECT minute, viewing_id, NULL::timestamptz AS newest FROM metric_marks WHERE stream_id = :stream
UNION ALL SELECT NULL, NULL, max(minute) FROM metric_minutes WHERE stream_id = :stream
""")
_RANGE = """
 stream_id = :stream AND minute >= :start AND (CAST(:before AS timestamptz) IS NULL OR minute < :before)
 AND minute <> ALL(:computed)
"""
_BUCKET = "least(floor(extract(epoch FROM minute - :start) / :seconds), :buckets - 1)::int"


def _typed(statement: str) -> TextClause:
    moments = (bindparam(name, type_=TIMESTAMP(timezone=True)) for name in ("start", "before"))
    return text(statement).bindparams(*moments, bindparam("computed", type_=ARRAY(TIMESTAMP(timezone=True))))


# Who was there before in the bucket, or in the range, is counted where he was.
_VIEWERS = _typed(
    f"""
SELECT bucket, coalesce(sum(amount) FILTER (WHERE previous < :start + bucket * CAST(:bucket AS interval)), 0)::bigint,
       coalesce(sum(amount) FILTER (WHERE previous < :start), 0)::bigint
  FROM (
    SELECT {_BUCKET} AS bucket, previous, amount FROM metric_counts WHERE kind = '{VIEWERS}' AND {_RANGE}
  ) AS counted
 GROUP BY bucket
"""  # noqa: S608 - our own text
)
_READINGS = _typed(
    f"""
SELECT {_BUCKET} AS bucket, {", ".join(f"sum({name}_sum), sum({name}_count)" for name in READINGS)}
  FROM metric_minutes WHERE {_RANGE} GROUP BY bucket
"""  # noqa: S608 - our own text
)
_SHARES = _typed(
    f"""
SELECT kind, name, sum(amount)::bigint FROM metric_counts
 WHERE kind IN ('{BROWSERS}', '{SYSTEMS}', '{QUALITIES}') AND previous < :start AND {_RANGE}
 GROUP BY kind, name
"""  # noqa: S608 - our own text
)
# Of a minute's two presences, of all heartbeats and of those in the range, the second is never the greater.
_PRESENCE = _typed(
    f"""
SELECT
  (SELECT coalesce(max(present), 0) FROM (
     SELECT min(amount) AS present FROM metric_counts
      WHERE kind = '{PRESENT}' AND previous IN ('-infinity', :start) AND {_RANGE} GROUP BY minute
   ) AS minutes),
  (SELECT coalesce(sum(amount), 0)::bigint FROM metric_counts
    WHERE kind = '{WATCHED}' AND previous >= :start AND {_RANGE})
"""  # noqa: S608 - our own text
)


@dataclass(slots=True)
class Sums:
    """Figures of a range; those by bucket have no key where there is nothing.

    Attributes:
        viewers: Distinct viewings by bucket.
        unique: Distinct viewings of the range.
        readings: By bucket, sum and number of each of the readings.
        shares: Distinct viewings that had a value, by kind and value.
        peak: Greatest presence.
        watched: Microseconds watched.
    """

    viewers: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    unique: int = 0
    readings: defaultdict[int, list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(lambda: [(0.0, 0)] * len(READINGS))
    )
    shares: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    peak: int = 0
    watched: int = 0


async def add_up(
    session: AsyncSession, stream_id: UUID, buckets: Buckets, rhythm: Rhythm, wanted: Collection[str]
) -> Sums:
    """Add up the range, of `wanted` kinds alone; the session must see one moment of the database in all statements."""
    sums = Sums()
    fresh = await _fresh(session, stream_id, buckets, rhythm, wanted)
    minutes = [minute for one in fresh for minute in one.minutes]
    scope = {"stream": stream_id, "start": buckets.start, "before": buckets.before, "computed": minutes}
    of_buckets = {"seconds": buckets.seconds, "buckets": buckets.number}

    async def rows(statement: TextClause, **more: Any) -> Sequence[Any]:
        return (await session.execute(statement, {**scope, **more})).all()

    if VIEWERS in wanted:
        for bucket, in_bucket, in_range in await rows(_VIEWERS, **of_buckets, bucket=buckets.length):
            sums.viewers[bucket] += in_bucket
            sums.unique += in_range
    if not set(READINGS).isdisjoint(wanted):
        for bucket, *pairs in await rows(_READINGS, **of_buckets):
            _add_readings(sums, bucket, list(zip(pairs[::2], pairs[1::2], strict=True)))
    if not set(SHARED).isdisjoint(wanted):
        for kind, name, viewers in await rows(_SHARES):
            sums.shares[kind, name] += viewers
    if PRESENT in wanted or WATCHED in wanted:
        ((sums.peak, sums.watched),) = await rows(_PRESENCE)
    for one in fresh:
        _add(sums, one, buckets)
    return sums


async def _fresh(
    session: AsyncSession, stream_id: UUID, buckets: Buckets, rhythm: Rhythm, wanted: Collection[str]
) -> list[Computed]:
    """Compute what of the range is not rolled up, or not any more: the newest minutes, and what came late."""
    found = (await session.execute(_MARKS, {"stream": stream_id})).all()
    newest = max((row.newest for row in found if row.newest is not None), default=None)
    marks = {Mark(minute, viewing_id) for minute, viewing_id, _ in found if minute is not None}
    fresh = []
    for start, before in await affected(session, stream_id, marks, newest, rhythm):
        begin, end = max(start, buckets.start), min(before, buckets.before or before)
        if begin < end:
            fresh.append(await compute(session, stream_id, begin, end, rhythm, wanted))
    return fresh


def _add(sums: Sums, computed: Computed, buckets: Buckets) -> None:
    present: defaultdict[datetime, list[int]] = defaultdict(list)
    for total in computed.totals:
        _add_readings(sums, buckets.of(total.minute), total.readings)
    for count in computed.counts:
        if count.kind == PRESENT:
            if count.previous in (None, buckets.start):
                present[count.minute].append(count.amount)
        elif count.kind == WATCHED:
            sums.watched += count.amount if count.previous is not None and count.previous >= buckets.start else 0
        else:
            _add_viewers(sums, count, buckets)
    sums.peak = max([sums.peak, *(min(of_minute) for of_minute in present.values())])


def _add_viewers(sums: Sums, count: Count, buckets: Buckets) -> None:
    is_new = count.previous is None or count.previous < buckets.start
    if count.kind != VIEWERS:
        if is_new:
            sums.shares[count.kind, count.name] += count.amount
        return
    bucket = buckets.of(count.minute)
    sums.unique += count.amount if is_new else 0
    if is_new or (count.previous is not None and buckets.of(count.previous) < bucket):
        sums.viewers[bucket] += count.amount


def _add_readings(sums: Sums, bucket: int, readings: Sequence[tuple[float | None, int]]) -> None:
    sums.readings[bucket] = [
        (total + (more or 0.0), number + int(others))
        for (total, number), (more, others) in zip(sums.readings[bucket], readings, strict=True)
    ]
