"""Work in the background that the end of the process waits for."""

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Tasks that nobody else holds."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[None, None, None], name: str) -> "asyncio.Task[None]":
        """Begin the work; it goes on even if nobody waits for it."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self, deadline: float) -> None:
        """Wait for what is in work; cancel what is not finished in time."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=deadline)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=deadline)
