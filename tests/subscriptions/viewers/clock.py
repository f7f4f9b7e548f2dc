"""The time of one database, which can be made to stand: so what a window holds is known to the microsecond."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

# Whoever asks PostgreSQL for the time by name finds these first, and plans with them as with constants.
_FUNCTION = "CREATE OR REPLACE FUNCTION standing.{}() RETURNS timestamptz LANGUAGE sql STABLE AS $$SELECT {}$$"
_NAMES = ("now", "clock_timestamp")
_FIRST = "ALTER DATABASE {} SET search_path = standing, public, pg_catalog"


class Clock:
    """The clock of a database: it goes until it is first made to stand."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def stands_at(self, moment: datetime) -> None:
        """Let it be this moment from now on."""
        await self.says(f"timestamptz '{moment.isoformat()}'")

    async def says(self, expression: str) -> None:
        async with self._connection.transaction():
            for name in _NAMES:
                await self._connection.execute(_FUNCTION.format(name, expression))


@asynccontextmanager
async def clock_of(url: str) -> AsyncIterator[Clock]:
    """The clock of a database to which nobody is connected yet."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA standing")
    clock = Clock(connection)
    await clock.says("pg_catalog.now()")
    await connection.execute(_FIRST.format(await connection.fetchval("SELECT quote_ident(current_database())")))
    yield clock
    await connection.close()
