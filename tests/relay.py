"""A TCP connection that can break: stands between a server and its database, or what else it needs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

from sqlalchemy import make_url


class Relay:
    """Passes bytes on until it is cut; refuses connections until it is mended.

    Of several targets each has its turn, or the next one that accepts.
    """

    def __init__(self, *targets: tuple[str, int]) -> None:
        self._targets = list(targets)
        self._port = 0
        self._listener: socket.socket | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def lead_to(self, *urls: str) -> None:
        """Let later connections end there, as after a restart that took another port."""
        self._targets = [_address(url) for url in urls]

    async def mend(self) -> Self:
        # asyncio's own server, when it is closed, forgets who was just being accepted and leaves them waiting.
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        self._listener.settimeout(0)
        self._port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)
        return self

    async def cut(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for writer in list(self._writers):
            writer.transport.abort()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def through(self, url: str) -> str:
        """Return the URL by way of the relay."""
        return make_url(url).set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            self._begin(self._serve(connection))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        far = await self._connect()
        if far is None or self._listener is None:
            # Nobody there, or cut in the meantime.
            for one in (writer, *(() if far is None else (far[1],))):
                one.transport.abort()
            return
        far_reader, far_writer = far
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._writers.add(sink)
            self._begin(self._pass_on(source, sink))

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
