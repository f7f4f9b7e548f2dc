"""A TCP connection that can break: stands between a server and its database, or what else it needs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from sqlalchemy import make_url


class Relay:
    """Passes bytes on until it is cut; refuses connections until it is mended.

    Of several targets each has its turn, or the next one that accepts.
    """

    def __init__(self, *targets: tuple[str, int]) -> None:
        self._targets = list(targets)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def lead_to(self, *urls: str) -> None:
        """Let later connections end there, as after a restart that took another port."""
        self._targets = [_address(url) for url in urls]

    async def mend(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def through(self, url: str) -> str:
        """Return the URL by way of the relay."""
        return make_url(url).set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await self._connect()
        if far is None:
            writer.transport.abort()
            return
        far_reader, far_writer = far
        if self._server is None or not self._server.is_serving():
            # Cut in the meantime.
            writer.transport.abort()
            far_writer.transport.abort()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._writers.add(sink)
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(len(self._targets)):
            target = self._targets.pop(0)
            self._targets.append(target)
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(*target)
        return None

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)


def _address(url: str) -> tuple[str, int]:
    target = make_url(url)
    assert target.host is not None
    assert target.port is not None
    return target.host, target.port


@asynccontextmanager
async def relayed(*urls: str) -> AsyncIterator[Relay]:
    """A relay to the hosts and ports of these, cut at the end."""
    relay = await Relay(*map(_address, urls)).mend()
    try:
        yield relay
    finally:
        await relay.cut()
