"""Intake of heartbeats: many requests share one commit and one COPY.

A request is answered after the commit that holds its rows. What waits is bounded: beyond that a request is refused at
once, with the time after which to try again, instead of making everybody's answer later and the memory larger.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Final

import asyncpg
from prometheus_client import Counter, Gauge

from models.engine import Sessions
from models.metric import add_partition, partitions
from subscriptions.heartbeats import Outcome, Submission, store

HEARTBEATS = Counter("streamcat_heartbeats_total", "Heartbeats of players and what became of them", ["outcome"])
WAITING = Gauge("streamcat_heartbeats_waiting", "Heartbeats that wait for their commit")
COMMITS = Counter("streamcat_heartbeat_commits_total", "Commits of heartbeats of one or many requests")

# Times that a batch is tried anew when another process was faster with the same heartbeat, or a partition was missing.
_TRIES: Final = 3


class Overloaded(Exception):
    """More waits than may wait; the request can be sent again after `retry_after` seconds."""

    retry_after = 2


@dataclass(frozen=True, slots=True)
class IntakeConfig:
    """How heartbeats are taken in. Times in seconds, sizes in heartbeats.

    Attributes:
        interval: From one heartbeat of a player to the next.
        grace: For which a stream that is over still takes heartbeats.
        batch_delay: For which a batch waits for company.
        batch_rows: That a batch has at most, or one request's.
        queue_rows: That wait at most.
    """

    interval: float
    grace: float
    batch_delay: float
    batch_rows: int
    queue_rows: int


Waiting = tuple[Submission, "asyncio.Future[Outcome]"]


class Intake:
    """Takes heartbeats of this process's requests; `submit` returns when they are committed."""

    def __init__(self, sessions: Sessions, config: IntakeConfig) -> None:
        self._sessions = sessions
        self._config = config
        self._grace = timedelta(seconds=config.grace)
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._task: asyncio.Task[None] | None = None

    async def submit(self, submission: Submission) -> Outcome:
        """Store one request's heartbeats with those of others; return what became of them, after the commit.

        Raises:
            Overloaded: Too much waits already; nothing is stored.
            sqlalchemy.exc.DBAPIError: Nothing is stored.
        """
        size = len(submission.beats)
        if self._rows + size > self._config.queue_rows:
            HEARTBEATS.labels("overloaded").inc(size)
            raise Overloaded
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((submission, answer))
        self._count(size)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="metrics-intake")
        outcome = await answer
        for word, number in (("stored", outcome.stored), ("doubled", outcome.doubled)):
            HEARTBEATS.labels(word).inc(number)
        if outcome.wait > 0:
            HEARTBEATS.labels("early").inc(size)
        HEARTBEATS.labels("homeless").inc(len(outcome.homeless))
        return outcome

    async def stop(self, deadline: float) -> None:
        """Let what waits be committed within `deadline` seconds."""
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=deadline)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=deadline)

    def _count(self, difference: int) -> None:
        self._rows += difference
        WAITING.set(self._rows)

    async def _run(self) -> None:
        """Commit batch after batch until nothing waits."""
        try:
            # Only the first batch waits for company; the others found it during the commit before.
            await asyncio.sleep(self._config.batch_delay)
            while self._queue:
                batch = self._take()
                try:
                    await self._commit(batch)
                finally:
                    self._count(-_size(batch))
        finally:
            self._task = None
            # Not reached unless the process ends before the database answers.
            while self._queue:
                self._queue.popleft()[1].cancel()

    def _take(self) -> list[Waiting]:
        batch = [self._queue.popleft()]
        size = _size(batch)
        while self._queue and size + len(self._queue[0][0].beats) <= self._config.batch_rows:
            batch.append(self._queue.popleft())
            size = _size(batch[-1:]) + size
        return batch

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        """Answer every request of the batch, with its outcome or with an error."""
        try:
            outcomes = await self._store([submission for submission, _ in batch])
        except asyncpg.IntegrityConstraintViolationError as error:
            if len(batch) > 1:
                # Whoever is not concerned must not be refused.
                for each in batch:
                    await self._commit([each])
                return
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - each request hears of it, and shows or masks it
            _fail(batch, error)
        else:
            COMMITS.inc()
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if not answer.done():
                    answer.set_result(outcome)

    async def _store(self, submissions: Sequence[Submission]) -> list[Outcome]:
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._sessions() as session, session.begin():
                    return await store(session, submissions, interval=self._config.interval, grace=self._grace)
            except asyncpg.CheckViolationError:
                # The worker makes partitions days ahead; without one for long, the day's may be missing.
                if attempt == _TRIES or not await self._make_room(submissions):
                    raise
            except (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError):
                # Another process was faster with the same heartbeat, or a stream was deleted: the next look sees it.
                if attempt == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _make_room(self, submissions: Sequence[Submission]) -> bool:
        """Add the partitions that are missing; return whether there were any."""
        async with self._sessions() as session, session.begin():
            days = {submission.viewing_started_at.astimezone(UTC).date() for submission in submissions}
            missing = days - set(await partitions(session))
            for day in sorted(missing):
                await add_partition(session, day)
        return bool(missing)


def _size(batch: Sequence[Waiting]) -> int:
    return sum(len(submission.beats) for submission, _ in batch)


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
