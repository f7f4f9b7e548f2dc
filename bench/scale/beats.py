"""Players: many that come at once, for unit costs; and an audience for the simulation, a process of its own.

`python -m bench.scale.beats PORT` reads its plan from standard input, a line of JSON; says `ready` when all players had
their first turn, and how many heartbeats were sent since when standard input is closed. It counts viewers too, as a
worker does.
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
from typing import Any
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
    """An audience of channels, whose players send every `interval` seconds.

    With each count each channel that has viewers gets one more, so that its number is another.
    """

    channels: Sequence[str]
    audiences: Sequence[int]
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
        self._watched = [place for place, audience in zip(plan.channels, plan.audiences, strict=True) if audience]
        self.sent = self.counts = 0

    async def watch(self, tokens: Sequence[str]) -> None:
        """Send the heartbeats of these, at even distances, until cancelled."""
        began, every = time.perf_counter(), self._plan.interval / len(tokens)
        async with asyncio.TaskGroup() as group:
            for number, token in enumerate(cycle(tokens)):
                await asyncio.sleep(max(0.0, began + number * every - time.perf_counter()))
                group.create_task(self._send(token))

    async def count(self, viewers: Viewers) -> None:
        """Let one more come to each channel, then count, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                due = time.perf_counter() + self._plan.counts_every
                fresh = [self._players.begin(channel) for channel in self._watched]
                await asyncio.gather(*map(self._send, fresh))
                await viewers.count_viewers()
                self.counts += 1
                group.create_task(self._stay(fresh))
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def all(self) -> list[str]:
        """Return the tokens of the audience that is there to begin with, channels mixed."""
        of_each = [
            [(number / audience, channel) for number in range(audience)]
            for channel, audience in zip(self._plan.channels, self._plan.audiences, strict=True)
        ]
        return [self._players.begin(channel) for _, channel in sorted(one for each in of_each for one in each)]

    async def _stay(self, tokens: Sequence[str]) -> None:
        await asyncio.sleep(self._plan.interval)
        await self.watch(tokens)

    async def _send(self, token: str) -> None:
        pair = await self._idle.get()
        await ask(*pair, self._players.request(token), 1)
        self._idle.put_nowait(pair)
        self.sent += 1


async def main(port: int) -> None:
    plan = Plan(**json.loads(sys.stdin.readline()))
    engine = create_engine(os.environ["DATABASE_URL"], pool_size=2, statement_timeout_ms=60_000, name="bench")
    sessions = create_sessions(engine)
    publisher = Publisher(sessions, Bus(os.environ["DATABASE_URL"], sessions, heartbeat=60))
    # Nobody else counts, so there is no turn to wait for.
    viewers = Viewers(publisher, ViewersConfig(window=plan.window, interval=1e-6, retention_days=90))
    audience = Audience(plan, [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)])
    tokens = audience.all()
    work: list[asyncio.Task[Any]] = [asyncio.create_task(audience.watch(tokens))]
    await asyncio.sleep(plan.window)
    work.append(asyncio.create_task(audience.count(viewers)))
    await asyncio.sleep(plan.interval)
    told = audience.sent, audience.counts
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in work:
        task.cancel()
    print(json.dumps({"heartbeats": audience.sent - told[0], "counts": audience.counts - told[1]}), flush=True)
    await asyncio.gather(*work, return_exceptions=True)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
