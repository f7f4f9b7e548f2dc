"""A subscriber as pages have one: it keeps the newest frame, and comes back when it is told to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import websockets

from tests.client import open_socket
from tests.waiting import eventually

_PAUSE = 0.1


class Watcher:
    """All frames of one subscription, which is begun anew when the server ends it with a fault of its own.

    Attributes:
        frames: Data of each frame, oldest first.
        begun: How often the subscription was begun.
    """

    def __init__(self, url: str, document: str, variables: dict[str, Any], token: str | None = None) -> None:
        self._url = url
        self._payload = (document, variables)
        self._token = token
        self.frames: list[Any] = []
        self.begun = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(websockets.ConnectionClosed, OSError):
                async with open_socket(self._url, self._token) as socket:
                    await socket.subscribe("1", *self._payload)
                    self.begun += 1
                    await self._listen(socket.raw)
            await asyncio.sleep(_PAUSE)

    async def _listen(self, raw: websockets.ClientConnection) -> None:
        async for text in raw:
            message = json.loads(text)
            if message["type"] != "next":
                return
            if "errors" in message["payload"]:
                assert {error["extensions"]["code"] for error in message["payload"]["errors"]} == {"UNAVAILABLE"}
                return
            self.frames.append(message["payload"]["data"])

    async def ends_on(self, expected: Any, seconds: float = 20.0) -> None:
        """Wait until the newest frame is the expected one."""

        async def so() -> bool:
            return bool(self.frames) and self.frames[-1] == expected

        try:
            await eventually(so, "the newest frame is the expected one", seconds)
        finally:
            assert (self.frames[-1] if self.frames else None) == expected


@asynccontextmanager
async def watching(
    url: str, document: str, variables: dict[str, Any], token: str | None = None, *, frame: bool = True
) -> AsyncIterator[Watcher]:
    """A watcher that has begun and, unless told otherwise, has got its first frame."""
    watcher = Watcher(url, document, variables, token)
    task = asyncio.create_task(watcher.run())

    async def begun() -> bool:
        return bool(watcher.frames if frame else watcher.begun) or task.done()

    await eventually(begun, "the first frame")
    try:
        yield watcher
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
