"""The program as `make run` starts it: its own processes, its own data."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
READY_SECONDS = 90
STOP_SECONDS = 30


@contextmanager
def running(*command: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the program's commands until the block ends, then stop it as Ctrl-C does."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *command],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"`app {' '.join(command)}` did not stop within {STOP_SECONDS} s:\n{log.read_text()}")


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready(url):
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        pytest.fail(f"the server was not ready within {READY_SECONDS} s:\n{log.read_text()}")


@dataclass(frozen=True)
class Stack:
    url: str
    folder: Path
    environment: dict[str, str]

    @contextmanager
    def streaming(self, username: str) -> Iterator[None]:
        """Let a user broadcast until the block ends."""
        command = ("simulate", "live", username)
        with running(*command, environment=self.environment, log=self.folder / "simulate.log"):
            yield


@contextmanager
def started(folder: Path) -> Iterator[Stack]:
    """Serve from a new data folder until the block ends."""
    port = free_port()
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
        "DATA_DIR": str(folder / "data"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    log = folder / "serve.log"
    with running("serve", environment=environment, log=log) as server:
        wait_until_ready(url, server, log)
        yield Stack(url, folder, environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
