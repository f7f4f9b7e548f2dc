"""One commit for many: what several callers want written at once is written in one transaction."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from prometheus_client import Gauge

Work = TypeVar("Work")
Outcome = TypeVar("Outcome")
Waiting = tuple[Work, asyncio.Future[Outcome]]


class GroupCommit(Generic[Work, Outcome]):
    """Writes what callers submit, in their order; a caller goes on when the commit that holds its work is done.

    Args:
        write: Writes all the work it is given in one transaction; returns what became of each.
        size: Of one caller's work.
        most: Size that one transaction has at most, or one caller's work.
        blames: Whether an error is the fault of some work and not of the moment: then each is written by itself.
        gauge: Shows the size of all that is submitted and not yet committed, as `waiting` does.
        delay: Seconds for which the first work waits for company. Others found it during the commit before.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Work]], Coroutine[Any, Any, Sequence[Outcome]]],
        *,
        size: Callable[[Work], int],
        most: int,
        blames: Callable[[BaseException], bool],
        gauge: Gauge,
        delay: float = 0.0,
    ) -> None:
        self._write = write
        self._size = size
        self._most = most
        self._blames = blames
        self._gauge = gauge
        self._delay = delay
        self._queue: deque[Waiting[Work, Outcome]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0

    async def submit(self, work: Work) -> Outcome:
        """Return what became of the work, after its commit; raise what `write` raised, and then nothing is written.

        Who does not wait any longer may find it written all the same, if others share its commit.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((work, answer))
        self._count(self._size(work))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group-commit")
        return await answer

    async def stop(self, deadline: float) -> None:
        """Let what waits be committed within `deadline` seconds."""
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=deadline)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=deadline)

    def _count(self, difference: int) -> None:
        self.waiting += difference
        self._gauge.set(self.waiting)

    async def _run(self) -> None:
        try:
            if self._delay:
                await asyncio.sleep(self._delay)
            while self._queue:
                batch = self._take()
                try:
                    await self._commit(batch)
                finally:
                    self._count(-sum(self._size(work) for work, _ in batch))
        finally:
            self._task = None
            # Not reached unless the process ends before the database answers.
            while self._queue:
                self._queue.popleft()[1].cancel()

    def _take(self) -> list[Waiting[Work, Outcome]]:
        batch = [self._queue.popleft()]
        size = self._size(batch[0][0])
        while self._queue and (size := size + self._size(self._queue[0][0])) <= self._most:
            batch.append(self._queue.popleft())
        return batch

    async def _commit(self, batch: Sequence[Waiting[Work, Outcome]]) -> None:
        """Answer every caller of the batch who still waits, with an outcome or with an error."""
        batch = [each for each in batch if not each[1].done()]
        error = await self._written(batch) if batch else None
        if error is not None and len(batch) > 1 and self._blames(error):
            # Whoever is not concerned must not be refused.
            for each in batch:
                await self._commit([each])
        elif error is not None:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)

    async def _written(self, batch: Sequence[Waiting[Work, Outcome]]) -> BaseException | None:
        """Write and answer the callers, unless all of them have gone meanwhile; or return why it cannot be done."""
        writing = asyncio.create_task(self._write([work for work, _ in batch]))  # noqa: RUF006 - waited for below

        def stop_if_all_are_gone(_: asyncio.Future[Outcome]) -> None:
            if all(answer.cancelled() for _, answer in batch):
                writing.cancel()

        for _, answer in batch:
            answer.add_done_callback(stop_if_all_are_gone)
        try:
            await asyncio.wait({writing})
        finally:
            writing.cancel()
        if writing.cancelled():
            return None
        error = writing.exception()
        if error is None:
            for (_, answer), outcome in zip(batch, writing.result(), strict=True):
                if not answer.done():
                    answer.set_result(outcome)
        return error
