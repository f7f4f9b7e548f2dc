"""Intake of heartbeats: many requests share one commit and one COPY.

A request is answered after the commit that holds its rows. What waits is bounded: beyond that a request is refused at
once, with the time after which to try again, instead of making everybody's answer later and the memory larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Final

import asyncpg
from prometheus_client import Counter, Gauge

from models.engine import Sessions
from models.lane import Lane
from models.metric import add_partition, partitions
from subscriptions.group_commit import GroupCommit
from subscriptions.heartbeats import Outcome, Submission, store

HEARTBEATS = Counter("streamcat_heartbeats_total", "Heartbeats of players and what became of them", ["outcome"])
_STORED = HEARTBEATS.labels("stored")
WAITING = Gauge("streamcat_heartbeats_waiting", "Heartbeats that wait for their commit", multiprocess_mode="livesum")
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


class Intake:
    """Takes heartbeats of this process's requests; `submit` returns when they are committed."""

    def __init__(self, sessions: Sessions, config: IntakeConfig) -> None:
        self._sessions = sessions
        self._lane = Lane(sessions)
        self._config = config
        self._grace = timedelta(seconds=config.grace)
        self._commits = GroupCommit(
            self._write,
            size=_size,
            most=config.batch_rows,
            blames=lambda error: isinstance(error, asyncpg.IntegrityConstraintViolationError),
            gauge=WAITING,
            delay=config.batch_delay,
        )

    async def submit(self, submission: Submission) -> Outcome:
        """Store one request's heartbeats with those of others; return what became of them, after the commit.

        Raises:
            Overloaded: Too much waits already; nothing is stored.
            sqlalchemy.exc.DBAPIError: Nothing is stored.
        """
        size = _size(submission)
        if self._commits.waiting + size > self._config.queue_rows:
            HEARTBEATS.labels("overloaded").inc(size)
            raise Overloaded
        outcome = await self._commits.submit(submission)
        _STORED.inc(outcome.stored)
        if outcome.stored < size:
            HEARTBEATS.labels("doubled").inc(outcome.doubled)
            HEARTBEATS.labels("homeless").inc(len(outcome.homeless))
        if outcome.wait > 0:
            HEARTBEATS.labels("early").inc(size)
        return outcome

    async def stop(self, deadline: float) -> None:
        """Let what waits be committed within `deadline` seconds."""
        await self._commits.stop(deadline)
        await self._lane.close()

    async def _write(self, submissions: Sequence[Submission]) -> list[Outcome]:
        outcomes = await self._store(submissions)
        COMMITS.inc()
        return outcomes

    async def _store(self, submissions: Sequence[Submission]) -> list[Outcome]:
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._lane.transaction() as driver:
                    return await store(driver, submissions, interval=self._config.interval, grace=self._grace)
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


def _size(submission: Submission) -> int:
    return len(submission.beats)
