"""A server of ours as a process of its own, for benchmarks that load it from outside."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVE = (str(ROOT / "app.py"), "serve")


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def served(port: int, environ: Mapping[str, str], arguments: Sequence[str] = SERVE) -> Iterator[int]:
    """Run a server by Python with these arguments; give its process when it listens, and end it after the block."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{' '.join(arguments)} did not start"
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)
