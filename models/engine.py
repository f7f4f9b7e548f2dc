"""The way to PostgreSQL: one engine per process and short sessions from its factory."""

from typing import Any

from asyncpg import InternalClientError, PostgresError
from sqlalchemy import event
from sqlalchemy.engine import URL, Dialect, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

Sessions = async_sessionmaker[AsyncSession]


def async_url(database_url: str) -> URL:
    """Return the URL with the asyncpg driver, whatever form of `postgresql://` the operator wrote.

    Raises:
        ValueError: The URL is not one of PostgreSQL.
    """
    url = make_url(database_url)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"not a PostgreSQL URL: it begins with {url.drivername!r}, expected 'postgresql'")
    return url.set(drivername="postgresql+asyncpg")


def create_engine(
    database_url: str,
    *,
    pool_size: int,
    statement_timeout_ms: int,
    name: str,
    pooled: bool = True,
    read_only: bool = False,
) -> AsyncEngine:
    """Open nothing yet; return an engine of at most `pool_size` connections (unpooled ones for tests and tools).

    A `read_only` engine spends one round trip per statement: no transaction round it, no question before whether the
    connection still lives. After a restart of the database its first statement fails, once, and renews the pool.
    """
    settings = {"application_name": name, "statement_timeout": str(statement_timeout_ms), "timezone": "UTC"}
    connect_args = {"server_settings": settings, "timeout": 10}
    # Parameters are people's data and secrets; an error message with them would end in a log.
    if not pooled:
        return _telling(
            create_async_engine(
                async_url(database_url), poolclass=NullPool, connect_args=connect_args, hide_parameters=True
            )
        )
    if read_only:
        settings["default_transaction_read_only"] = "on"
    return _telling(
        create_async_engine(
            async_url(database_url),
            isolation_level="AUTOCOMMIT" if read_only else None,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            # A database that was restarted leaves dead connections in the pool; one round trip finds them.
            pool_pre_ping=not read_only,
            hide_parameters=True,
            connect_args=connect_args,
        )
    )


def _telling(engine: AsyncEngine) -> AsyncEngine:
    """Let errors say that the database is away if it is, and nothing of what is in it.

    PostgreSQL quotes rows in an error's DETAIL, which would end in a log.
    """

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Dialect, _record: object, arguments: list[Any], named: dict[str, Any]) -> object:
        try:
            return dialect.connect(*arguments, **named)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            # A name that nobody knows, a route that there is not, an answer that stays away.
            raise ConnectionError(str(error) or "no answer to the attempt to connect") from error

    @event.listens_for(engine.sync_engine, "handle_error")
    def cut(context: ExceptionContext) -> None:
        for error in (context.sqlalchemy_exception, context.original_exception):
            if error is not None and error.args:
                error.args = (str(error.args[0]).partition("\nDETAIL:")[0], *error.args[1:])
        cause = context.original_exception.__cause__
        if isinstance(cause, PostgresError):
            cause.detail = None

    return engine


def in_short(error: BaseException) -> str:
    """Return the error for a log's line: one sentence, without the statement and the links that SQLAlchemy adds."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause.__cause__, InternalClientError):
        # The driver on itself: it was in the middle of something when PostgreSQL went away.
        return "the connection ended in the middle of an operation"
    return str(cause).partition("\n")[0] or type(cause).__name__


# Classes of SQLSTATE that blame what is written, not the moment: data, integrity, limits as that of an index row.
# SQLAlchemy's DataError is no help: its asyncpg dialect never raises it.
_REFUSALS = ("22", "23", "54")


def refuses_a_value(error: DBAPIError) -> bool:
    """Return whether PostgreSQL would refuse the same values again, at any time."""
    return str(getattr(error.orig, "sqlstate", None)).startswith(_REFUSALS)


def waited_in_vain(error: DBAPIError) -> bool:
    """Return whether the statement was stopped while it worked, or waited for somebody else's lock."""
    return getattr(error.orig, "sqlstate", None) in ("57014", "55P03", "40P01")


def create_sessions(engine: AsyncEngine) -> Sessions:
    """Return the factory; rows stay readable after their session is closed."""
    return async_sessionmaker(engine, expire_on_commit=False)
