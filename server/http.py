"""uvicorn's HTTP connection, which the application can also write to without waiting, and ask whether it could."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schema.transport.config import WIRE
from server.websockets import bound


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, in its scopes' extensions under the name of `WIRE`: for what streams, as for websockets.

    It may be written to between the start of a response without a length and its end, which go the way of ASGI.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.on_writable: Callable[[], None] = _nothing
        self._streamed = False
        self._drop: asyncio.TimerHandle | None = None

    @property
    def is_writable(self) -> bool:
        """Whether the client takes what it gets."""
        return not self.flow.write_paused

    def write_text(self, *parts: bytes) -> None:
        """Send a piece of the response; nothing if the connection is over."""
        if not self.transport.is_closing():
            if not self._streamed:
                self._streamed = True
                bound(self.transport)
            # Source: RFC 9112, 7.1: a chunk is its length, itself, and the end of a line.
            self.transport.write(b"".join((b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n")))

    def abort(self) -> None:
        """Drop the client, with all that waits for it."""
        self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request; the application finds this protocol in its scope."""
        super().on_message_begin()
        self.scope["extensions"] = {WIRE: self}  # type: ignore[dict-item]

    def resume_writing(self) -> None:
        """Go on after the client has read."""
        super().resume_writing()
        self.on_writable()

    def on_response_complete(self) -> None:
        """Give the client of a stream some time for what was said last: closing waits for it, and it may never read."""
        super().on_response_complete()
        if self._streamed and self._drop is None and self.config.ws_ping_timeout is not None:
            self._drop = self.loop.call_later(self.config.ws_ping_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; who waits to write need not any more."""
        super().connection_lost(exc)
        if self._drop is not None:
            self._drop.cancel()
        self.on_writable()


def _nothing() -> None:
    """Nobody waits yet."""
