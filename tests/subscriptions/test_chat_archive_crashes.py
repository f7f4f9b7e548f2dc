"""The process is killed while it reads a chat log: afterwards everything is there, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ivs.client import Aws
from models import ChatArchive, ChatRoom
from server.runtime import Resolved
from tests.chat_logs import Hall, archivist, with_logs
from tests.client import Client
from tests.conftest import Emulator, StartServer
from tests.killing import kill, lock_waiters, serve
from tests.registration import open_sessions
from tests.waiting import eventually

COUNT = 25
WORKER: dict[str, Any] = {
    "chat_archive_seconds": 0.3,
    "chat_archive_page_records": 10,
    "chat_archive_lease_seconds": 300,
    "chat_log_reads_per_second": 1000,
}


@pytest.fixture
async def hall(start_server: StartServer, here: Resolved, emulator: Emulator, aws: Aws) -> AsyncIterator[Hall]:
    async with start_server(worker=False, resolved=await with_logs(here, aws)) as server:
        client = Client(server.url)
        hall = await Hall.open(server.runtime, emulator, client)
        messages = [hall.message(f"{number:02}", -50 + number) for number in range(COUNT)]
        await hall.log(*messages, second=-50)
        # Of a page before, of the same, and of one that follows.
        await hall.log(*(hall.deletion(messages[number]) for number in (0, 12, 24)), second=-33.5)
        yield hall
        await client.aclose()


async def finished(hall: Hall) -> None:
    """The next worker reads to the end, after the lease of the one that was killed."""
    for _ in range(5):
        assert await hall.work() == 1
        if await hall.state("window_end IS NULL"):
            break
    assert await hall.contents() == [f"{number:02}" for number in range(COUNT) if number not in (0, 12, 24)]
    ids = [one["ivsMessageId"] for one in await hall.messages()]
    assert len(set(ids)) == COUNT - 3


async def test_killed_between_two_pages(hall: Hall, emulator: Emulator, tmp_path: Path) -> None:
    await emulator.fault("FilterLogEvents", "timeout", skip=1, seconds=300)
    arn = hall.runtime.resolved.chat_logging_configuration_arn
    settings = {**WORKER, "chat_logging_configuration_arn": arn}
    async with serve(tmp_path, hall.runtime.resolved, **settings) as (_, program):
        await hall.start()

        async def second_page() -> bool:
            return len(await emulator.calls("FilterLogEvents")) == 2

        await eventually(second_page, "the second page is asked for")
        await kill(program)
    await emulator.lift_faults()
    assert await hall.state("mark IS NOT NULL, read_after > now()") == (True, True)
    hall.archivist = archivist(hall.runtime, page_records=10)
    await finished(hall)
    # Where the other one was killed it goes on.
    tokens = [call["params"].get("nextToken") for call in await emulator.calls("FilterLogEvents")]
    assert tokens[1] == tokens[2]
    assert tokens[0] is None


@pytest.mark.parametrize("step", ["before the page is written", "before it is noted"])
async def test_killed_within_a_page(hall: Hall, emulator: Emulator, tmp_path: Path, step: str) -> None:
    arn = hall.runtime.resolved.chat_logging_configuration_arn
    settings = {**WORKER, "chat_logging_configuration_arn": arn}
    late = await emulator.control("faults", {"operation": "FilterLogEvents", "kind": "late", "seconds": 300})
    async with (
        open_sessions(hall.runtime.resolved.database_url) as sessions,
        AsyncExitStack() as locks,
        serve(tmp_path, hall.runtime.resolved, **settings) as (_, program),
    ):
        await hall.start()

        async def asked() -> bool:
            return len(await emulator.calls("FilterLogEvents")) == 1

        await eventually(asked, "the page is asked for")
        row = select(ChatRoom.id) if step == "before the page is written" else select(ChatArchive.id)
        holder = await locks.enter_async_context(sessions())
        await holder.begin()
        assert (await holder.execute(row.with_for_update())).first() is not None
        await emulator.lift_fault(late)

        async def waits() -> bool:
            return await lock_waiters(sessions) == 1

        await eventually(waits, f"the worker waits {step}")
        await kill(program)
    # Of the first page without what is deleted there, all or nothing.
    assert len(await hall.contents()) == (0 if step == "before the page is written" else 10)
    assert await hall.state("mark") is None
    hall.archivist = archivist(hall.runtime, page_records=10)
    await finished(hall)


async def test_two_read_the_same_at_once(hall: Hall) -> None:
    """As after a lease that ended while its worker was slow."""
    await hall.start()
    readers = [archivist(hall.runtime, page_records=3) for _ in range(3)]

    async def read(reader: Any) -> None:
        for _ in range(3):
            await hall.sql("UPDATE chat_archives SET read_after = now() WHERE read_after IS NOT NULL")
            await reader.run_due()

    await asyncio.gather(*(read(reader) for reader in readers))
    await finished(hall)
