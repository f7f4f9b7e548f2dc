"""What processes have worked, and what a server says of itself."""

import re
import time
import urllib.request
from dataclasses import dataclass

import psutil

from bench.fanout.rounds import cpu


def postgres_pid() -> int:
    """Return the process of the PostgreSQL that was started here."""
    return next(one.pid for one in psutil.Process().children(recursive=True) if one.name().startswith("postgres"))


def worked(pid: int) -> float:
    """Return the CPU time of a process, its children, and those of them that have ended, in seconds."""
    while True:
        ended = psutil.Process(pid).cpu_times()
        try:
            return cpu(pid) + ended.children_user + ended.children_system
        except (OSError, psutil.NoSuchProcess):
            # One has ended meanwhile.
            continue


@dataclass(frozen=True)
class Moment:
    """CPU times of a server and of PostgreSQL at a time."""

    at: float
    server: float
    postgres: float


class Meter:
    """Reads both."""

    def __init__(self, server: int | None, postgres: int) -> None:
        self._server, self._postgres = server, postgres
        self.start = self.read()

    def read(self) -> Moment:
        server = worked(self._server) if self._server is not None else 0.0
        return Moment(time.perf_counter(), server, worked(self._postgres))

    def since(self) -> Moment:
        """Return what was spent since the last call, or the beginning."""
        before, self.start = self.start, self.read()
        after = self.start
        return Moment(after.at - before.at, after.server - before.server, after.postgres - before.postgres)


def counted(port: int, name: str) -> float:
    """Return the sum of a metric of the server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        told = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", told, re.MULTILINE))
