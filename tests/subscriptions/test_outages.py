"""What a process needs goes away and comes back: no event is lost, none counts twice, and operators can see it.

The process is one as in production; it is never restarted.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ivs.client import Aws
from server.runtime import Resolved
from tests.accounts import metric
from tests.cases import few
from tests.client import Client, Registered
from tests.killing import serve
from tests.program import Program
from tests.subscriptions.outages import Around
from tests.subscriptions.queues import NOON, Queue, body
from tests.subscriptions.test_live_path import ARN
from tests.waiting import eventually
from tests.watching import watching

SEEN = "isLive streams(first: 100) { nodes { state startedAt endedAt } }"
QUERY = f"query($id: ID!) {{ channel(by: {{ id: $id }}) {{ {SEEN} }} }}"
WATCH = f"subscription($id: ID!) {{ channelChanged(channelId: $id) {{ channel {{ {SEEN} }} }} }}"
OK = {"database": "ok", "bus": "ok", "queue": "ok"}
# As many as one process can have in work: one batch of one consumer.
IN_WORK = 10


def stream(start: int, end: int | None = None) -> dict[str, Any]:
    """A stream of these seconds, as GraphQL shows it."""
    started_at, ended_at = [second if second is None else NOON + timedelta(seconds=second) for second in (start, end)]
    return {
        "state": "ENDED" if ended_at else "LIVE",
        "startedAt": started_at and started_at.isoformat(),
        "endedAt": ended_at and ended_at.isoformat(),
    }


@dataclass
class Site:
    """A server as its own process, a channel on it, and the queue of its events."""

    url: str
    program: Program
    queue: Queue
    client: Client
    user: Registered
    arn: str
    streams: int = 0
    last: dict[str, Any] = field(default_factory=dict)

    async def happens(self, streams: int) -> None:
        """Let so many streams begin and end, in seconds of their own."""
        for number in range(self.streams, self.streams + streams):
            for name, second in (("Stream Start", 10 * number), ("Stream End", 10 * number + 5)):
                await self.queue.send(body(self.arn, name, stream=f"st-{number:03d}", second=second))
        self.streams += streams

    async def goes_live(self) -> dict[str, Any]:
        """Let the last stream begin; return what is to be seen when all is applied."""
        await self.queue.send(body(self.arn, "Stream Start", stream="st-live", second=10 * self.streams))
        before = [stream(10 * number, 10 * number + 5) for number in reversed(range(self.streams))]
        return {"isLive": True, "streams": {"nodes": [stream(10 * self.streams), *before]}}

    async def ready(self) -> tuple[int, dict[str, str]]:
        async with httpx.AsyncClient(verify=False) as http:  # noqa: S501 - loopback
            answer = await http.get(f"{self.url}/readyz", timeout=10)
        return answer.status_code, answer.json()

    async def unready(self, part: str, reason: str) -> None:
        """Wait until `/readyz` says this."""
        seen: list[Any] = []

        async def so() -> bool:
            seen[:] = await self.ready()
            return bool(seen[0] == 503 and seen[1][part].startswith(reason))

        await eventually(so, f"{part} {reason}")

    async def ready_again(self) -> None:
        """Wait until `/readyz` has nothing to say: what it last saw of the queue it says for a second."""

        async def so() -> bool:
            return await self.ready() == (200, OK)

        await eventually(so, "ready")

    async def counted(self, sample: str, least: float) -> None:
        async def so() -> bool:
            return await metric(self.url, sample) >= least

        await eventually(so, f"{sample} >= {least}")

    async def taken(self, outcome: str) -> float:
        return await metric(self.url, f'streamcat_events_total{{door="sqs",outcome="{outcome}"}}')


@asynccontextmanager
async def open_site(folder: Path, here: Resolved, queue: Queue) -> AsyncIterator[Site]:
    settings = {
        "bus_url": here.bus_url,
        "aws_read_timeout_seconds": 2,
        "events_consumers": 1,
        "events_visibility_seconds": 2,
        "database_statement_timeout_seconds": 5,
    }
    async with serve(folder, replace(here, events_queue_url=queue.url), **settings) as (url, program):
        client = Client(url)
        user = await client.register()
        arn = (await client.data(ARN, token=user.token))["viewer"]["channel"]["broadcast"]["arn"]
        yield Site(url, program, queue, client, user, arn)
        await client.aclose()


# The bus goes away with the database, too.
@pytest.mark.parametrize("which", few(["database restarted", "queue"], ["database killed", "bus"]))
async def test_an_outage_loses_nothing_and_ends_by_itself(
    tmp_path: Path, around: tuple[Around, Resolved], aws: Aws, queue: Queue, which: str
) -> None:
    outage = around[0].outage(which)
    async with (
        open_site(tmp_path / "run", around[1], queue) as site,
        watching(site.url, WATCH, {"id": site.user.channel_id}) as watcher,
    ):
        assert watcher.frames == [{"channelChanged": {"channel": {"isLive": False, "streams": {"nodes": []}}}}]

        await site.happens(4)
        await outage.begin()
        await site.happens(15)
        await site.unready(outage.part, outage.reason)
        await site.counted(outage.counter, outage.least)
        # Without a database nothing more is taken than what was in hand.
        assert await queue.in_work() <= IN_WORK
        await outage.end()
        await site.happens(4)
        expected = await site.goes_live()

        await eventually(queue.is_empty, "every event is taken", 60)
        assert (await site.client.data(QUERY, {"id": site.user.channel_id}))["channel"] == expected
        await watcher.ends_on({"channelChanged": {"channel": expected}})
        # By one subscription, which was never told that it is over.
        assert watcher.begun == 1
        number = 2 * site.streams + 1
        assert await journalled(around[1].database_url) == number
        applied, doubled = await site.taken("APPLIED"), await site.taken("DOUBLED")
        if outage.part == "database":
            # Committed, and the answer lost: counted when they came again.
            assert applied + doubled == number
        else:
            # Committed, and still in the queue: they came again.
            assert applied == number
            assert doubled <= IN_WORK
        assert await queue.buried() == []
        await site.ready_again()
        await site.counted("streamcat_bus_reconnects_total", 0 if which == "queue" else 1)
        assert outage.logged in site.program.err
        assert site.program.process.poll() is None
        assert "Traceback" not in site.program.err


async def journalled(database_url: str) -> int:
    """How many events were applied, each once."""
    connection = await asyncpg.connect(database_url)
    applied = await connection.fetchval("SELECT count(*) FROM received_events WHERE outcome = 'APPLIED'")
    await connection.close()
    return int(applied)
