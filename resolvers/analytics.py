"""Analytics of a stream, computed from its heartbeats, and from what was said in its chat.

Averages are over heartbeats: each stands for the same time of watching, so a viewer counts as long as he watched.
Viewers are viewings, counted once per bucket, per value and in all.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import INTERVAL, TIMESTAMP

from models import Stream
from models.metric import LONGEST_VIEWING
from resolvers.buckets import Buckets, buckets_of
from resolvers.context import Context

_MOMENTS: Final = ("since", "start", "before")
MOST_SHARES: Final = 20

_RANGE = """
 FROM metrics
WHERE stream_id = :stream AND viewing_started_at >= :since
  AND sent_at >= :start AND (CAST(:before AS timestamptz) IS NULL OR sent_at < :before)
"""


def _typed(statement: str, *moments: str) -> TextClause:
    return text(statement).bindparams(*(bindparam(name, type_=TIMESTAMP(timezone=True)) for name in moments))


# The last bucket takes what an end that was corrected since has left behind it.
_SERIES = _typed(
    f"""
SELECT CASE WHEN grouping(bucket) = 1 THEN NULL ELSE bucket END AS bucket,
       count(DISTINCT viewing_id), avg(latency_seconds), avg(buffer_seconds), avg(bitrate), avg(framerate)
  FROM (
    SELECT least(floor(extract(epoch FROM sent_at - :start) / :seconds), :buckets - 1)::int AS bucket,
           viewing_id, latency_seconds, buffer_seconds, bitrate, framerate
    {_RANGE}
  ) AS beats
 GROUP BY GROUPING SETS ((bucket), ())
""",  # noqa: S608 - our own text
    *_MOMENTS,
)
_SHARES = _typed(
    f"""
SELECT kind, name, viewers FROM (
  SELECT kind, name, count(DISTINCT viewing_id) AS viewers,
         row_number() OVER (PARTITION BY kind ORDER BY count(DISTINCT viewing_id) DESC, name COLLATE "C") AS place
    FROM (SELECT viewing_id, browser_name, os, quality {_RANGE}) AS beats
   CROSS JOIN LATERAL (VALUES ('browsers', browser_name), ('systems', os), ('qualities', quality)) AS told (kind, name)
   WHERE name IS NOT NULL
   GROUP BY kind, name
) AS ranked
WHERE place <= :most ORDER BY kind, place
""",  # noqa: S608 - our own text
    *_MOMENTS,
)
_CHAT = _typed(
    """
SELECT least(floor(extract(epoch FROM sent_at - :start) / :seconds), :buckets - 1)::int AS bucket, count(*)
  FROM chat_messages
 WHERE stream_id = :stream AND sent_at >= :start AND (CAST(:before AS timestamptz) IS NULL OR sent_at < :before)
 GROUP BY bucket
""",
    "start",
    "before",
)
# A viewing is present for the window after each heartbeat: it joins where none came so long before, and leaves where
# none follows.
_PRESENCE = _typed(
    f"""
WITH beats AS (
  SELECT sent_at,
         sent_at - lag(sent_at) OVER in_time AS since_last,
         lead(sent_at) OVER in_time - sent_at AS until_next
  {_RANGE}
  WINDOW in_time AS (PARTITION BY viewing_id ORDER BY sent_at)
), changes AS (
  SELECT sent_at AS at, 1 AS change FROM beats WHERE since_last IS NULL OR since_last >= :window
  UNION ALL
  SELECT sent_at + :window, -1 FROM beats WHERE until_next IS NULL OR until_next >= :window
)
SELECT
  (SELECT coalesce(max(present), 0) FROM (SELECT sum(change) OVER (ORDER BY at, change) AS present FROM changes) AS p),
  (SELECT coalesce(sum(extract(epoch FROM least(
     coalesce(until_next, :interval), :interval, greatest(:finish - sent_at, interval '0')))), 0) FROM beats)
""",  # noqa: S608 - our own text
    *_MOMENTS,
    "finish",
).bindparams(bindparam("window", type_=INTERVAL()), bindparam("interval", type_=INTERVAL()))


@dataclass(frozen=True, slots=True)
class Point:
    """Value of a series in the bucket that begins at `starts_at`."""

    starts_at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many viewers had a value, of `total`."""

    name: str
    viewers: int
    total: int


@dataclass(frozen=True, slots=True)
class Analytics:
    """What the heartbeats of a range say."""

    bucket_seconds: int
    viewers: Sequence[Point]
    chat_messages: Sequence[Point]
    latency_seconds: Sequence[Point]
    buffer_seconds: Sequence[Point]
    bitrate: Sequence[Point]
    framerate: Sequence[Point]
    browsers: Sequence[Share]
    operating_systems: Sequence[Share]
    qualities: Sequence[Share]
    peak_viewers: int
    unique_viewers: int
    watch_time_seconds: int


_SHARED: Final = frozenset({"browsers", "operating_systems", "qualities"})
_PRESENT: Final = frozenset({"peak_viewers", "watch_time_seconds"})


async def of_stream(
    ctx: Context,
    stream: Stream,
    start: datetime | None,
    end: datetime | None,
    bucket_seconds: int | None,
    *,
    wanted: Collection[str],
) -> Analytics | None:
    """Return the analytics of a stream's heartbeats from `start` to before `end`; null before the stream's start.

    Of the attributes only those that are `wanted` cost anything; the others are empty or 0.

    Raises:
        RequestError: BAD_INPUT for a range or bucket that is not acceptable.
    """
    rules = ctx.services.playback
    buckets = buckets_of(stream, start, end, bucket_seconds, now=datetime.now(UTC), most=rules.most_buckets)
    if buckets is None or stream.started_at is None:
        return None
    scope: dict[str, Any] = {
        "stream": stream.id,
        "since": stream.started_at - LONGEST_VIEWING,
        "start": buckets.start,
        "before": buckets.before,
    }
    presence = {
        "window": timedelta(seconds=rules.window),
        "interval": timedelta(seconds=rules.heartbeat_interval),
        "finish": buckets.finish,
    }

    async with ctx.services.read_sessions() as session:

        async def rows(statement: TextClause, **parameters: Any) -> Sequence[Any]:
            return (await session.execute(statement, scope | parameters)).all()

        series = await rows(_SERIES, seconds=buckets.seconds, buckets=buckets.number)
        shares = await rows(_SHARES, most=MOST_SHARES) if _SHARED.intersection(wanted) else ()
        chat: Sequence[Any] = ()
        if "chat_messages" in wanted:
            chat = await rows(_CHAT, seconds=buckets.seconds, buckets=buckets.number)
        peak, watched = 0, 0
        if _PRESENT.intersection(wanted):
            ((peak, watched),) = await rows(_PRESENCE, **presence)
    return _analytics(buckets, series, chat, shares, int(peak), round(watched), wanted)


def _analytics(
    buckets: Buckets,
    series: Sequence[Any],
    chat: Sequence[Any],
    shares: Sequence[Any],
    peak: int,
    watched: int,
    wanted: Collection[str],
) -> Analytics:
    (unique,) = (row[1] for row in series if row.bucket is None)

    def points(name: str, rows: Sequence[Any], column: int) -> list[Point]:
        if name not in wanted:
            return []
        told = {row.bucket: float(row[column]) for row in rows if row[column] is not None}
        return [
            Point(buckets.start + timedelta(seconds=index * buckets.seconds), told.get(index, 0.0))
            for index in range(buckets.number)
        ]

    by_kind: defaultdict[str, list[Share]] = defaultdict(list)
    for kind, name, viewers in shares:
        by_kind[kind].append(Share(name, viewers, unique))
    return Analytics(
        bucket_seconds=buckets.seconds,
        viewers=points("viewers", series, 1),
        chat_messages=points("chat_messages", chat, 1),
        latency_seconds=points("latency_seconds", series, 2),
        buffer_seconds=points("buffer_seconds", series, 3),
        bitrate=points("bitrate", series, 4),
        framerate=points("framerate", series, 5),
        browsers=by_kind["browsers"],
        operating_systems=by_kind["systems"],
        qualities=by_kind["qualities"],
        peak_viewers=peak,
        unique_viewers=unique,
        watch_time_seconds=watched,
    )
