"""What the plain server says of a stream's audience: two statements, for the fields that the documents ask for."""

from datetime import datetime, timedelta

import strawberry
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models import Stream, utcnow

# As ours chooses by itself for streams of less than 25 hours.
BUCKET_SECONDS = 60
SENTENCES = {"Session Created": "The encoder has connected.", "Stream Start": "The stream can be watched."}

_VIEWERS = text("""
SELECT floor(extract(epoch FROM sent_at - :start) / 60)::int AS bucket, count(DISTINCT viewing_id) AS viewers
  FROM metrics
 WHERE stream_id = :stream AND viewing_started_at >= :start - interval '7 days' AND sent_at >= :start
 GROUP BY ROLLUP (bucket)
""").bindparams(bindparam("start", type_=TIMESTAMP(timezone=True)))
_PRESENCE = text("""
WITH beats AS (
  SELECT sent_at, sent_at - lag(sent_at) OVER in_time AS since_last, lead(sent_at) OVER in_time - sent_at AS until_next
    FROM metrics
   WHERE stream_id = :stream AND viewing_started_at >= :start - interval '7 days' AND sent_at >= :start
  WINDOW in_time AS (PARTITION BY viewing_id ORDER BY sent_at)),
changes AS (
  SELECT sent_at AS at, 1 AS change FROM beats WHERE since_last IS NULL OR since_last >= interval '45 seconds'
  UNION ALL
  SELECT sent_at + interval '45 seconds', -1 FROM beats
   WHERE until_next IS NULL OR until_next >= interval '45 seconds')
SELECT
  (SELECT coalesce(max(present), 0) FROM (SELECT sum(change) OVER (ORDER BY at, change) AS present FROM changes) AS p),
  (SELECT coalesce(sum(extract(epoch FROM least(coalesce(until_next, interval '30 seconds'), interval '30 seconds',
     greatest(now() - sent_at, interval '0')))), 0) FROM beats)
""").bindparams(bindparam("start", type_=TIMESTAMP(timezone=True)))


@strawberry.type
class TimePoint:
    starts_at: datetime
    value: float


@strawberry.type
class Analytics:
    bucket_seconds: int
    unique_viewers: int
    peak_viewers: int
    watch_time_seconds: int
    viewers: list[TimePoint]


async def analytics(sessions: async_sessionmaker[AsyncSession], stream: Stream) -> Analytics | None:
    if stream.started_at is None:
        return None
    start = stream.started_at.replace(second=0, microsecond=0)
    scope = {"stream": stream.id, "start": start}
    async with sessions() as session:
        told: dict[int | None, int] = {row.bucket: row.viewers for row in await session.execute(_VIEWERS, scope)}
        peak, watched = (await session.execute(_PRESENCE, scope)).one()
    number = int((utcnow() - start).total_seconds() / BUCKET_SECONDS) + 1
    return Analytics(
        bucket_seconds=BUCKET_SECONDS,
        unique_viewers=told.get(None, 0),
        peak_viewers=int(peak),
        watch_time_seconds=round(watched),
        viewers=[
            TimePoint(starts_at=start + timedelta(seconds=index * BUCKET_SECONDS), value=told.get(index, 0))
            for index in range(number)
        ],
    )
