"""The websocket transport: graphql-transport-ws, word for word.

Written here and not taken from the framework because live fan-out is what this server is for: it needs one place that
knows a socket's operations, its session and its pace.
"""

import asyncio
from typing import Any

from litestar import WebSocket
from prometheus_client import Gauge

from resolvers.context import Services
from schema.execution import Executor
from schema.transport.config import TransportConfig, origin_allowed
from schema.transport.connection import Connection
from schema.transport.graphql_ws import PROTOCOL

SOCKETS = Gauge("streamcat_sockets", "Open websockets")


class WebSocketTransport:
    """Accepts sockets on the GraphQL path, and ends them all at shutdown."""

    def __init__(self, executor: Executor, services: Services, config: TransportConfig) -> None:
        self._executor = executor
        self._services = services
        self._config = config
        self._connections: set[Connection] = set()
        self._closing = False

    async def serve(self, socket: "WebSocket[Any, Any, Any]") -> None:
        """Serve one socket until it ends."""
        origin, host = socket.headers.get("origin"), socket.headers.get("host")
        if self._closing or not origin_allowed(origin, host, self._config.allowed_origins):
            # Before the handshake is answered this is HTTP 403.
            await socket.close(code=1012 if self._closing else 1008)
            return
        if PROTOCOL not in socket.scope.get("subprotocols", []):
            await socket.accept()
            await socket.close(code=4406, reason="Subprotocol not acceptable")
            return
        await socket.accept(subprotocols=PROTOCOL)
        connection = Connection(socket, self._executor, self._services, self._config)
        self._connections.add(connection)
        SOCKETS.inc()
        try:
            await connection.run()
        finally:
            SOCKETS.dec()
            self._connections.discard(connection)

    async def shut_down(self) -> None:
        """Refuse new sockets; let running operations complete, then close each socket so that its client reconnects."""
        self._closing = True
        await asyncio.gather(*(connection.shut_down() for connection in list(self._connections)))
