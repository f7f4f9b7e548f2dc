"""Statements of the busiest paths: compiled once, run by the driver beneath a session, in the session's transaction.

Of what a statement costs the process, two thirds are SQLAlchemy's keys, caches, results and greenlets; where the text
never changes, none of them is needed. Values go to asyncpg as they are: UUIDs, times, texts, and lists of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import BindParameter, ClauseElement, Dialect
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT: Dialect = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
# Rows are found by their keys, whatever the values: PostgreSQL need not look for a better plan each time, and must not
# keep one that it made while a table was empty.
_PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_PLANNED = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _PLANNING.items())
PLANNED_FOR_GOOD = "; ".join(f"SET {name} = {value}" for name, value in _PLANNING.items())
"""The same for a connection that is used for nothing else."""

_drivers: WeakKeyDictionary[SessionTransaction, Any] = WeakKeyDictionary()


class Statement:
    """One statement; `all` gives values to those of its parameters that have none yet."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = cast("SQLCompiler", statement.compile(dialect=_DIALECT))
        self._text = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or ()
        self._constants = {
            name: _as_driver_takes_it(parameter) for name, parameter in compiled.binds.items() if not parameter.required
        }

    async def all(self, session: AsyncSession, values: Mapping[str, Any]) -> list[asyncpg.Record]:
        """Return all rows.

        Raises:
            sqlalchemy.exc.DBAPIError: As if the session had run it.
        """
        return await self.on(await driver_of(session), values)

    async def on(self, driver: Any, values: Mapping[str, Any]) -> list[asyncpg.Record]:
        """Return all rows, asked on a connection of the driver itself.

        Raises:
            sqlalchemy.exc.DBAPIError: As if a session had run it.
        """
        given = {**self._constants, **values}
        with errors_of(self._text):
            return list(await driver.fetch(self._text, *(given[name] for name in self._names)))


def _as_driver_takes_it(parameter: BindParameter[Any]) -> Any:
    process = parameter.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return parameter.effective_value if process is None else process(parameter.effective_value)


async def driver_of(session: AsyncSession) -> Any:
    """Return asyncpg's connection beneath the session; a transaction runs on it."""
    transaction = session.sync_session.get_transaction()
    driver = None if transaction is None else _drivers.get(transaction)
    if driver is None:
        connection = await session.connection()
        driver = cast("Any", (await connection.get_raw_connection()).driver_connection)
        if not driver.is_in_transaction():
            # By SQLAlchemy, which begins with its first statement and would not know of ours.
            await connection.exec_driver_sql(_PLANNED)
        begun = session.sync_session.get_transaction()
        assert begun is not None  # noqa: S101 - narrows the type: the connection has begun one
        _drivers[begun] = driver
    return driver


@contextmanager
def errors_of(what: str, *, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Raise the driver's errors, but those of `but`, as SQLAlchemy's, without the rows that PostgreSQL quotes."""
    try:
        yield
    except but:
        raise
    except asyncpg.PostgresError as error:
        error.detail = None
        raise DBAPIError(what, None, error, hide_parameters=True) from error
    except (asyncpg.InterfaceError, OSError) as error:
        raise InterfaceError(what, None, error, hide_parameters=True) from error
