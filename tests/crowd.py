"""Thousands of subscribers for a test: see `crowd_program`, which holds them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.waiting import eventually

PROGRAM = Path(__file__).with_name("crowd_program.py")


class Crowd:
    """Subscribers of one or several servers. `told` is what they said last."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()
        self.told: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, **orders: Any) -> dict[str, Any]:
        """Give orders, if any; return what is so now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._asking:
            self._process.stdin.write(json.dumps(orders).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, "the crowd has ended"
        self.told = json.loads(line)
        return self.told

    async def grow(
        self,
        urls: Sequence[str],
        document: str,
        variables: Sequence[Mapping[str, Any]],
        count: int,
        stalls_every: int = 0,
    ) -> None:
        """Let so many subscribe, one after the other to each; return when all know the present state."""
        topics = [{"query": document, "variables": one} for one in variables]
        served = self.told.get("served", 0)
        ports = [urlsplit(url).port for url in urls]
        await self.ask(ports=ports, grow={"topics": topics, "count": count, "stalls_every": stalls_every})
        await self.served(served + count, 60)

    async def served(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many have a socket, and a payload that came on it or before."""

        async def so() -> bool:
            return bool((await self.ask())["served"] == count)

        await eventually(so, f"{count} are served", seconds)

    async def ended(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many sockets have ended, ever."""

        async def so() -> bool:
            return bool((await self.ask()).get("ended") == count)

        await eventually(so, f"{count} have ended", seconds)

    async def end_on(self, expected: Sequence[Any], seconds: float) -> None:
        """Wait until the newest payload of each that reads is the data expected of its topic."""

        async def so() -> bool:
            last = (await self.ask())["last"]
            known = [[json.loads(payload or "null") for payload in one] for one in last]
            return known == [[{"data": data}] for data in expected]

        await eventually(so, "all subscribers end on the true state", seconds)


@asynccontextmanager
async def open_crowd() -> AsyncIterator[Crowd]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, PROGRAM, stdin=pipe, stdout=pipe, limit=2**26)
    try:
        yield Crowd(process)
    finally:
        process.kill()
        await process.communicate()
