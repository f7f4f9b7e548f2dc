"""What a streamer sees of the present audience: the newest heartbeat of each current viewer, and how much it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import INTERVAL, TIMESTAMP

from models import Stream
from models.metric import LONGEST_VIEWING
from resolvers.analytics import MOST_SHARES, Share
from resolvers.context import Context

# Joins and leaves are the difference to so long ago; messages are those since.
PERIOD: Final = timedelta(seconds=60)

_STATS = text("""
WITH recent AS (
  SELECT viewing_id, sent_at, latency_seconds, buffer_seconds, bitrate, framerate, quality,
         row_number() OVER (PARTITION BY viewing_id ORDER BY sent_at DESC, id DESC) AS place
    FROM metrics
   WHERE stream_id = :stream AND viewing_started_at >= :since AND sent_at > now() - :window - :period
), viewings AS (
  SELECT viewing_id, max(sent_at) > now() - :window AS is_here, min(sent_at) <= now() - :period AS was_here
    FROM recent GROUP BY viewing_id
), newest AS (
  SELECT * FROM recent WHERE place = 1 AND sent_at > now() - :window
), qualities AS (
  SELECT quality, count(*) AS viewers FROM newest WHERE quality IS NOT NULL GROUP BY quality
   ORDER BY viewers DESC, quality COLLATE "C" LIMIT :most
)
SELECT
  (SELECT count(*) FILTER (WHERE is_here) FROM viewings) AS viewers,
  (SELECT count(*) FILTER (WHERE is_here AND NOT was_here) FROM viewings) AS joins,
  (SELECT count(*) FILTER (WHERE was_here AND NOT is_here) FROM viewings) AS leaves,
  avg(latency_seconds) AS latency, percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_seconds) AS p95_latency,
  avg(buffer_seconds) AS buffer, avg(bitrate)::float AS bitrate, avg(framerate) AS framerate,
  (SELECT coalesce(json_agg(json_build_array(quality, viewers)), '[]') FROM qualities) AS qualities,
  (SELECT count(*) FROM chat_messages WHERE stream_id = :stream AND sent_at > now() - :period) AS messages
FROM newest
""").bindparams(
    bindparam("since", type_=TIMESTAMP(timezone=True)),
    bindparam("window", type_=INTERVAL()),
    bindparam("period", type_=INTERVAL()),
)


@dataclass(frozen=True, slots=True)
class Stats:
    """The audience at a moment; all but that is zero or null when the channel is offline."""

    measured_at: datetime
    stream: Stream | None
    viewer_count: int = 0
    peak_viewer_count: int = 0
    joins: int = 0
    leaves: int = 0
    latency_seconds: float | None = None
    p95_latency_seconds: float | None = None
    buffer_seconds: float | None = None
    bitrate: float | None = None
    framerate: float | None = None
    qualities: Sequence[Share] = ()
    chat_messages_per_minute: int = 0


async def of_stream(ctx: Context, stream: Stream | None) -> Stats:
    """Return the present statistics of a live stream, or of none."""
    measured_at = datetime.now(UTC)
    if stream is None or stream.started_at is None:
        return Stats(measured_at, None)
    parameters = {
        "stream": stream.id,
        "since": stream.started_at - LONGEST_VIEWING,
        "window": timedelta(seconds=ctx.services.playback.window),
        "period": PERIOD,
        "most": MOST_SHARES,
    }
    async with ctx.services.read_sessions() as session:
        found = (await session.execute(_STATS, parameters)).one()
    return Stats(
        measured_at,
        stream,
        viewer_count=found.viewers,
        peak_viewer_count=max(stream.peak_viewer_count, found.viewers),
        joins=found.joins,
        leaves=found.leaves,
        latency_seconds=found.latency,
        p95_latency_seconds=found.p95_latency,
        buffer_seconds=found.buffer,
        bitrate=found.bitrate,
        framerate=found.framerate,
        qualities=[Share(name, viewers, found.viewers) for name, viewers in found.qualities],
        chat_messages_per_minute=found.messages,
    )
