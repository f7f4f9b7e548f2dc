"""Whether the process lives, and whether it can serve: what load balancers and orchestrators ask."""

import asyncio
import time

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ivs.errors import AwsError
from server.runtime import Runtime

_PATIENCE = 2.0
_QUEUE_INTERVAL = 10.0


class Health:
    """Answers `/readyz`. AWS is asked at most every ten seconds, however often we are."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._queue_lock = asyncio.Lock()
        self._queue: str | None = None
        self._queue_until = 0.0

    async def ready(self) -> dict[str, str]:
        """Return `ok` or a sentence for each of database, bus and queue."""
        database, queue = await asyncio.gather(self._database(), self._ask_queue())
        bus = "ok" if self._runtime.services.hub.healthy else "silent: being reconnected"
        return {"database": database, "bus": bus, "queue": queue}

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(_PATIENCE), self._runtime.services.sessions() as session:
                await session.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            return f"does not answer: {type(error).__name__}"
        return "ok"

    async def _ask_queue(self) -> str:
        async with self._queue_lock:
            if self._queue is None or time.monotonic() >= self._queue_until:
                self._queue = await self._look_at_queue()
                self._queue_until = time.monotonic() + (_QUEUE_INTERVAL if self._queue == "ok" else 1.0)
            return self._queue

    async def _look_at_queue(self) -> str:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._runtime.aws.call(
                    "sqs",
                    "get_queue_attributes",
                    QueueUrl=self._runtime.resolved.events_queue_url,
                    AttributeNames=["ApproximateNumberOfMessages"],
                )
        except AwsError as error:
            return f"does not answer: {error.code}"
        except TimeoutError:
            return "does not answer: no answer in time"
        return "ok"
