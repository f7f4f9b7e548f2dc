"""A connection that one writer keeps for itself, for transactions by the driver alone.

Where many small transactions follow each other, taking a connection, asking whether it still lives and beginning by
SQLAlchemy are as much work as what is written.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from models.engine import Sessions
from models.statement import PLANNED_FOR_GOOD, errors_of


class Lane:
    """One connection of the pool, taken at the first transaction; replaced when it is lost."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._session: AsyncSession | None = None
        self._driver: Any = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Give asyncpg's connection, in a transaction that ends with the block; one at a time.

        Raises:
            asyncpg.IntegrityConstraintViolationError: As it is; nothing is written.
            sqlalchemy.exc.DBAPIError: As if a session had been used; nothing is written, unless it was the commit.
        """
        async with self._lock:
            driver = await self._taken()
            try:
                with errors_of("transaction", but=asyncpg.IntegrityConstraintViolationError):
                    async with driver.transaction():
                        yield driver
            except asyncpg.IntegrityConstraintViolationError:
                raise
            except BaseException:
                # Whatever state it is in.
                await self._dropped()
                raise

    async def close(self) -> None:
        """Let the connection go."""
        async with self._lock:
            await self._dropped()

    async def _taken(self) -> Any:
        if self._driver is None or self._driver.is_closed():
            await self._dropped()
            self._session = self._sessions()
            connection = await self._session.connection()
            driver: Any = (await connection.get_raw_connection()).driver_connection
            with errors_of("SET"):
                await driver.execute(PLANNED_FOR_GOOD)
            self._driver = driver
        return self._driver

    async def _dropped(self) -> None:
        session, self._session, self._driver = self._session, None, None
        if session is not None:
            # Closed, since others need the pool's connections as they were.
            with suppress(Exception):
                await session.invalidate()
