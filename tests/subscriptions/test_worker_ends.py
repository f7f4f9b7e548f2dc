"""A worker that takes events ends, by a kill or as an orchestrator ends it: what it had in hand is another's."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.runtime import Resolved
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.killing import kill, lock_waiters, serve
from tests.program import Program
from tests.subscriptions.queues import Queue, Watched
from tests.subscriptions.test_outages import OK, QUERY, WATCH, stream
from tests.subscriptions.test_queue import applied, locked
from tests.waiting import eventually
from tests.watching import Watcher, watching

QUEUE = {"events_consumers": 1, "events_visibility_seconds": 2}


@dataclass
class Site:
    """A worker of its own process, the server that is asked, and a watched channel."""

    url: str
    program: Program
    running: Running
    queue: Queue
    client: Client
    channel: Watched
    watcher: Watcher

    async def happens(self, streams: int) -> dict[str, Any]:
        """Let so many streams begin, and all but the last end; return what is to be seen when all is applied."""
        for number in range(streams):
            about = {"stream": f"st-{number:03d}"}
            await self.queue.send(self.channel.event("Stream Start", second=10 * number, **about))
            if number < streams - 1:
                await self.queue.send(self.channel.event("Stream End", second=10 * number + 5, **about))
        ended = [stream(10 * number, 10 * number + 5) for number in reversed(range(streams - 1))]
        return {"isLive": True, "streams": {"nodes": [stream(10 * (streams - 1)), *ended]}}

    async def shows(self, expected: dict[str, Any]) -> None:
        """All that happened is applied, once; everybody sees the same, and the server is ready."""
        await eventually(self.queue.is_empty, "every event is taken")
        assert (await self.client.data(QUERY, {"id": self.channel.node_id}))["channel"] == expected
        await self.watcher.ends_on({"channelChanged": {"channel": expected}})
        assert await self.channel.outcomes() == ["APPLIED"] * len(self.channel.events)
        assert await self.queue.buried() == []
        answer = await self.client.http.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, OK)


@pytest.fixture
def opened(tmp_path: Path, here: Resolved, queue: Queue, start_server: StartServer) -> Any:
    """Return the way to open a site, whose other server takes events too if told so."""

    @asynccontextmanager
    async def open_site(*, worker: bool) -> AsyncIterator[Site]:
        ours = replace(here, events_queue_url=queue.url)
        async with (
            start_server(resolved=ours, worker=worker, **QUEUE) as running,
            serve(tmp_path / "worker", ours, shutdown_seconds=30, **QUEUE) as (url, program),
        ):
            client = Client(running.url)
            user = await client.register()
            channel = await Watched.of(running.runtime.services.sessions, user.username)
            async with watching(running.url, WATCH, {"id": user.channel_id}) as watcher:
                yield Site(url, program, running, queue, client, channel, watcher)
            await client.aclose()

    return open_site


async def test_what_a_killed_worker_had_in_work_is_applied_by_another(opened: Any) -> None:
    async with opened(worker=True) as site:
        before = applied()

        async def both() -> bool:
            return await lock_waiters(site.channel.sessions) == 2

        async with locked(site.channel.sessions, site.channel):
            expected = await site.happens(11)
            await eventually(both, "both workers have events in work")
            await kill(site.program)
        await site.shows(expected)
        changes = {name: count - before[name] for name, count in applied().items() if count > before[name]}
        assert changes == {"APPLIED": len(site.channel.events)}


async def test_what_a_killed_worker_had_committed_and_not_deleted_changes_nothing(
    opened: Any, emulator: Emulator
) -> None:
    async with opened(worker=False) as site:
        await emulator.fault("DeleteMessageBatch", "timeout", seconds=60, times=None)
        expected = await site.happens(3)

        async def committed() -> bool:
            return "APPLIED" in await site.channel.outcomes()

        await eventually(committed, "the first of them are committed")
        assert await site.queue.size() == 5
        await kill(site.program)
        await emulator.lift_faults()
        done = (await site.channel.outcomes()).count("APPLIED")
        before = applied()
        site.running.runtime.worker.start()
        await site.shows(expected)
        changes = {name: count - before[name] for name, count in applied().items() if count > before[name]}
        assert changes == {name: count for name, count in {"DOUBLED": done, "APPLIED": 5 - done}.items() if count}


async def test_a_worker_that_is_told_to_end_finishes_what_it_has_begun(opened: Any) -> None:
    async with opened(worker=False) as site:

        async def waits() -> bool:
            return await lock_waiters(site.channel.sessions) == 1

        async def closed() -> bool:
            async with httpx.AsyncClient(verify=False) as http:  # noqa: S501 - loopback
                try:
                    await http.get(f"{site.url}/healthz")
                except httpx.TransportError:
                    return True
            return False

        async with locked(site.channel.sessions, site.channel):
            expected = await site.happens(13)
            await eventually(waits, "events are in work")
            begun = await site.queue.in_work()
            site.program.send(signal.SIGTERM)
            await eventually(closed, "the worker has begun to end")
            assert await site.channel.outcomes() == [None] * 25
            assert site.program.process.poll() is None
        assert await asyncio.to_thread(site.program.wait) == 0
        # Deleted is what is committed, and nothing else; what was asked for in the last moment comes back to the next.
        done = (await site.channel.outcomes()).count("APPLIED")
        assert 0 < begun <= done < 25
        assert await site.queue.size() == 25 - done
        assert site.program.complaints == []
        site.running.runtime.worker.start()
        await site.shows(expected)
