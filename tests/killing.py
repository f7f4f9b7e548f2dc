"""A server that is killed in the middle of its work, and what it waits for until then."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from models.engine import Sessions
from server.runtime import Resolved
from tests.conftest import SECRET_KEY, SETTINGS, Emulator
from tests.program import Program

# What is held stays held until the kill: no time-out of the server ends it.
PATIENT: dict[str, Any] = {
    "provision_lease_seconds": 300,
    "aws_read_timeout_seconds": 60,
    "database_statement_timeout_seconds": 300,
    "database_pool_size": 60,
}


@asynccontextmanager
async def serve(
    folder: Path, resolved: Resolved, *arguments: str, **settings: Any
) -> AsyncIterator[tuple[str, Program]]:
    """Run `serve` as production does; yield its address and the program, which may be killed."""
    program = Program(folder, "serve", *arguments, **environment_of(resolved, **settings))
    try:
        await asyncio.to_thread(program.says, "stop  ")
        (line,) = [line for line in program.out.splitlines() if "StreamCat GraphQL" in line]
        yield line.split()[-1].removesuffix("/graphql"), program
    finally:
        if program.process.poll() is None:
            await asyncio.to_thread(program.stop, signal.SIGTERM)


def environment_of(resolved: Resolved, **settings: Any) -> dict[str, str]:
    """Return the settings of a server on these foundations, as a process has them."""
    return {name.upper(): str(value) for name, value in (SETTINGS | PATIENT | settings).items()} | {
        "PORT": "0",
        "DATABASE_URL": resolved.database_url,
        "SECRET_KEY": SECRET_KEY,
        "EVENTS_QUEUE_URL": resolved.events_queue_url,
        "AWS_ENDPOINT_URL": str(resolved.aws.endpoint_url),
        "AWS_REGION": resolved.aws.region,
        "AWS_ACCESS_KEY_ID": "emulator",
        "AWS_SECRET_ACCESS_KEY": "emulator",
    }


async def kill(program: Program) -> None:
    program.process.kill()
    assert await asyncio.to_thread(program.wait) == -signal.SIGKILL


class Second:
    """A server as a process of its own, which may be killed and is there again when it is next asked for.

    Attributes:
        url: Its address, another one after each kill.
    """

    def __init__(self, folder: Path, resolved: Resolved, **settings: Any) -> None:
        self._folder, self._resolved, self._settings = folder, resolved, settings
        self._stack = AsyncExitStack()
        self._starting: asyncio.Task[Program] | None = None
        self._program: Program | None = None
        self.url = ""

    async def there(self) -> None:
        """Wait for it; started anew after a kill."""
        if self._starting is None:
            self.starts()
        assert self._starting is not None
        self._program = await self._starting

    def starts(self) -> None:
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> Program:
        await self._stack.aclose()
        self.url, program = await self._stack.enter_async_context(serve(self._folder, self._resolved, **self._settings))
        return program

    async def kill(self) -> None:
        assert self._program is not None
        await kill(self._program)
        self.starts()

    async def aclose(self) -> None:
        if self._starting is not None:
            await self._starting
        await self._stack.aclose()


async def calls(emulator: Emulator, operation: str) -> int:
    return len(await emulator.calls(operation))


async def lock_waiters(sessions: Sessions) -> int:
    async with sessions() as session:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int((await session.execute(waiting)).scalar_one())
