"""uvicorn's websocket, which the application can also write to without waiting, and ask whether it could."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from schema.transport.config import WIRE

# Bytes that wait for a client beyond which it counts as one that does not read.
BUFFER: Final = 32_768

# Source: RFC 6455, 5.2: FIN and the opcode of text; lengths in 7 bits, in 16 after 126, in 64 after 127.
_TEXT: Final = 0x81
_SHORT: Final = 125
_LONG: Final = 0xFFFF


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, in its scope's extensions under the name of `WIRE`.

    What ASGI has for sending is a coroutine through every layer of the application, and waits: for thousands of sockets
    that are told the same, it costs more than the sending itself.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.on_writable: Callable[[], None] = _nothing
        self._drop: asyncio.TimerHandle | None = None

    @property
    def is_writable(self) -> bool:
        """Whether the client takes what it gets."""
        return self.writable.is_set()

    def write_text(self, *parts: bytes) -> None:
        """Send a text message of these parts, in UTF-8; nothing if the socket is over."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        if self.conn.extensions:
            self.conn.send_text(b"".join(parts))
            self.transport.write(b"".join(self.conn.data_to_send()))
            return
        self.transport.write(b"".join((_head(sum(map(len, parts))), *parts)))

    def abort(self) -> None:
        """Drop the client, with all that waits for it."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; bound what waits for a client that does not read."""
        super().connection_made(transport)
        bound(cast("asyncio.WriteTransport", transport))

    def handle_connect(self, event: Any) -> None:
        """Answer the handshake; the application finds this protocol in the scope."""
        super().handle_connect(event)
        if not self.close_sent:
            cast("dict[str, Any]", self.scope["extensions"])[WIRE] = self

    async def send(self, message: Any) -> None:
        """Send what the application says."""
        if self.transport.is_closing():
            # Before websockets finds out by an assertion.
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Several kilobytes of headers, which nobody asks for again.
            del self.request, self.response

    def keepalive_timeout(self) -> None:
        """End what does not answer; a laptop that wakes up comes back, as it would not after uvicorn's 1011."""
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(1001, "Client does not answer pings")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.transport.get_write_buffer_size():
            # Closing waits until everything is taken, by a client that takes nothing.
            self.transport.abort()
        self.transport.close()

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Give the client some time for what was said last."""
        super().on_task_complete(task)
        if not self.disconnected and self.ping_timeout is not None:
            self._drop = self.loop.call_later(self.ping_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        if self._drop is not None:
            self._drop.cancel()
        # Who waits to send need not wait any more.
        self.on_writable()

    def resume_writing(self) -> None:
        """Go on after the client has read."""
        super().resume_writing()
        self.on_writable()


def bound(transport: asyncio.WriteTransport) -> None:
    """Bound what waits for a client that does not read."""
    transport.set_write_buffer_limits(high=BUFFER)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # Linux would take up to four megabytes more for a socket, all of them older than what could be sent later.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BUFFER)


def _head(length: int) -> bytes:
    if length <= _SHORT:
        return bytes((_TEXT, length))
    if length <= _LONG:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


def _nothing() -> None:
    """Nobody waits yet."""
