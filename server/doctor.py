"""`python -m app doctor`: what an operator wants to know before trusting an installation."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ivs.chat_logs import ChatLog
from ivs.client import open_aws
from ivs.errors import AwsError
from models import migrate
from models.engine import in_short
from models.migrate import MigrationError
from server.database import keys_fit, server_version
from server.embedded.datadir import DataDirectory
from server.errors import StartupError
from server.runtime import aws_config
from server.settings import Settings
from server.stack import region


def examine(settings: Settings) -> int:
    """Print one line per part, `ok` or what is wrong; return 1 if anything is wrong."""
    return asyncio.run(_examine(settings))


async def _examine(settings: Settings) -> int:
    running = DataDirectory(settings.data_dir).running()
    database_url = settings.database_url or (running.database_url if running else None)
    embedded = None if settings.database_url else DataDirectory(settings.data_dir).postgres
    endpoint = settings.aws_endpoint_url or (running.emulator_url if running else None)
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        "database": lambda: _database(database_url, embedded),
        "migrations": lambda: _migrations(database_url, embedded),
        "secret key": lambda: _secret_key(settings, database_url),
        "Amazon IVS": lambda: _aws(settings, endpoint),
        "event queue": lambda: _queue(settings, endpoint),
        "chat log": lambda: _chat_log(settings, endpoint),
    }
    failed = 0
    for name, check in checks.items():
        try:
            state = f"ok       {await check()}"
        except (StartupError, MigrationError, AwsError, SQLAlchemyError, OSError) as error:
            failed = 1
            state = f"PROBLEM  {in_short(error)}"
        sys.stdout.write(f"{name:12} {state}\n")
    return failed


async def _database(database_url: str | None, embedded: Path | None) -> str:
    if database_url is None:
        return "embedded, not running"
    version = await server_version(database_url, embedded=embedded)
    return f"PostgreSQL {version // 10000}.{version % 10000}"


async def _migrations(database_url: str | None, embedded: Path | None) -> str:
    if database_url is None:
        return "run at the next start"
    await server_version(database_url, embedded=embedded)
    await migrate.check(database_url)
    return "the database is what the code expects"


async def _secret_key(settings: Settings, database_url: str | None) -> str:
    kept = DataDirectory(settings.data_dir).secret_key() if settings.secret_key is None else None
    keys = settings.secret_key or ((kept,) if kept else ())
    try:
        fit = database_url is None or await keys_fit(database_url, keys)
    except (SQLAlchemyError, OSError):
        fit = True  # what is wrong with the database stands in its own line
    if not fit:
        raise StartupError("the stream keys in the database were encrypted with another one")
    if settings.secret_key is not None:
        return f"{len(keys)} set"
    if kept is None:
        return f"none in {settings.data_dir} yet; the next start makes one"
    return f"generated, in {settings.data_dir}; set SECRET_KEY where several machines serve"


async def _aws(settings: Settings, endpoint: str | None) -> str:
    if settings.events_queue_url is None and endpoint is None:
        return "emulated, not running"
    config = aws_config(settings, endpoint, emulated=settings.events_queue_url is None, region=region(settings))
    async with open_aws(config) as aws:
        await aws.call("ivs", "list_channels", maxResults=1)
        await aws.call("ivschat", "list_rooms", maxResults=1)
        await aws.call("ivs-realtime", "list_stages", maxResults=1)
    return f"answers in {region(settings)}{' (emulated)' if settings.events_queue_url is None else ''}"


async def _queue(settings: Settings, endpoint: str | None) -> str:
    if settings.events_queue_url is None:
        return "the emulator's"
    config = aws_config(settings, endpoint, emulated=False, region=region(settings))
    async with open_aws(config) as aws:
        answer = await aws.call(
            "sqs",
            "get_queue_attributes",
            QueueUrl=settings.events_queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "RedrivePolicy"],
        )
    attributes = answer.get("Attributes", {})
    if "RedrivePolicy" not in attributes:
        raise StartupError("the queue has no dead-letter queue: run `python -m app events setup`")
    return f"{attributes.get('ApproximateNumberOfMessages', '?')} events waiting"


async def _chat_log(settings: Settings, endpoint: str | None) -> str:
    arn = settings.chat_logging_configuration_arn
    emulated = settings.events_queue_url is None
    if arn is None:
        return "the emulator's" if emulated else "none, so that no chat is kept: set CHAT_LOGGING_CONFIGURATION_ARN"
    if emulated and endpoint is None:
        return "emulated, not running"
    config = aws_config(settings, endpoint, emulated=emulated, region=region(settings))
    async with open_aws(config) as aws:
        log, now = ChatLog(aws, arn), datetime.now(UTC)
        group, versions = await log.place()
        # Of a room that nobody has: whether it may be read at all.
        await log.page("room/none", now, now, None, most=1)
    return f"in the log group {group}{'' if versions else ', empty so far'}"
