"""Recordings: those that S3 holds of streams that are over, and of which nobody has told here.

An ended stream without a recording is looked up a few times with growing pauses. Amazon's own record of the stream says
whether it was to be recorded, and where; what is found there becomes an event, so that what arrives late after all
changes nothing any more. A recording of which only the start was told is looked at by `subscriptions.recordings`, soon
after the last of its streams has ended.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from ivs import recording_search, streams
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event
from ivs.recording_search import LONGEST, Found
from ivs.recordings import UNEXPECTED
from models.place import found_at
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher
from subscriptions.reconcile.rounds import ROUNDS, failed, is_our_turn, make_up

logger = logging.getLogger(__name__)

# Of one round: each costs a GetStreamSession, and some ten calls of S3.
_STREAMS_AT_ONCE: Final = 10
# Streams that ended longer ago have had their looks, or nobody was there for days.
_LONGEST_AGO: Final = timedelta(days=2)
# Events tell whole seconds, metadata the fractions.
_SLACK: Final = timedelta(seconds=1)

# The pause is the first, or as long as the end of the last stream is ago, so that each is about twice the one before.
_HASTEN: Final = text("""
UPDATE recordings SET look_after = GREATEST(now(), over.ended_at + CAST(:pause AS interval))
  FROM (
    SELECT streams.recording_id AS id, max(streams.ended_at) AS ended_at
      FROM streams JOIN recordings ON recordings.id = streams.recording_id
     WHERE recordings.state = 'RECORDING' AND recordings.look_after IS NOT NULL
     GROUP BY streams.recording_id HAVING bool_and(streams.state IN ('ENDED', 'FAILED'))
  ) AS over
 WHERE recordings.id = over.id AND recordings.state = 'RECORDING'
   AND recordings.look_after > now() + GREATEST(CAST(:pause AS interval), now() - over.ended_at)
""")
# The next time is also the lease of this look. Nobody waits for a row that somebody else has locked.
_CLAIM: Final = text("""
WITH due AS (
  SELECT streams.id, channels.arn
    FROM streams JOIN channels ON channels.id = streams.channel_id
   WHERE streams.recording_id IS NULL AND streams.started_at IS NOT NULL AND channels.arn IS NOT NULL
     AND streams.ended_at > now() - CAST(:longest_ago AS interval)
     AND streams.ended_at <= now() - CAST(:pause AS interval)
     AND streams.recording_looks < :looks
     AND (streams.recording_look_after IS NULL OR streams.recording_look_after <= now())
   ORDER BY streams.recording_looks, streams.ended_at
   LIMIT :most
     FOR NO KEY UPDATE OF streams SKIP LOCKED
)
UPDATE streams SET
  recording_looks = recording_looks + 1,
  recording_look_after = now() + CAST(:pause AS interval) * (2 ^ recording_looks)
  FROM due WHERE streams.id = due.id
RETURNING streams.id, streams.channel_id, due.arn, streams.ivs_stream_id, streams.started_at, streams.ended_at
""")
_GIVE_UP: Final = text("UPDATE streams SET recording_looks = :looks WHERE id = :id")
_GIVE_BACK: Final = text("UPDATE streams SET recording_looks = GREATEST(recording_looks - 1, 0) WHERE id = :id")
# Those of the time that have no recording either, oldest first.
_SHARING: Final = text("""
SELECT ivs_stream_id FROM streams
 WHERE channel_id = :channel_id AND recording_id IS NULL AND started_at <= :until AND ended_at >= :since
 ORDER BY started_at, id
""")


@dataclass(frozen=True, slots=True)
class RecordingReconcilerConfig:
    """How often recordings are looked for; in seconds.

    Attributes:
        pause: From a stream's end to the first look; the next ones follow at twice the time each.
        looks: How many there are for one stream.
    """

    interval: float
    pause: float
    looks: int


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A stream that is over, and of whose recording nobody has told."""

    id: UUID
    channel_id: UUID
    channel_arn: str
    stream_id: str
    started_at: datetime
    ended_at: datetime

    def overlaps(self, recording: Found) -> bool:
        """Return whether the recording may be of this stream; one without an end is of the stream it began with."""
        if recording.started_at > self.ended_at + _SLACK:
            return False
        return (recording.ended_at or recording.started_at) >= self.started_at - _SLACK


class RecordingReconciler:
    """The job that looks. Any number of processes may run it; one looks at a time."""

    def __init__(self, publisher: Publisher, aws: Aws, ingest: Ingest, config: RecordingReconcilerConfig) -> None:
        self._publisher = publisher
        self._aws = aws
        self._ingest = ingest
        self.config = config

    async def compare(self) -> None:
        """Look once for what is due, unless another process has just done so; whatever AWS does not answer waits."""
        if not await is_our_turn(self._publisher, "reconcile-recordings", self.config.interval):
            return
        await self._execute(_HASTEN, pause=self._pause)
        outcome = "ok"
        for one in await self._claim():
            try:
                await make_up(self._ingest, await self._search(one))
            except AwsError as error:
                # The others must not wait for the one.
                outcome = failed(error)
                if error.code != UNEXPECTED:
                    await self._execute(_GIVE_BACK, id=one.id)
        ROUNDS.labels("recordings", outcome).inc()

    @property
    def _pause(self) -> timedelta:
        return timedelta(seconds=self.config.pause)

    async def _claim(self) -> list[Unrecorded]:
        rows = await self._execute(
            _CLAIM, pause=self._pause, looks=self.config.looks, longest_ago=_LONGEST_AGO, most=_STREAMS_AT_ONCE
        )
        return [Unrecorded(*row) for row in rows]

    async def _search(self, one: Unrecorded) -> list[Event]:
        """Return the event of the stream's recording, if S3 has one."""
        session = await streams.session(self._aws, one.channel_arn, one.stream_id)
        if session.is_known and session.bucket is None:
            await self._execute(_GIVE_UP, id=one.id, looks=self.config.looks)
            return []
        if session.bucket is None:
            return []
        found = recording_search.found(
            self._aws, session.bucket, one.channel_arn, since=one.started_at - LONGEST, until=one.ended_at + _SLACK
        )
        async for recording in found:
            if one.overlaps(recording):
                sharing = await self._sharing(one, recording)
                logger.info("stream %s: its recording is at %s", one.stream_id, recording.prefix)
                session_id = found_at(recording.prefix)
                return [recording_search.event(one.channel_arn, sharing, recording, session_id=session_id)]
            if recording.started_at < one.started_at:
                # A channel has one recording at a time, so that older ones ended before this one began.
                break
        return []

    async def _sharing(self, one: Unrecorded, recording: Found) -> Sequence[str]:
        ended_at = recording.ended_at or one.ended_at
        rows = await self._execute(
            _SHARING, channel_id=one.channel_id, since=recording.started_at - _SLACK, until=ended_at + _SLACK
        )
        return [row[0] for row in rows] or [one.stream_id]

    async def _execute(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with self._publisher.transaction() as transaction:
            result: Any = await transaction.session.execute(statement, values)
            return result.all() if result.returns_rows else []
