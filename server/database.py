"""Questions to the database before anything is built on it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Channel, migrate
from models.engine import async_url, create_engine, in_short
from models.vault import Vault, VaultError
from server.errors import CONFIGURATION, UNAVAILABLE, StartupError

_OLDEST: Final = 150_000
_PATIENCE: Final = 10.0


async def prepared(database_url: str, *, embedded: Path | None) -> None:
    """Check that the database answers, is new enough and migrated; one of our own, in `embedded`, is migrated here.

    Raises:
        StartupError: It does not answer, is older than PostgreSQL 15, or an operator has to migrate it.
    """
    version = await server_version(database_url, embedded=embedded)
    if version < _OLDEST:
        raise StartupError(f"The database is PostgreSQL {version // 10000}; at least 15 is needed.", CONFIGURATION)
    if embedded is not None:
        await migrate.upgrade(database_url)
        return
    problem = await migrate.current_problem(database_url)
    if problem is not None:
        raise StartupError(f"{problem[0].upper()}{problem[1:]}.", CONFIGURATION)


async def server_version(database_url: str, *, embedded: Path | None = None) -> int:
    """Return PostgreSQL's `server_version_num`, as in 180006; `embedded` is the directory of a database of our own.

    Raises:
        StartupError: The database does not answer.
    """
    engine = _engine(database_url)
    try:
        async with asyncio.timeout(_PATIENCE), engine.connect() as connection:
            return int((await connection.execute(text("SHOW server_version_num"))).scalar_one())
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        reason = in_short(error).rstrip(".")
        if embedded is not None:
            raise StartupError(
                f"The embedded database does not answer: {reason}; its log is {embedded}/server.log, and "
                f"{embedded}/password must be the file that it was made with.",
                UNAVAILABLE,
            ) from error
        raise StartupError(
            f"The database at {_address(database_url)} does not answer: {reason}; correct DATABASE_URL, or that "
            "server.",
            UNAVAILABLE,
        ) from error
    finally:
        await engine.dispose()


async def keys_fit(database_url: str, secret_keys: Sequence[str]) -> bool:
    """Tell whether the keys open what the database keeps encrypted: the stream keys of the first and the last channel.

    A new key that was put before the old one opens neither by itself, so one of the two would not do.
    """
    vault, engine = Vault(secret_keys), _engine(database_url)
    try:
        async with engine.connect() as connection:
            for order in (Channel.id.asc(), Channel.id.desc()):
                sealed = select(Channel.id, Channel.stream_key_sealed).where(Channel.stream_key_sealed.is_not(None))
                found = await connection.execute(sealed.order_by(order).limit(1))
                for row_id, value in found:
                    vault.open(value or b"", row_id=row_id)
    except VaultError:
        return False
    finally:
        await engine.dispose()
    return True


def _engine(database_url: str) -> AsyncEngine:
    return create_engine(database_url, pool_size=1, statement_timeout_ms=5000, name="streamcat-start", pooled=False)


def _address(database_url: str) -> str:
    """Host and port, without the user and the password before them."""
    url = async_url(database_url)
    return f"{url.host or url.query.get('host') or 'localhost'}:{url.port or url.query.get('port') or 5432}"
