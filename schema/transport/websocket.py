"""The websocket transport: graphql-transport-ws, word for word.

Written here and not taken from the framework because live fan-out is what this server is for: it needs one place that
knows a socket's operations, its session and its pace.
"""

import asyncio
from typing import Any

import msgspec
from litestar import WebSocket
from litestar.types import Receive, Scope, Send

from resolvers.context import Services
from schema.execution import Executor
from schema.live import Runs
from schema.transport.answers import JSON, Refusal, encoded_headers
from schema.transport.config import WIRE, TransportConfig, origin_allowed
from schema.transport.connection import Connection
from schema.transport.graphql_ws import PROTOCOL
from schema.transport.places import Places
from schema.transport.viewers import Visitor


class WebSocketTransport:
    """Accepts sockets on the GraphQL path, and ends them all at shutdown."""

    def __init__(
        self, executor: Executor, runs: Runs, services: Services, config: TransportConfig, places: Places
    ) -> None:
        self._executor = executor
        self._runs = runs
        self._services = services
        self._config = config
        self._places = places
        self._connections: set[Connection] = set()
        self._closing = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends."""
        # With a state of its own, since what Litestar remembers of a handshake would live as long as the socket.
        own: Any = {**scope, "state": {}}
        handshake: WebSocket[Any, Any, Any] = WebSocket(own, receive, send)
        origin, host = handshake.headers.get("origin"), handshake.headers.get("host")
        if not origin_allowed(origin, host, self._config.allowed_origins):
            # Before the handshake is answered this is HTTP 403.
            await handshake.close(code=1008)
            return
        if self._closing:
            # A handshake that fails is the end for graphql-ws as it is by default; after this close it tries elsewhere.
            if await _accepted(handshake):
                await handshake.close(code=1012, reason="Service restart")
            return
        visitor = Visitor.of(handshake)
        try:
            with self._places.taken(visitor.address):
                if not await _accepted(handshake):
                    return
                wire: Any = scope["extensions"][WIRE]  # type: ignore[index]
                connection = Connection(
                    visitor, wire, receive, send, self._executor, self._runs, self._services, self._config
                )
                # As do these, which nobody asks for again.
                del handshake
                scope["headers"] = ()
                self._connections.add(connection)
                try:
                    await connection.run()
                finally:
                    self._connections.discard(connection)
        except Refusal as refusal:
            await _refuse(send, refusal)

    async def shut_down(self) -> None:
        """Refuse new sockets; let queries and mutations be answered, then close each so that its client reconnects."""
        self._closing = True
        await asyncio.gather(*(connection.shut_down() for connection in list(self._connections)))


async def _accepted(handshake: "WebSocket[Any, Any, Any]") -> bool:
    """Shake hands, and tell whether that is possible."""
    if PROTOCOL in handshake.scope.get("subprotocols", []):
        await handshake.accept(subprotocols=PROTOCOL)
        return True
    await handshake.accept()
    await handshake.close(code=4406, reason="Subprotocol not acceptable")
    return False


async def _refuse(send: Send, refusal: Refusal) -> None:
    """Answer the handshake by an error of HTTP; clients try again later."""
    headers = encoded_headers({"Content-Type": JSON, **refusal.headers})
    start: Any = {"type": "websocket.http.response.start", "status": refusal.status, "headers": headers}
    body = msgspec.json.encode(refusal.response)
    end: Any = {"type": "websocket.http.response.body", "body": body, "more_body": False}
    await send(start)
    await send(end)
