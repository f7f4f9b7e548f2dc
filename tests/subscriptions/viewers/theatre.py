"""Two processes on one database whose clock stands, a stream, and those who watch its numbers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from models import Stream
from models.engine import Sessions
from server.runtime import Resolved
from tests.analysing import Answer
from tests.client import Registered
from tests.killing import Second
from tests.owners import node_id
from tests.players import say
from tests.reckoning import Sent, live_stats, present
from tests.registration import open_sessions
from tests.resolvers.test_viewers import CHANNEL, COUNT, STATS
from tests.subscriptions.queues import Queue, Watched
from tests.subscriptions.viewers.clock import Clock, clock_of
from tests.subscriptions.viewers.doors import Door
from tests.subscriptions.viewers.plan import Moment
from tests.waiting import eventually
from tests.watching import Watcher, watching

SETTINGS: dict[str, Any] = {
    "viewer_count_interval_seconds": 0.1,
    "live_stats_interval_seconds": 0.3,
    "provision_interval_seconds": 5.0,
    "recordings_interval_seconds": 5.0,
    "database_pool_size": 20,
}
# Ranges of a stream in minutes from its start, and the minutes of a bucket.
RANGES: tuple[dict[str, int], ...] = (
    {},
    {"start": 10, "end": 12, "bucket": 1},
    {"start": 12, "bucket": 5},
    {"end": 18, "bucket": 5},
)
DUE = "SELECT 1 FROM metric_marks WHERE minute <= now() - interval '3 minutes' LIMIT 1"


@dataclass
class Theatre:
    """A channel that goes live, in two processes.

    Attributes:
        published: Every number that was counted, oldest first.
        between: Least and greatest number of present viewers at each moment of the clock, oldest first.
        said: When the streamer has written in the chat.
    """

    processes: Sequence[Second]
    doors: list[Door]
    sessions: Sessions
    clock: Clock
    queue: Queue
    owner: Registered
    channel: Watched
    stack: AsyncExitStack
    stream: Stream = field(init=False)
    began: datetime = field(init=False)
    watchers: dict[str, Watcher] = field(default_factory=dict)
    stats: Watcher = field(init=False)
    published: list[int] = field(default_factory=lambda: [0])
    between: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    said: list[datetime] = field(default_factory=list)

    async def goes_live(self, at: datetime) -> None:
        """Begin the stream, and let numbers be watched through both processes."""
        self.began = at
        await self.queue.send(self.channel.event("Stream Start", time=at.isoformat()))

        async def live() -> bool:
            return await self.channel.live() is not None

        await eventually(live, "the channel is live")
        async with self.sessions() as session:
            self.stream = (await session.execute(select(Stream))).scalar_one()
        for process in self.processes:
            await self.watch(process)
        about = {"id": self.owner.channel_id}
        stats = watching(self.processes[1].url, STATS, about, self.owner.token)
        self.stats = await self.stack.enter_async_context(stats)

    async def watch(self, process: Second) -> None:
        """Let somebody watch the number through this process."""
        watcher = watching(process.url, COUNT, {"id": self.owner.channel_id})
        self.watchers[process.url] = await self.stack.enter_async_context(watcher)

    async def ends(self, at: datetime) -> None:
        """End the stream; everybody who asks is told that nobody watches any more, and how many did."""
        await self.queue.send(self.channel.event("Stream End", time=at.isoformat()))
        self.published.append(0)
        self.between.append((0, 0))
        await self._show({"viewerCount": None, "peakViewerCount": max(self.published)}, None)

    async def kills(self, number: int) -> None:
        """Kill a process; from now on the other one is asked in its place."""
        await self.processes[number].kill()
        closed, self.doors[number] = self.doors[number], self.doors[1 - number]
        await closed.aclose()

    async def restarts(self, number: int) -> None:
        """Wait for a process that was killed to be there again, and look through it too."""
        await self.processes[number].there()
        self.doors[number] = Door(self.processes[number].url)
        await self.watch(self.processes[number])

    async def says(self, at: datetime) -> None:
        """Let the streamer write in the chat."""
        async with self.sessions() as session, session.begin():
            await say(session, self.stream, at)
        self.said.append(at)

    async def shows(self, count: int) -> None:
        """Everybody who asks is told that so many watch, which is the next number to be counted."""
        if count != self.published[-1]:
            self.published.append(count)
        await self._show({"viewerCount": count, "peakViewerCount": max(self.published)}, count)

    async def _show(self, stream: dict[str, Any], count: int | None) -> None:
        current = None if count is None else stream
        expected = {"viewerCount": count, "currentStream": current, "streams": {"nodes": [stream]}}
        for door in self.doors:
            found: list[Any] = []

            async def so(door: Door = door, found: list[Any] = found) -> bool:
                found[:] = [(await door.data(CHANNEL, {"id": self.owner.channel_id}))["channel"]]
                return found == [expected]

            try:
                await eventually(so, "the numbers are shown")
            finally:
                assert found == [expected]

    async def tells_the_streamer(self, sent: Sequence[Sent], now: datetime) -> None:
        """The streamer sees what is true of the viewers now."""
        expected = live_stats(sent, self.said, now, max(self.published))
        # PostgreSQL's average of integers is a decimal number of 16 digits.
        bitrate = expected["bitrate"] and pytest.approx(expected["bitrate"], rel=1e-15)
        stream = {"stream": {"title": self.stream.title}}
        await self.stats.ends_on({"liveStats": {**stream, **expected, "bitrate": bitrate}})

    async def is_watched(self, count: int | None) -> None:
        """Whoever watches the number comes to see this one, null of a stream that is over."""
        channel = {"id": self.owner.channel_id, "viewerCount": count}
        for process in self.processes:
            watcher = self.watchers[process.url]
            await watcher.ends_on({"viewerCountChanged": {"channel": channel, "viewerCount": count or 0}})

    def was_told(self, sent: Sequence[Sent], moment: Moment) -> None:
        """Note what was true while the moment's requests came in."""
        self.between.append((moment.count, len(present(sent, moment.at))))

    async def is_over(self) -> None:
        """Whoever has watched has seen numbers that were true, in their order, and the last of them."""
        await self.is_watched(None)
        for watcher in self.watchers.values():
            seen = [frame["viewerCountChanged"]["viewerCount"] for frame in watcher.frames]
            counted = iter(self.published)
            assert all(number in counted for number in seen), (seen, self.published)
        seen = [frame["liveStats"]["viewerCount"] for frame in self.stats.frames]
        assert _lie_between(seen, self.between), (seen, self.between)

    async def analyses(self, sent: Sequence[Sent], finish: datetime) -> None:
        """The owner's analytics are those of the heartbeats, through either process."""
        for number, range_ in enumerate(RANGES):
            door, key = self.doors[number % len(self.doors)], node_id("Stream", self.stream.id)
            answer = Answer(door, self.owner.token, key, self.began)
            await answer.agrees(sent, finish, said=self.said, **range_)

    async def rolls_up(self) -> None:
        """Wait until all that is due is rolled up."""

        async def done() -> bool:
            return await self._rows(DUE) == []

        await eventually(done, "all that is due is rolled up")
        assert await self._rows("SELECT 1 FROM metric_minutes LIMIT 1") != []

    async def holds(self, sent: Sequence[Sent]) -> None:
        """The database has these heartbeats, each once, and no others."""
        assert await self.stored() == Counter(map(named, sent))

    async def stored(self) -> Counter[tuple[str, datetime]]:
        """All heartbeats in the database, and how often each is there."""
        rows = await self._rows("SELECT browser_version, sent_at FROM metrics")
        return Counter((row[0], row[1]) for row in rows)

    async def _rows(self, statement: str) -> list[Any]:
        async with self.sessions() as session:
            return list((await session.execute(text(statement))).all())


def named(beat: Sent) -> tuple[str, datetime]:
    """What tells a heartbeat from all others."""
    return beat.readings["browserVersion"], beat.at


def _lie_between(numbers: Iterable[int], bounds: Iterable[tuple[int, int]]) -> bool:
    """Tell whether each number lies between bounds that are those of the number before it, or come after them."""
    later = iter(bounds)
    least, most = next(later)
    for number in numbers:
        while not least <= number <= most:
            if (bound := next(later, None)) is None:
                return False
            least, most = bound
    return True


@asynccontextmanager
async def open_theatre(folder: Path, resolved: Resolved, queue: Queue) -> AsyncIterator[Theatre]:
    """Start both processes on a database to which nobody is connected yet."""
    here = replace(resolved, events_queue_url=queue.url)
    async with AsyncExitStack() as stack:
        clock = await stack.enter_async_context(clock_of(here.database_url))
        processes = [Second(folder / name, here, **SETTINGS) for name in ("one", "two")]
        for process in processes:
            process.starts()
            stack.push_async_callback(process.aclose)
        await asyncio.gather(*(process.there() for process in processes))
        doors = [Door(process.url) for process in processes]
        sessions = await stack.enter_async_context(open_sessions(here.database_url))
        owner = await doors[0].register()
        channel = await Watched.of(sessions, owner.username)
        async with AsyncExitStack() as watchers:
            yield Theatre(processes, doors, sessions, clock, queue, owner, channel, watchers)
        for door in doors:
            await door.aclose()
