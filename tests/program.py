"""The program as people run it: a process of its own, in a folder of its own, spoken to by signals and sockets."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.waiting import until

ROOT = Path(__file__).parents[1]
READY_SECONDS = 90.0
STOP_SECONDS = 30.0

_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


class Program:
    """One run of `app.py`. Output goes to files, so that it never waits for a reader."""

    def __init__(self, folder: Path, *command: str, source: Path = ROOT, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        number = len(list(folder.glob("run-*.out")))
        self._out, self._err = folder / f"run-{number}.out", folder / f"run-{number}.err"
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, source / "app.py", *command],
                cwd=folder,
                env={**kept, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._family: list[psutil.Process] = []

    @property
    def out(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text("utf-8")

    @property
    def complaints(self) -> list[str]:
        """What was said on standard error apart from the log."""
        return [line for line in self.err.splitlines() if line and not _LOGGED.match(line)]

    def says(self, text: str, seconds: float = READY_SECONDS) -> None:
        """Wait until standard output holds the text."""
        until(lambda: text in self.out or self.process.poll() is not None, f"{text!r} in {self._out}", seconds)
        assert text in self.out, self.err

    def logs(self, text: str, seconds: float = READY_SECONDS) -> None:
        """Wait until standard error holds the text."""
        until(lambda: text in self.err or self.process.poll() is not None, f"{text!r} in {self._err}", seconds)
        assert text in self.err, self.out

    def remember(self) -> None:
        """Note who depends on the process now, for `survivors`."""
        self._family = psutil.Process(self.process.pid).children(recursive=True)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and note who depends on the process."""
        self.remember()
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.send(number)
        return self.wait()

    def survivors(self) -> list[psutil.Process]:
        """Processes that depended on this one, and run on."""
        return [each for each in self._family if _runs(each)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGINT)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Outcome:
    """What a command that ended by itself has said."""

    code: int
    out: str
    err: str
    complaints: list[str]


def run(folder: Path, *command: str, source: Path = ROOT, **environment: str) -> Outcome:
    """Run a command to its end."""
    with Program(folder, *command, source=source, **environment) as program:
        code = program.wait(READY_SECONDS)
        return Outcome(code, program.out, program.err, program.complaints)


class Served(Program):
    """`serve` with a data directory of its own, on a free port unless told otherwise."""

    def __init__(self, folder: Path, *arguments: str, source: Path = ROOT, **environment: str) -> None:
        own = {"DATA_DIR": str(folder / "data"), "PORT": "0"}
        super().__init__(folder, "serve", *arguments, source=source, **{**own, **environment})
        self.data = folder / "data"

    @property
    def running(self) -> dict[str, Any]:
        """What it announced to the other commands."""
        announced: dict[str, Any] = json.loads((self.data / "run.json").read_text("utf-8"))
        return announced

    def ready(self) -> str:
        """Wait for the banner; return the address."""
        self.says("Ctrl-C")
        found = re.search(r"(http://\S+)/graphql", self.out)
        assert found, self.out
        return found[1]

    def child(self, name: str) -> psutil.Process:
        """One of the processes it started, by a part of its command line."""
        found = [
            each for each in psutil.Process(self.process.pid).children() if any(name in part for part in each.cmdline())
        ]
        assert len(found) == 1, found
        return found[0]


def ask(url: str, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> dict[str, Any]:
    """Send one operation that must succeed; return its data."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    response = httpx.post(
        f"{url}/graphql", json={"query": document, "variables": variables}, headers=headers, timeout=30
    )
    body = response.json()
    assert "errors" not in body, body
    data: dict[str, Any] = body["data"]
    return data


def copy_of_sources(target: Path) -> Path:
    """Copy what the program is made of, and nothing that was installed into the checkout."""
    for name in ("ivs", "models", "resolvers", "schema", "server", "subscriptions"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "schema.graphql"):
        shutil.copy(ROOT / name, target)
    return target
