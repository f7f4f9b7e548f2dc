"""Migrations as functions, for the command line and for tests alike."""

from collections.abc import Callable
from pathlib import Path

import alembic.command
import alembic.util
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from models.base import Base, uuid7
from models.category import SEED, Category
from models.engine import create_engine
from models.metric import is_partition

# Any number will do as long as no other program on the database uses it: the letters "scat".
_ADVISORY_LOCK = 0x73636174


class MigrationError(Exception):
    """The database is not what the code expects, in one sentence."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the schema to `revision` and the reference data up to date; several callers at once wait for each other."""
    await _locked(database_url, lambda connection: _upgrade(connection, revision))


def _upgrade(connection: Connection, revision: str) -> None:
    alembic.command.upgrade(_config(connection), revision)
    if revision == "head":
        _seed_categories(connection)


async def downgrade(database_url: str, revision: str) -> None:
    """Take the schema back to `revision` (`base` for none)."""
    await _locked(database_url, lambda connection: alembic.command.downgrade(_config(connection), revision))


async def revise(database_url: str, message: str) -> Path | None:
    """Write a new migration from the difference between the tables and the database; return its file, null for none."""
    written: list[Path] = []

    def write(connection: Connection) -> None:
        made = alembic.command.revision(
            _config(connection), message, autogenerate=True, process_revision_directives=_without_empty
        )
        if isinstance(made, Script):
            written.append(Path(made.path))

    await _locked(database_url, write)
    return written[0] if written else None


def _without_empty(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
    """Drop a migration that would do nothing. Alembic hands over the list to be changed."""
    directives[:] = [one for one in directives if not (one.upgrade_ops and one.upgrade_ops.is_empty())]


async def check(database_url: str) -> None:
    """Compare the database with the code.

    Raises:
        MigrationError: A migration has not run, or the tables differ from what the migrations built.
    """
    differences: list[str] = []
    await _locked(database_url, lambda connection: differences.extend(_differences(connection)))
    if differences:
        raise MigrationError("; ".join(differences))


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Tell Alembic what migrations take care of: not the partitions, which come and go by themselves."""
    return kind != "table" or not is_partition(name)


def _differences(connection: Connection) -> list[str]:
    options = {"compare_type": True, "compare_server_default": True, "include_name": is_ours}
    context = MigrationContext.configure(connection, opts=options)
    head = ScriptDirectory.from_config(_config()).get_current_head()
    current = context.get_current_revision()
    if current != head:
        return [_behind(current, head)]
    return [
        f"the tables differ from the migrations: {difference!r}"
        for difference in compare_metadata(context, Base.metadata)
    ]


async def current(database_url: str) -> str | None:
    """Return the database's migration, null for none."""
    engine = create_engine(database_url, pool_size=1, statement_timeout_ms=10_000, name="streamcat-check", pooled=False)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    finally:
        await engine.dispose()


async def current_problem(database_url: str) -> str | None:
    """Return a sentence if the database's migration is not the code's, else null; cheap enough for every start."""
    found, head = await current(database_url), ScriptDirectory.from_config(_config()).get_current_head()
    return None if found == head else _behind(found, head)


def _behind(current: str | None, head: str | None) -> str:
    return f"the database is at migration {current or 'none'}, the code expects {head}: run `python -m app db upgrade`"


def _seed_categories(connection: Connection) -> None:
    values = [
        {"id": uuid7(), "slug": slug, "name": name, "position": position}
        for position, (slug, name) in enumerate(SEED.items())
    ]
    statement = insert(Category).values(values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[Category.slug],
            set_={"name": statement.excluded.name, "position": statement.excluded.position},
        )
    )


async def _locked(database_url: str, work: Callable[[Connection], object]) -> None:
    """Run `work` in one transaction under time-outs and a lock that other migrators wait for."""
    engine = create_engine(
        database_url, pool_size=1, statement_timeout_ms=600_000, name="streamcat-migrate", pooled=False
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            # A migration that queues behind a long query would make every later query queue behind the migration.
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            await connection.run_sync(work)
    except alembic.util.CommandError as error:
        raise MigrationError(str(error)) from error
    finally:
        await engine.dispose()
