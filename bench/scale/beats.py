"""Players: many that come at once, for unit costs; and an audience for the simulation, a process of its own.

`python -m bench.scale.beats PORT` reads its plan from standard input, a line of JSON, says `ready` when all players had
their turn and were counted, goes on until standard input ends, and then says how often a second it counted viewers.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from uuid import UUID, uuid4

from bench.metrics.run import READINGS, SECRET_KEY, ask, request
from models.engine import create_engine, create_sessions
from resolvers.viewer_tokens import ViewerTokens
from subscriptions.bus import Bus
from subscriptions.publish import Publisher
from subscriptions.viewers import Viewers, ViewersConfig

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CONNECTIONS = 32


@dataclass(frozen=True)
class Plan:
    """An audience: for each viewer the channel. Each player sends every `interval` seconds.

    With each count every channel gets one viewer more, so that its number is another.
    """

    channels: Sequence[str]
    interval: float
    window: float
    counts_every: float


class Players:
    """Makes the requests of players."""

    def __init__(self) -> None:
        self._tokens = ViewerTokens([SECRET_KEY], lifetime=3600)

    def begin(self, channel: str) -> str:
        """Return the token of one that begins to watch."""
        return self._tokens.sign(self._tokens.begin(UUID(channel)))

    def request(self, token: str) -> bytes:
        """Return its next heartbeat."""
        return request({"viewerToken": token, "heartbeats": [{"id": str(uuid4()), **READINGS}]})


async def at_once(port: int, channels: Sequence[str], connections: int, count: int) -> float:
    """Send so many heartbeats, each of another player; return the median of the seconds that an answer took."""
    players, places = Players(), cycle(channels)
    ready = [players.request(players.begin(next(places))) for _ in range(count)]
    took: list[float] = []

    async def load() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while ready:
            began = time.perf_counter()
            await ask(reader, writer, ready.pop(), 1)
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(load() for _ in range(connections)))
    return statistics.median(took)


class Audience:
    """The players of a plan, on time."""

    def __init__(self, plan: Plan, connections: Sequence[Pair]) -> None:
        self._plan = plan
        self._players = Players()
        self._idle: asyncio.Queue[Pair] = asyncio.Queue()
        for pair in connections:
            self._idle.put_nowait(pair)
        self.counts = 0

    async def watch(self) -> None:
        """Let those who are there to begin with send, until cancelled."""
        await self._send_all([self._players.begin(channel) for channel in self._plan.channels])

    async def count(self, viewers: Viewers) -> None:
        """Let one more come to each channel, then count, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                due = time.perf_counter() + self._plan.counts_every
                fresh = [self._players.begin(channel) for channel in set(self._plan.channels)]
                await asyncio.gather(*map(self._send, fresh))
                await viewers.count_viewers()
                self.counts += 1
                group.create_task(self._stay(fresh))
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _stay(self, tokens: Sequence[str]) -> None:
        await asyncio.sleep(self._plan.interval)
        await self._send_all(tokens)

    async def _send_all(self, tokens: Sequence[str]) -> None:
        began, every = time.perf_counter(), self._plan.interval / len(tokens)
        async with asyncio.TaskGroup() as group:
            for number, token in enumerate(cycle(tokens)):
                await asyncio.sleep(max(0.0, began + number * every - time.perf_counter()))
                group.create_task(self._send(token))

    async def _send(self, token: str) -> None:
        pair = await self._idle.get()
        await ask(*pair, self._players.request(token), 1)
        self._idle.put_nowait(pair)


async def main(port: int) -> None:
    plan = Plan(**json.loads(sys.stdin.readline()))
    engine = create_engine(os.environ["DATABASE_URL"], pool_size=2, statement_timeout_ms=60_000, name="bench")
    sessions = create_sessions(engine)
    publisher = Publisher(sessions, Bus(os.environ["DATABASE_URL"], sessions, heartbeat=60))
    # Nobody else counts, so there is no turn to wait for.
    viewers = Viewers(publisher, ViewersConfig(window=plan.window, interval=1e-6, retention_days=90))
    audience = Audience(plan, [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)])
    work = [asyncio.create_task(audience.watch())]
    await asyncio.sleep(plan.window)
    work.append(asyncio.create_task(audience.count(viewers)))
    await asyncio.sleep(plan.interval)
    print("ready", flush=True)
    began, before = time.perf_counter(), audience.counts
    await asyncio.to_thread(sys.stdin.read)
    print((audience.counts - before) / (time.perf_counter() - began), flush=True)
    for task in work:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
