"""`python -m app janitor`: what Amazon holds of this installation though nobody owns it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from ivs.client import Aws, open_aws
from models.engine import Sessions, create_engine, create_sessions
from server.beside import beside
from server.database import prepared
from server.errors import CONFIGURATION, StartupError
from server.runtime import aws_config, provisioning
from server.settings import Settings
from server.stack import region
from subscriptions import janitor
from subscriptions.janitor import Orphan
from subscriptions.pacing import Pacer
from subscriptions.removal import Remover

_CONNECTIONS = 10


def tidy(settings: Settings, *, delete: bool, min_age_minutes: int) -> int:
    """Print one line per resource that nobody owns; return 1 if there are any, or any are left.

    Raises:
        StartupError: Database or AWS cannot be asked, or nothing is where it would be deleted.
    """
    return asyncio.run(_tidy(settings, timedelta(minutes=min_age_minutes) if delete else None))


async def _tidy(settings: Settings, min_age: timedelta | None) -> int:
    async with _opened(settings) as (aws, sessions):
        survey = await janitor.survey(aws, sessions, settings.deployment)
        orphans, total = survey.orphans, survey.owned + len(survey.orphans)
        now = datetime.now(UTC)
        fates: dict[str, str] = {}
        if min_age is not None and orphans:
            if not survey.owned:
                raise StartupError(
                    f"None of the {total} resources of deployment {settings.deployment} belongs to this database, so "
                    "it may be the wrong one: correct DATABASE_URL or DEPLOYMENT; nothing was deleted.",
                    CONFIGURATION,
                )
            fates = {orphan.resource.arn: reason for orphan in orphans if (reason := _spared(orphan, now, min_age))}
            chosen = [orphan for orphan in orphans if orphan.resource.arn not in fates]
            remover = Remover(sessions, aws, provisioning(settings, None, None))
            left = await janitor.remove(sessions, remover, chosen)
            await remover.stop(settings.shutdown_seconds)
            fates |= {
                orphan.resource.arn: f"left to the workers: {left[orphan.resource.arn]}"
                if orphan.resource.arn in left
                else "deleted"
                for orphan in chosen
            }
    for orphan in orphans:
        fate = fates.get(orphan.resource.arn)
        sys.stdout.write(_line(orphan, now) + (f"  {fate}\n" if fate else "\n"))
    sys.stdout.write(f"{len(orphans)} of {total} resources belong to nobody.\n")
    kept = [orphan for orphan in orphans if fates.get(orphan.resource.arn, "kept").startswith("kept")]
    return 1 if kept else 0


def _spared(orphan: Orphan, now: datetime, min_age: timedelta) -> str | None:
    """Return why an orphan is not deleted; null if it is."""
    age = orphan.age(now)
    if age is None:
        return "kept: of unknown age" if min_age else None
    return "kept: too young" if age < min_age else None


def _line(orphan: Orphan, now: datetime) -> str:
    age = orphan.age(now)
    known = "unknown" if age is None else f"{int(age.total_seconds() // 60)} min"
    return f"{orphan.kind:8} {orphan.resource.arn}  user {orphan.user_id or 'unknown'}  age {known}"


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Aws, Sessions]]:
    found = beside(settings)
    await prepared(found.database_url, embedded=None)
    engine = create_engine(
        found.database_url,
        pool_size=_CONNECTIONS,
        statement_timeout_ms=int(settings.database_statement_timeout_seconds * 1000),
        name="streamcat-janitor",
    )
    sessions = create_sessions(engine)
    config = aws_config(settings, found.endpoint_url, emulated=found.emulated, region=region(settings))
    try:
        async with open_aws(config, Pacer(sessions, calls_per_second=settings.aws_calls_per_second)) as aws:
            yield aws, sessions
    finally:
        await engine.dispose()
