"""The jobs beside the web. Any number of processes may run them."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from models.engine import in_short
from subscriptions.sqs import QueueConsumer

logger = logging.getLogger(__name__)

JOB_FAILURES = Counter("streamcat_job_failures_total", "Rounds of a worker's job that failed", ["job"])


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every `interval` seconds; as long as it finds something to do, at once again."""

    name: str
    interval: float
    run: Callable[[], Awaitable[int | None]]


class Worker:
    """Runs the jobs until stopped."""

    def __init__(self, consumers: Sequence[QueueConsumer], jobs: Sequence[Job]) -> None:
        self.consumers = consumers
        self._jobs = jobs
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the jobs in the background."""
        self._tasks = [
            *(asyncio.create_task(consumer.run(), name="queue-consumer") for consumer in self.consumers),
            *(asyncio.create_task(self._repeat(job), name=job.name) for job in self._jobs),
        ]

    async def stop(self, deadline: float) -> None:
        """Let every job finish what it has in hand; after `deadline` seconds cancel."""
        self._stopping.set()
        for consumer in self.consumers:
            consumer.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=deadline)
            for task in late:
                task.cancel()
            if late:
                # Bounded again: a cancellation that meets a library's own time-out at work can get lost.
                await asyncio.wait(late, timeout=deadline)

    async def _repeat(self, job: Job) -> None:
        while not self._stopping.is_set():
            try:
                while await job.run() and not self._stopping.is_set():
                    pass
            except (SQLAlchemyError, OSError) as error:
                JOB_FAILURES.labels(job.name).inc()
                logger.warning("job %s failed, next round in %.0f s: %s", job.name, job.interval, in_short(error))
            except Exception:
                # A fault of ours in one round must not end the job for good.
                JOB_FAILURES.labels(job.name).inc()
                logger.exception("job %s failed, next round in %.0f s", job.name, job.interval)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), timeout=job.interval)
