"""Rows that several subscriptions want at the same moment, read by one statement.

Where many topics change at once, as the viewer counts of all live channels do, the runs of their subscriptions look at
the same time; each by a statement of its own would be most of the work.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from models.engine import Sessions
from resolvers.reads import Row, RowKey

Found = Mapping[Any, Any]


class _Batch:
    def __init__(self) -> None:
        self.keys: set[Any] = set()
        self.found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()


class Batches:
    """Reads of this process's subscriptions; remembers nothing."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._gathering: dict[RowKey, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def rows(self, read: Row, keys: Iterable[Any]) -> Found:
        """Return the rows by their keys, among others; they are read after now."""
        batch = self._gathering.get(read.loader)
        if batch is None:
            batch = self._gathering[read.loader] = _Batch()
            task = asyncio.create_task(self._read(read, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        batch.keys.update(keys)
        # Others wait for it too.
        return await asyncio.shield(batch.found)

    async def _read(self, read: Row, batch: _Batch) -> None:
        # All who were woken with the first one have their turn.
        await asyncio.sleep(0)
        del self._gathering[read.loader]
        try:
            async with self._sessions() as session:
                result = await session.execute(read.statement, {"keys": list(batch.keys)})
                batch.found.set_result({key: row for key, row in result})  # noqa: C416 - typed as Row, not as a pair
        except Exception as error:  # noqa: BLE001 - each who waits is told
            batch.found.set_exception(error)
            # Nobody may wait any more.
            batch.found.exception()
