"""The websocket transport: graphql-transport-ws, word for word.

Written here and not taken from the framework because live fan-out is what this server is for: it needs one place that
knows a socket's operations, its session and its pace.
"""

import asyncio
from collections import Counter
from typing import Any

import msgspec
from litestar import WebSocket
from litestar.types import Receive, Scope, Send
from prometheus_client import Gauge

from resolvers.context import Services
from schema.execution import Executor
from schema.faults import request_error
from schema.limits import LIMITS
from schema.live import Runs
from schema.transport.config import WIRE, TransportConfig, origin_allowed
from schema.transport.connection import Connection
from schema.transport.graphql_ws import PROTOCOL
from schema.transport.viewers import Visitor

SOCKETS = Gauge("streamcat_sockets", "Open websockets")


class WebSocketTransport:
    """Accepts sockets on the GraphQL path, and ends them all at shutdown."""

    def __init__(self, executor: Executor, runs: Runs, services: Services, config: TransportConfig) -> None:
        self._executor = executor
        self._runs = runs
        self._services = services
        self._config = config
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._closing = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends."""
        # With a state of its own, since what Litestar remembers of a handshake would live as long as the socket.
        own: Any = {**scope, "state": {}}
        handshake: WebSocket[Any, Any, Any] = WebSocket(own, receive, send)
        visitor = await self._admitted(handshake)
        if visitor is None:
            return
        wire: Any = scope["extensions"][WIRE]  # type: ignore[index]
        connection = Connection(visitor, wire, receive, send, self._executor, self._runs, self._services, self._config)
        # As do these, which nobody asks for again.
        del handshake
        scope["headers"] = ()
        self._connections.add(connection)
        self._addresses[visitor.address] += 1
        SOCKETS.inc()
        try:
            await connection.run()
        finally:
            SOCKETS.dec()
            self._connections.discard(connection)
            self._addresses[visitor.address] -= 1
            if not self._addresses[visitor.address]:
                del self._addresses[visitor.address]

    async def _admitted(self, socket: "WebSocket[Any, Any, Any]") -> Visitor | None:
        """Accept the socket and return who made it, or say why not."""
        origin, host = socket.headers.get("origin"), socket.headers.get("host")
        if self._closing or not origin_allowed(origin, host, self._config.allowed_origins):
            # Before the handshake is answered this is HTTP 403.
            await socket.close(code=1012 if self._closing else 1008)
            return None
        visitor = Visitor.of(socket)
        if len(self._connections) >= self._config.sockets:
            await _refuse(socket, 503, "sockets", f"The server already serves {self._config.sockets} websockets.")
        elif self._addresses[visitor.address] >= self._config.sockets_per_address:
            limit = self._config.sockets_per_address
            await _refuse(socket, 429, "sockets_per_address", f"Your address already has {limit} websockets open.")
        elif PROTOCOL not in socket.scope.get("subprotocols", []):
            await socket.accept()
            await socket.close(code=4406, reason="Subprotocol not acceptable")
        else:
            await socket.accept(subprotocols=PROTOCOL)
            return visitor
        return None

    async def shut_down(self) -> None:
        """Refuse new sockets; let queries and mutations be answered, then close each so that its client reconnects."""
        self._closing = True
        await asyncio.gather(*(connection.shut_down() for connection in list(self._connections)))


async def _refuse(socket: "WebSocket[Any, Any, Any]", status: int, limit: str, message: str) -> None:
    """Answer the handshake by an error of HTTP; clients try again later."""
    LIMITS.labels(limit).inc()
    body = msgspec.json.encode(request_error("TOO_COSTLY", message))
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"5")]
    start: Any = {"type": "websocket.http.response.start", "status": status, "headers": headers}
    end: Any = {"type": "websocket.http.response.body", "body": body, "more_body": False}
    await socket.send(start)
    await socket.send(end)
