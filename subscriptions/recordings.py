"""The jobs about recordings on S3: look for the metadata of those that ended, delete those that their owners deleted.

Both work on rows that are due. A look or a deletion leases its row and commits, talks to S3, stores the outcome and
commits; one whose worker died is due again after the lease. Both may be repeated: reading changes nothing, and a
deletion lists what is left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from prometheus_client import Counter
from sqlalchemy import case, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from ivs import recordings
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.recordings import Metadata
from models import Channel, Recording, RecordingDeletion, RecordingState, Stream, StreamState
from models.engine import in_short
from models.recording import OVERDUE
from subscriptions import live
from subscriptions.publish import Publisher, Transaction

logger = logging.getLogger(__name__)

WORKED = Counter("streamcat_recording_jobs_total", "Looks for recordings' metadata, and deletions", ["job", "outcome"])

# Of the lease: work that takes longer is given up, so that no two tries of one row overlap.
_LONGEST_TRY: Final = 0.9
_MOST_DOUBLINGS: Final = 20
# AWS broadcasts nothing for longer than two days; who has not heard of an end by then will not.
_LONGEST_RECORDING: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class RecordingsConfig:
    """How the jobs behave. Times in seconds."""

    lease: float = 60.0
    first_pause: float = 2.0
    longest_pause: float = 600.0
    max_looks: int = 12
    lost_pause: float = 60.0  # from a stream's end to the first look for the end of its recording, if nobody tells it
    batch: int = 8  # rows of one kind that a worker has in hand at once


class RecordingJobs:
    """Works on what is due, in any number of processes."""

    def __init__(self, publisher: Publisher, aws: Aws, config: RecordingsConfig) -> None:
        self._publisher = publisher
        self._aws = aws
        self._config = config

    async def run_due(self) -> int:
        """Look and delete once for each row that is due; return how many there were."""
        looks = await self._claim(Recording, Recording.look_after, Recording.look_attempts)
        deletions = await self._claim(
            RecordingDeletion, RecordingDeletion.delete_after, RecordingDeletion.delete_attempts
        )
        await asyncio.gather(
            *(self._try("look", row, self._look, self._look_failed) for row in looks),
            *(self._try("delete", row, self._delete, self._delete_failed) for row in deletions),
        )
        return len(looks) + len(deletions)

    async def _claim(self, model: type[Any], after: Any, attempts: Any) -> Sequence[Any]:
        due = (
            select(model.id)
            .where(after <= func.now())
            .order_by(after)
            .limit(self._config.batch)
            .with_for_update(skip_locked=True)
        )
        lease = func.now() + timedelta(seconds=self._config.lease)
        statement = update(model).where(model.id.in_(due)).values({after: lease, attempts: attempts + 1})
        async with self._publisher.transaction() as transaction:
            return await _updated(transaction, statement.returning(model))

    async def _try(
        self,
        job: str,
        row: Any,
        work: Callable[[Any], Awaitable[str]],
        failed: Callable[[Any, AwsError], Awaitable[None]],
    ) -> None:
        try:
            try:
                async with asyncio.timeout(self._config.lease * _LONGEST_TRY):
                    outcome = await work(row)
            except AwsError as error:
                logger.warning("recording %s: %s: %s", row.id, job, error)
                await failed(row, error)
                outcome = error.code
        except (SQLAlchemyError, OSError) as error:
            # A time-out too. The lease stands in the row; another try follows it.
            logger.warning("recording %s: %s interrupted: %s", row.id, job, in_short(error))
            outcome = "interrupted"
        WORKED.labels(job, outcome).inc()

    async def _look(self, row: Recording) -> str:
        if row.bucket is None or row.prefix is None:
            await self._set(row, look_after=None)
            return "nothing"
        found = await recordings.metadata(self._aws, row.bucket, row.prefix)
        if found is not None:
            await self._store(row, found)
            return "found"
        if row.state is RecordingState.RECORDING:
            return await self._look_again(row, row.bucket, row.prefix)
        raise AwsError("NoMetadata", "s3.get_object", "the recording has ended and its metadata is not there yet")

    async def _look_again(self, row: Recording, bucket: str, prefix: str) -> str:
        """Nobody told that the recording has ended; perhaps it runs, perhaps it failed."""
        if await recordings.failed(self._aws, bucket, prefix):
            await self._set(row, end_failed_at=func.now(), look_after=None)
            return "failed"
        may_run = Recording.created_at + _LONGEST_RECORDING > func.now()
        # After its last stream's end the pause is as long as that is ago, so that each is about twice the last.
        part = select(Stream.id).where(Stream.recording_id == Recording.id).correlate(Recording)
        goes_on = part.where(Stream.state.not_in((StreamState.ENDED, StreamState.FAILED))).exists()
        ended_at = part.with_only_columns(func.max(Stream.ended_at)).scalar_subquery()
        first = timedelta(seconds=self._config.lost_pause)
        since = func.least(func.greatest(func.now() - ended_at, first), OVERDUE)
        pause = case((goes_on, OVERDUE), else_=since)
        await self._set(row, look_after=case((may_run, func.now() + pause)), look_attempts=0)
        return "running"

    async def _store(self, row: Recording, found: Metadata) -> None:
        # The end may have been told by the metadata alone, when its event was lost.
        over_at = func.coalesce(Recording.over_at, found.ended_at, func.now())
        async with self._publisher.transaction() as transaction:
            session = transaction.session
            # First the channel, as in `subscriptions.ingest`: who changes when a stream ended decides what is live.
            await session.execute(select(Channel.id).where(Channel.id == row.channel_id).with_for_update())
            values = {
                "over_at": over_at,
                "started_at": func.least(Recording.started_at, found.started_at),
                "duration_ms": func.greatest(Recording.duration_ms, found.duration_ms),
                "playlist_key": found.playlist_key,
                "thumbnail_key": found.thumbnail_key,
                "look_after": None,
                "look_error": None,
            }
            stored = await _updated(
                transaction, update(Recording).where(Recording.id == row.id).values(values).returning(Recording)
            )
            if stored and row.over_at is None:
                over = update(Stream).where(Stream.recording_id == row.id, Stream.recording_over_at.is_(None))
                await session.execute(over.values(recording_over_at=stored[0].over_at))
                await live.refresh(transaction, [row.channel_id])
            transaction.channel_changed(row.channel_id)

    async def _look_failed(self, row: Recording, error: AwsError) -> None:
        again = row.look_attempts < self._config.max_looks
        pause = self._pause(row.look_attempts)
        await self._set(row, look_after=func.now() + pause if again else None, look_error=error.code)

    async def _delete(self, row: RecordingDeletion) -> str:
        if row.bucket is not None and row.prefix is not None:
            count = await recordings.delete_objects(self._aws, row.bucket, row.prefix, channel_arn=row.channel_arn)
            logger.info("recording %s: %d objects deleted", row.id, count)
        await self._set(row, delete_after=None, delete_error=None)
        return "deleted"

    async def _delete_failed(self, row: RecordingDeletion, error: AwsError) -> None:
        # Never given up: what its owner deleted must not stay because of a permission that was missing for a day.
        await self._set(row, delete_after=func.now() + self._pause(row.delete_attempts), delete_error=error.code)

    def _pause(self, attempts: int) -> timedelta:
        doublings = min(max(attempts - 1, 0), _MOST_DOUBLINGS)
        return timedelta(seconds=min(self._config.first_pause * 2**doublings, self._config.longest_pause))

    async def _set(self, row: Recording | RecordingDeletion, **values: Any) -> None:
        model = type(row)
        async with self._publisher.transaction() as transaction:
            await transaction.session.execute(update(model).where(model.id == row.id).values(values))
            if isinstance(row, Recording) and "end_failed_at" in values:
                transaction.channel_changed(row.channel_id)


async def _updated(transaction: Transaction, statement: Any) -> Sequence[Any]:
    options = {"synchronize_session": False, "populate_existing": True}
    rows: Any = await transaction.session.execute(statement, execution_options=options)
    return list(rows.scalars())
