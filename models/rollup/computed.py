"""Roll-up rows of a run of minutes, computed from heartbeats: for the job that stores them, and for who cannot wait."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, INTERVAL, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from models.metric import LONGEST_VIEWING
from models.rollup import BROWSERS, KINDS, MINUTE, PRESENT, QUALITIES, READINGS, SYSTEMS, VIEWERS, WATCHED, Rhythm

# Minutes before the run that are read with it: who was there then needs not be looked up one by one.
_LOOK_BACK: Final = 1

_EPOCH = "TIMESTAMPTZ '1970-01-01 00:00+00'"
TOLD: Final = (
    f"(VALUES ('{VIEWERS}', ''), ('{BROWSERS}', browser_name), ('{SYSTEMS}', os), ('{QUALITIES}', quality))"
    " AS told (kind, name)"
)
_READ = f"""
WITH beats AS MATERIALIZED (
  SELECT viewing_id, viewing_started_at, sent_at, date_bin('1 minute', sent_at, {_EPOCH}) AS minute,
         browser_name, os, quality, latency_seconds, buffer_seconds, bitrate, framerate
    FROM metrics
   WHERE stream_id = :stream AND viewing_started_at >= :look - CAST(:longest AS interval)
     AND sent_at >= :look AND sent_at < :before
)"""  # noqa: S608 - our own text
# The minute before in which a viewing was there, or had a value: among what was read, or further back. Without a join,
# since of what has just come the planner knows nothing, and would choose it as if for a few rows.
_COUNTS = f"""
, had AS (
  SELECT DISTINCT viewing_id, viewing_started_at, kind, name, minute
    FROM beats CROSS JOIN LATERAL {TOLD} WHERE name IS NOT NULL AND kind = ANY(:kinds)
), earlier AS (
  SELECT viewings.viewing_id, older.kind, older.name, older.minute
    FROM (
      SELECT DISTINCT viewing_id, viewing_started_at
        FROM (
          SELECT viewing_id, viewing_started_at FROM had
           GROUP BY viewing_id, viewing_started_at, kind, name HAVING min(minute) >= :start
        ) AS newly
    ) AS viewings
   CROSS JOIN LATERAL (
     SELECT kind, name, date_bin('1 minute', max(sent_at), {_EPOCH}) AS minute
       FROM metrics CROSS JOIN LATERAL {TOLD}
      WHERE metrics.viewing_id = viewings.viewing_id AND metrics.viewing_started_at = viewings.viewing_started_at
        AND metrics.stream_id = :stream AND sent_at < :look AND name IS NOT NULL AND kind = ANY(:kinds)
      GROUP BY kind, name
   ) AS older
), seen AS (
  SELECT kind, name, minute, lag(minute) OVER (PARTITION BY viewing_id, kind, name ORDER BY minute) AS previous
    FROM (
      SELECT viewing_id, kind, name, minute FROM had UNION ALL SELECT viewing_id, kind, name, minute FROM earlier
    ) AS in_all
), counts AS (
  SELECT kind, name, minute, previous, count(*) AS amount FROM seen
   WHERE minute >= :start GROUP BY kind, name, minute, previous
)"""  # noqa: S608 - our own text
# A viewing is present for the window after each heartbeat. Who begins to count at a minute sees it join there: so a
# minute's presence is told of all heartbeats, and of those since each minute that the window reaches back to.
_PRESENCE = """
, ordered AS (
  SELECT minute, sent_at, lag(sent_at) OVER in_time AS last_at, lead(sent_at) OVER in_time AS next_at
    FROM beats WINDOW in_time AS (PARTITION BY viewing_id ORDER BY sent_at)
), reached AS (
  SELECT sent_at, last_at, next_at, at_minute, since
    FROM ordered
   CROSS JOIN generate_series(0, CAST(:reach AS int)) AS ahead
   CROSS JOIN LATERAL (VALUES (minute + ahead * interval '1 minute')) AS reached (at_minute)
   CROSS JOIN LATERAL (
     SELECT NULL::timestamptz UNION ALL
     SELECT at_minute - back * interval '1 minute' FROM generate_series(0, CAST(:reach AS int) - 1) AS back
   ) AS counting (since)
   WHERE sent_at > at_minute - :window AND at_minute >= :start AND at_minute < :before AND :present = ANY(:kinds)
), changes AS (
  SELECT DISTINCT at_minute, since, at_minute AS at, 0 AS change FROM reached
  UNION ALL
  SELECT at_minute, since, greatest(sent_at, at_minute), 1 FROM reached
   WHERE (since IS NULL OR sent_at >= since)
     AND (last_at IS NULL OR sent_at - last_at >= :window OR last_at <= at_minute - :window OR last_at < since)
  UNION ALL
  SELECT at_minute, since, sent_at + :window, -1 FROM reached
   WHERE (since IS NULL OR sent_at >= since)
     AND (next_at IS NULL OR next_at - sent_at >= :window) AND sent_at + :window < at_minute + interval '1 minute'
), peaks AS (
  SELECT at_minute, since, max(present) AS amount
    FROM (
      SELECT at_minute, since, sum(change) OVER (PARTITION BY at_minute, since ORDER BY at, change) AS present
        FROM changes
    ) AS running
   GROUP BY at_minute, since
)"""
# A heartbeat stands for the time until the viewing's next, at most the interval, and for none after the stream's end.
_WATCHED = """
, watched AS (
  SELECT at_minute, minute, sum(extract(epoch FROM until - from_) * 1000000)::bigint AS amount
    FROM (SELECT least(ended_at, now()) AS finish FROM streams WHERE id = :stream) AS stream
   CROSS JOIN ordered
   CROSS JOIN generate_series(0, CAST(:reach AS int)) AS ahead
   CROSS JOIN LATERAL (VALUES (minute + ahead * interval '1 minute')) AS reached (at_minute)
   CROSS JOIN LATERAL (
     VALUES (greatest(sent_at, at_minute),
             least(sent_at + :interval, next_at, finish, at_minute + interval '1 minute'))
   ) AS share (from_, until)
   WHERE until > from_ AND at_minute >= :start AND at_minute < :before AND :watched = ANY(:kinds)
   GROUP BY at_minute, minute
)"""
_SUMS = ", ".join(f"sum({name})::float8, count({name})" for name in READINGS)
_NONE = ", ".join("NULL::float8, NULL::bigint" for _ in READINGS)
_ROWS = f"""
SELECT kind, name, minute, previous, amount, {_NONE} FROM counts
UNION ALL SELECT '{PRESENT}', '', at_minute, since, amount, {_NONE} FROM peaks
UNION ALL SELECT '{WATCHED}', '', at_minute, minute, amount, {_NONE} FROM watched
UNION ALL SELECT NULL, NULL, minute, NULL, count(*), {_SUMS} FROM beats GROUP BY minute
"""  # noqa: S608 - our own text


def _typed(statement: str) -> Any:
    moments = (bindparam(name, type_=TIMESTAMP(timezone=True)) for name in ("look", "start", "before"))
    spans = (bindparam(name, type_=INTERVAL()) for name in ("window", "interval"))
    kinds = bindparam("kinds", type_=ARRAY(Text()))
    names = (bindparam(name, type_=Text()) for name in ("present", "watched"))
    return text(statement).bindparams(*moments, *spans, kinds, *names)


_COMPUTED = _typed(_READ + _COUNTS + _PRESENCE + _WATCHED + _ROWS)
_STORED = text(
    "SELECT minute, heartbeats FROM metric_minutes WHERE stream_id = :stream AND minute >= :look AND minute < :before"
).bindparams(*(bindparam(name, type_=TIMESTAMP(timezone=True)) for name in ("look", "before")))


@dataclass(frozen=True, slots=True)
class Count:
    """A row of `metric_counts`; `previous` is null where the table has -infinity."""

    kind: str
    name: str
    minute: datetime
    previous: datetime | None
    amount: int


@dataclass(frozen=True, slots=True)
class Minute:
    """A row of `metric_minutes`: sum and number of each of the readings, in their order."""

    minute: datetime
    heartbeats: int
    readings: Sequence[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Computed:
    """What takes the place of all that is stored of `minutes`."""

    minutes: frozenset[datetime]
    totals: Sequence[Minute]
    counts: Sequence[Count]
    kept: int  # minutes of the run whose heartbeats are partly gone: what is stored says more, and stays


async def compute(
    session: AsyncSession,
    stream_id: UUID,
    start: datetime,
    before: datetime,
    rhythm: Rhythm,
    kinds: Collection[str] = KINDS,
) -> Computed:
    """Compute the whole minutes from `start` to before `before` from the heartbeats that the session sees.

    Of the counts only those of these kinds are computed.
    """
    look = start - max(_LOOK_BACK, rhythm.reach) * MINUTE
    scope = {"stream": stream_id, "look": look, "before": before}
    spans = {"window": rhythm.window, "interval": rhythm.interval, "longest": LONGEST_VIEWING, "reach": rhythm.reach}
    asked = {"kinds": [kind for kind in KINDS if kind in kinds], "present": PRESENT, "watched": WATCHED}
    rows = (await session.execute(_COMPUTED, {**scope, **spans, **asked, "start": start})).all()
    totals, counts = [], []
    for kind, name, minute, previous, amount, *readings in rows:
        if kind is None:
            pairs = [(float(total or 0), number) for total, number in zip(readings[::2], readings[1::2], strict=True)]
            totals.append(Minute(minute, amount, pairs))
        else:
            counts.append(Count(kind, name, minute, previous, int(amount)))
    found = {one.minute: one.heartbeats for one in totals}
    stored = (await session.execute(_STORED, scope)).all()
    # Partitions are dropped whole: then fewer heartbeats are left than were counted.
    lost = {minute for minute, heartbeats in stored if found.get(minute, 0) < heartbeats}
    kept = {minute + ahead * MINUTE for minute in lost for ahead in range(rhythm.reach + 1)}
    run = {start + number * MINUTE for number in range((before - start) // MINUTE)}
    minutes = frozenset(run - kept)
    return Computed(
        minutes,
        [one for one in totals if one.minute in minutes],
        [one for one in counts if one.minute in minutes],
        kept=len(run & kept),
    )
