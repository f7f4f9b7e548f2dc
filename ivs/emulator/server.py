"""Serves the emulator: a threaded HTTP server on loopback, with connections that are kept."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.datastructures import Headers
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import run_wsgi_app

from ivs.emulator import broadcasts
from ivs.emulator.application import Application
from ivs.emulator.world import World

SWEEP_SECONDS = 0.25
STOP_SECONDS = 0.1

log = logging.getLogger(__name__)


class Handler(MotoRequestHandler):
    """moto's request handler, silent, with an answer in one write and connections that are kept, as AWS keeps them.

    werkzeug's own `run_wsgi` closes every connection, and before that throws away whatever was sent on it.
    """

    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answers one request; a fault of ours goes to standard error and becomes status 500."""
        try:
            body, status, headers = run_wsgi_app(self.server.app, self.make_environ(), buffered=True)
        except ConnectionAbortedError:
            self.close_connection = True
            return
        except Exception:
            # Whatever it is, a client waits for an answer, and AWS would give it this one.
            log.exception("%s %s failed", self.command, self.path)
            body, status, headers = [], "500 INTERNAL SERVER ERROR", Headers()
        self.send_response_only(int(status.partition(" ")[0]), status.partition(" ")[2])
        for name, value in headers.items():
            self.send_header(name, value)
        content = b"".join(body)
        if "Content-Length" not in headers and not status.startswith("204"):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing: the calls can be read at the control door."""


def serve(host: str, port: int, state: Path | None) -> None:
    """Serves until SIGINT or SIGTERM; `port` 0 takes a free one. Prints the address when it answers.

    Raises:
        StateError: the state file cannot be used.
        OSError: the port cannot be taken.
    """
    world = World(state)
    with world.transaction():
        broadcasts.resume(world)
    # Bound here, because werkzeug ends the process by itself when the port is busy.
    listener = socket.create_server((host, port), backlog=128)
    server = make_server(host, port, Application(world), threaded=True, request_handler=Handler, fd=listener.fileno())
    stopped = threading.Event()
    _stop_on_signals(server, stopped)
    sweeper = threading.Thread(target=_sweep, args=(world, stopped), daemon=True)
    sweeper.start()
    sys.stdout.write(f"emulator ready http://{host}:{server.port}\n")
    sys.stdout.flush()
    with contextlib.closing(world.store), listener:
        server.serve_forever(poll_interval=STOP_SECONDS)
        stopped.set()
        sweeper.join()
        server.server_close()


def _stop_on_signals(server: BaseWSGIServer, stopped: threading.Event) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        # shutdown() waits for serve_forever, which runs in this very thread.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _sweep(world: World, stopped: threading.Event) -> None:
    while not stopped.wait(SWEEP_SECONDS):
        with world.transaction():
            broadcasts.sweep(world)
