"""Several processes that serve behind one listening socket, and the one that looks after them."""

import asyncio
import logging
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

READY: Final = b"process ready\n"
"""What a process prints as soon as it serves. The end of its output is its own."""

# Seconds until a process that has ended is started again; one that lived for longer than the longest is new to this.
_SHORTEST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0

Start = Callable[[int], "subprocess.Popen[bytes]"]


class _Process:
    def __init__(self, process: "subprocess.Popen[bytes]", forget: Callable[[int], None]) -> None:
        self._process = process
        self._forget = forget
        self._born = time.monotonic()
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.create_task(self._follow(), name=f"process-{process.pid}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age(self) -> float:
        return time.monotonic() - self._born

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def _follow(self) -> int:
        output = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), self._process.stdout
        )
        self.ready.set_result(await output.readline() == READY)
        await output.read()
        transport.close()
        code = self._process.wait()
        self._forget(self.pid)
        return code


class Processes:
    """So many processes, each with a number from 0 on; `start` starts the one of a number, `forget` is told who ended.

    One that ends is started again, after a pause that grows if it does so again and again.
    """

    def __init__(self, count: int, start: Start, forget: Callable[[int], None]) -> None:
        self._start = start
        self._forget = forget
        self._stopping = asyncio.Event()
        self._living: set[_Process] = set()
        self._last: set[_Process] = set()
        self._current = {number: self._begin(number) for number in range(count)}
        self._replacing: asyncio.Task[None] | None = None

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Keep all running until `stop`; call `on_ready` when all serve for the first time.

        Returns:
            The exit code: 0, or that of a process which ended with another in the end, or did not even begin to serve.
        """
        first = list(self._current.values())
        if not all(await asyncio.gather(*(process.ready for process in first))):
            # What is wrong with one now is wrong with all.
            self.stop()
            self._last.update(first)
        elif not self._stopping.is_set():
            on_ready()
        if not self._stopping.is_set():
            await asyncio.gather(*(self._keep(number) for number in self._current))
        if self._replacing is not None:
            await self._replacing
        codes = [await process.ended for process in self._last]
        # Who is told to end before it has begun to listen to that ends by the signal.
        return next((code if code > 0 else 1 for code in codes if code not in {0, -signal.SIGTERM}), 0)

    def stop(self) -> None:
        """Let all end, and start none again; when called again, without waiting for work in hand."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._last.update(self._living)
        for process in self._living:
            process.send(signal.SIGTERM)

    def replace(self) -> None:
        """Put a new process into the place of each, one by one; the old one goes on until the new one serves."""
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.create_task(self._replace(), name="replace-processes")

    async def _replace(self) -> None:
        for number in self._current:
            if self._stopping.is_set():
                return
            fresh = self._begin(number)
            if not await fresh.ready:
                if not self._stopping.is_set():
                    logger.error("the new process %d has ended before it served; the old ones go on", fresh.pid)
                return
            old, self._current[number] = self._current[number], fresh
            old.send(signal.SIGTERM)
            await old.ended

    async def _keep(self, number: int) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            process = self._current[number]
            code = await process.ended
            if self._stopping.is_set():
                return
            if self._current[number] is not process:
                continue
            pause = _SHORTEST_PAUSE if process.age > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            logger.warning("process %d has ended with %d; another begins in %g s", process.pid, code, pause)
            if await self._stops_within(pause):
                return
            if self._current[number] is process:
                self._current[number] = self._begin(number)

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _begin(self, number: int) -> _Process:
        process = _Process(self._start(number), self._forget)
        self._living.add(process)
        process.ended.add_done_callback(lambda _: self._living.discard(process))
        return process
