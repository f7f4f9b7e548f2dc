"""A websocket without a library's manners: it reads, and answers pings, only when it is told to."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri


class RawSocket:
    """A connection and the protocol's state beside it."""

    def __init__(self, connection: socket.socket, protocol: ClientProtocol) -> None:
        self._connection = connection
        self.protocol = protocol
        self._frames: list[Frame] = []

    async def flush(self) -> None:
        """Send what the protocol has to say, pongs among it."""
        for chunk in self.protocol.data_to_send():
            await asyncio.get_running_loop().sock_sendall(self._connection, chunk)

    async def together(self) -> None:
        """As `flush`, in one piece."""
        await asyncio.get_running_loop().sock_sendall(self._connection, b"".join(self.protocol.data_to_send()))

    async def send(self, message: Any) -> None:
        self.protocol.send_text(json.dumps(message).encode())
        await self.flush()

    async def frame(self, seconds: float = 10.0) -> Frame:
        """Return the next frame; pings are answered at the next `flush`, if ever."""
        async with asyncio.timeout(seconds):
            while not self._frames:
                data = await asyncio.get_running_loop().sock_recv(self._connection, 65536)
                if not data:
                    self.protocol.receive_eof()
                    raise ConnectionResetError("the server closed the connection")
                self.protocol.receive_data(data)
                for event in self.protocol.events_received():
                    if isinstance(event, Frame):
                        self._frames.append(event)
                    else:
                        assert isinstance(event, Response)
                        assert event.status_code == 101
                        self._frames.append(Frame(Opcode.CONT, b"handshake"))
        return self._frames.pop(0)


@asynccontextmanager
async def open_raw(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[RawSocket]:
    """Open a websocket and shake hands as a guest; a small `receive_buffer` fills soon, in bytes."""
    address = parse_uri(re.sub("^http", "ws", url) + "/graphql")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (address.host, address.port))
        raw = RawSocket(connection, ClientProtocol(address, subprotocols=[Subprotocol("graphql-transport-ws")]))
        raw.protocol.send_request(raw.protocol.connect())
        await raw.flush()
        assert (await raw.frame()).data == b"handshake"
        await raw.send({"type": "connection_init"})
        assert json.loads((await raw.frame()).data) == {"type": "connection_ack"}
        yield raw
    finally:
        connection.close()
