"""Live counts: how many viewings of each live stream have had a heartbeat within the window, counted and told.

Counted by whichever process comes first, from the heartbeats of all: so the number is the same everywhere, and right
again after any restart. It stands in the channel's row, so that reading it costs the same however many watch.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, INTEGER
from sqlalchemy.dialects.postgresql import UUID as UUIDS
from sqlalchemy.ext.asyncio import AsyncSession

from models import pace
from models.metric import LONGEST_VIEWING, add_partition, drop_partition, partitions
from models.rollup import MARKS
from subscriptions.publish import Publisher

# Days for which there is room ahead: so long may the jobs stand still.
_AHEAD: Final = 7

# `viewing_started_at` leaves out the partitions that cannot hold anything so new.
_COUNTS = text("""
SELECT channels.id, channels.live_stream_id, counted.viewers
  FROM channels
 CROSS JOIN LATERAL (
   SELECT count(DISTINCT viewing_id)::int AS viewers
     FROM metrics
    WHERE metrics.stream_id = channels.live_stream_id
      AND metrics.sent_at > now() - CAST(:window AS interval)
      AND metrics.viewing_started_at > now() - CAST(:longest AS interval)
 ) AS counted
 WHERE channels.live_stream_id IS NOT NULL AND channels.viewer_count <> counted.viewers
""")
# A row that somebody else works on is counted in the next round; who waits for nobody cannot wait in a circle.
_STORE = text("""
WITH live AS (
  SELECT channels.id, channels.live_stream_id, counted.viewers
    FROM unnest(:channels, :streams, :viewers) AS counted (channel_id, stream_id, viewers)
    JOIN channels ON channels.id = counted.channel_id AND channels.live_stream_id = counted.stream_id
   ORDER BY channels.id FOR NO KEY UPDATE OF channels SKIP LOCKED
), stored AS (
  UPDATE streams
     SET viewer_count = live.viewers, peak_viewer_count = greatest(peak_viewer_count, live.viewers)
    FROM live WHERE streams.id = live.live_stream_id
)
UPDATE channels SET viewer_count = live.viewers FROM live WHERE channels.id = live.id RETURNING channels.id
""").bindparams(
    bindparam("channels", type_=ARRAY(UUIDS)),
    bindparam("streams", type_=ARRAY(UUIDS)),
    bindparam("viewers", type_=ARRAY(INTEGER)),
)
_LEFT = text("""
UPDATE streams SET viewer_count = 0
 WHERE id IN (
   SELECT id FROM streams
    WHERE viewer_count > 0 AND NOT EXISTS (SELECT FROM channels WHERE channels.live_stream_id = streams.id)
      FOR NO KEY UPDATE SKIP LOCKED
 )
""")


@dataclass(frozen=True, slots=True)
class ViewersConfig:
    """How viewers are counted. Times in seconds.

    Attributes:
        window: For which a heartbeat makes its viewing a current one.
        interval: Between two counts.
        retention_days: For which heartbeats are kept after they were rolled up.
    """

    window: float
    interval: float
    retention_days: int


class Viewers:
    """The jobs about viewers. Any number of processes may run them."""

    def __init__(self, publisher: Publisher, config: ViewersConfig) -> None:
        self._publisher = publisher
        self.config = config

    async def count_viewers(self) -> None:
        """Count the viewers of every live stream, store and tell what has changed."""
        config = self.config
        async with self._publisher.transaction() as transaction:
            session = transaction.session
            # Of many processes one counts at a time, and none when another has just done so.
            if await pace.attempt(session, "job:viewers", rate=2 / config.interval, burst=1) > 0:
                return
            spans = {
                "window": timedelta(seconds=config.window),
                "longest": LONGEST_VIEWING,
            }
            rows: Any = (await session.execute(_COUNTS, spans)).all()
            if rows:
                channels, streams, viewers = (list(column) for column in zip(*rows, strict=True))
                changed = {"channels": channels, "streams": streams, "viewers": viewers}
                for channel_id in (await session.execute(_STORE, changed)).scalars():
                    transaction.viewers_changed(channel_id)
            await session.execute(_LEFT)

    async def keep_partitions(self) -> None:
        """Make the partitions of the days to come, and drop those that are too old: each by itself, since it locks.

        What is not rolled up yet is not too old, however long the job that does so has stood still.
        """
        async with self._publisher.transaction() as transaction:
            today = await _today(transaction.session)
            present = await partitions(transaction.session)
            waiting = (await transaction.session.execute(select(func.min(MARKS.c.minute)))).scalar_one()
        newest = today if waiting is None else min(today, waiting.date())
        oldest = newest - timedelta(days=self.config.retention_days)
        for day in (today + timedelta(days=ahead) for ahead in range(-1, _AHEAD + 1)):
            if day not in present:
                async with self._publisher.transaction() as transaction:
                    await add_partition(transaction.session, day)
        for day in present:
            if day < oldest:
                async with self._publisher.transaction() as transaction:
                    await drop_partition(transaction.session, day)


async def _today(session: AsyncSession) -> date:
    today: date = (await session.execute(select(func.date(func.timezone("UTC", func.now()))))).scalar_one()
    return today
