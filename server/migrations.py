"""`python -m app db`: the commands about the database's migrations, each of which says what became of it."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from models import migrate
from server.database import server_version
from server.embedded.datadir import DataDirectory
from server.settings import Settings
from server.stack import open_database

_Done = TypeVar("_Done")


def upgrade(settings: Settings, _chosen: argparse.Namespace) -> None:
    """Bring the database to the newest migration."""

    async def work(database_url: str) -> str | None:
        await migrate.upgrade(database_url)
        return await migrate.current(database_url)

    _say(f"The database is at migration {_on_database(settings, work)}, the newest.")


def downgrade(settings: Settings, chosen: argparse.Namespace) -> None:
    """Take the database back; an embedded one only without a server on it, which would answer nothing but faults."""

    async def work(database_url: str) -> str | None:
        await migrate.downgrade(database_url, chosen.revision)
        return await migrate.current(database_url)

    reached = _on_database(settings, work, alone=True)
    _say(f"The database is at migration {reached}." if reached else "The database is at no migration: it is empty.")


def revision(settings: Settings, chosen: argparse.Namespace) -> None:
    """Write a migration, if there is a difference."""
    written = _on_database(settings, lambda database_url: migrate.revise(database_url, chosen.message))
    _say(f"Written: {written}" if written else "The database is what the code expects: there is nothing to write.")


def check(settings: Settings, _chosen: argparse.Namespace) -> None:
    """Compare database and code; without a database to compare, see that the migrations lead from nothing to it."""
    if settings.database_url is not None:
        _on_database(settings, migrate.check)
        _say("The database is what the code expects.")
        return
    with tempfile.TemporaryDirectory(prefix="streamcat-check-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - the embedded server may run as another user
        with open_database(replace(settings, data_dir=Path(folder))) as database_url:
            asyncio.run(_up_down_up(database_url))
    _say(
        "The migrations build what the code expects, and can be taken back: tried on an empty database, since "
        "DATABASE_URL is not set."
    )


async def _up_down_up(database_url: str) -> None:
    await migrate.upgrade(database_url)
    await migrate.check(database_url)
    await migrate.downgrade(database_url, "base")
    await migrate.upgrade(database_url)
    await migrate.check(database_url)


def _on_database(
    settings: Settings, work: Callable[[str], Coroutine[Any, Any, _Done]], *, alone: bool = False
) -> _Done:
    embedded = None if settings.database_url else DataDirectory(settings.data_dir).postgres

    async def ask_and_work(database_url: str) -> _Done:
        await server_version(database_url, embedded=embedded)
        return await work(database_url)

    with open_database(settings, alone=alone) as database_url:
        return asyncio.run(ask_and_work(database_url))


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
