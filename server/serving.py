"""uvicorn, set up for this server and taught to end subscriptions before it closes sockets."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from server.http import HttpProtocol
from server.settings import Settings
from server.web import Web
from server.websockets import WebSocketProtocol

# Objects that were made and live still until the collector looks at them; rounds until it looks at older ones, and all.
_COLLECTOR: Final = (50_000, 20, 20)


class Server(uvicorn.Server):
    """A uvicorn server with a moment before its shutdown and one after its start."""

    def __init__(self, web: Web, settings: Settings, on_ready: Callable[[], None]) -> None:
        super().__init__(_config(web, settings))
        self._web = web
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully at SIGINT and SIGTERM; at the second one drop what is left.

        uvicorn raises the signal again when it is done, which would end the process before our own clean-up.
        """
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Begin to shut down, as at SIGTERM."""
        self.should_exit = True

    async def startup(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        # What exists now lives as long as the process; the collector need not walk it at every turn.
        gc.collect()
        gc.freeze()
        # An answer makes thousands of objects and hardly a cycle: at Python's 700 most rounds find nothing.
        gc.set_threshold(*_COLLECTOR)
        self._on_ready()

    async def shutdown(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Let clients go on elsewhere, then close what is left."""
        await self._web.shut_down()
        await super().shutdown(sockets)


def _config(web: Web, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        web.app,
        # The services are opened before the application is built.
        lifespan="off",
        # Of uvicorn's three it takes the least memory per socket.
        ws=WebSocketProtocol,
        ws_max_size=settings.socket_max_message_bytes,
        ws_ping_interval=settings.socket_ping_seconds,
        ws_ping_timeout=settings.socket_ping_seconds,
        # Each socket has a window of its own, and the messages are small.
        ws_per_message_deflate=settings.socket_compression,
        http=HttpProtocol,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        server_header=False,
        access_log=False,
        log_config=None,
        # At DEBUG it logs the headers and frames of websockets, and so cookies and tokens.
        log_level="warning",
        timeout_graceful_shutdown=max(1, int(settings.shutdown_seconds)),
    )
