"""One server's turn: changes are made, all deliveries are checked, and what they cost is taken down."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from bench.fanout.crowd import Crowd, Reactor
from bench.fanout.said import Scenario
from bench.served import ROOT


@dataclass(frozen=True)
class Round:
    """What one turn brought.

    Attributes:
        deliveries: Frames that arrived, each checked.
        made: Changes times sockets.
        busy: Seconds from the beginning of a change until it was everywhere, of all changes; waits are no part of it.
        cpu: Seconds of the server's processes.
        latencies: From the beginning of a change until its last delivery, in ms.
        server: Share of the busy time in which the server worked: less than 1 at full load, the machine had others.
        client: Share of the time in which the client's process worked: near 1 it is the client that is measured.
    """

    deliveries: int
    made: int
    busy: float
    cpu: float
    latencies: Sequence[float]
    client: float

    @property
    def per_second(self) -> float:
        return self.deliveries / self.busy

    @property
    def server(self) -> float:
        return self.cpu / self.busy

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.deliveries * 1e6


class Source:
    """The process that makes changes, told through its pipes."""

    def __init__(self, environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "bench.fanout.source"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, server: str, scenario: Scenario, first: int, count: int) -> None:
        """Have it make changes, one after the other."""
        assert self._process.stdin is not None
        asked = {"server": server, "scenario": scenario.name, "first": first, "count": count}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def began(self) -> list[float]:
        """Return when the changes that were asked for began; wait until they are made."""
        assert self._process.stdout is not None
        times: list[float] = json.loads(self._process.stdout.readline())
        return times

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@dataclass(frozen=True)
class Pace:
    """A change `every` so many seconds, but none until a `pause` after the one before has arrived everywhere.

    For so many `seconds`, and not fewer changes than `least`.
    """

    every: float = 0
    pause: float = 0
    seconds: float = 0
    least: int = 1


@dataclass(frozen=True)
class Turns:
    """What every turn needs."""

    reactor: Reactor
    source: Source
    scenario: Scenario

    def steady(self, crowd: Crowd, pid: int, pace: Pace) -> Round:
        """Make changes at this pace.

        No server can get behind, and every socket must receive every change.
        """
        meter = _Meter(crowd, pid)
        latencies: list[float] = []
        due = time.perf_counter() + pace.pause
        until = due + pace.seconds
        while len(latencies) < pace.least or due < until:
            self.reactor.idle(due)
            latencies.append(self._spread(crowd, 1))
            due = max(due + pace.every, time.perf_counter() + pace.pause)
        assert not crowd.skipped, f"{crowd.name} left out {crowd.skipped} frames"
        return meter.read(len(latencies), sum(latencies), latencies)

    def burst(self, crowd: Crowd, pid: int, count: int) -> Round:
        """Make many changes at once; ours may leave out all but the newest."""
        meter = _Meter(crowd, pid)
        took = self._spread(crowd, count)
        assert crowd.name == "ours" or not crowd.skipped, f"{crowd.name} left out {crowd.skipped} frames"
        assert all(member.last == crowd.number for member in crowd.members)
        return meter.read(count, took, [took])

    def _spread(self, crowd: Crowd, count: int) -> float:
        """Make changes; return the seconds from the first one until the last one was everywhere."""
        newest = crowd.number + count
        self.source.ask(crowd.name, self.scenario, crowd.number + 1, count)
        self.reactor.run(lambda: newest in crowd.done)
        crowd.number = newest
        return crowd.done[newest] - self.source.began()[0]


class _Meter:
    def __init__(self, crowd: Crowd, pid: int) -> None:
        self._crowd, self._pid = crowd, pid
        crowd.frames = crowd.skipped = 0
        self._cpu, self._own, self._at = cpu(pid), time.process_time(), time.perf_counter()

    def read(self, changes: int, busy: float, latencies: Sequence[float]) -> Round:
        elapsed = time.perf_counter() - self._at
        crowd, made = self._crowd, changes * len(self._crowd.members)
        assert crowd.frames + crowd.skipped == made, f"{crowd.name}: {crowd.frames} frames and {crowd.skipped} left out"
        return Round(
            crowd.frames,
            made,
            busy,
            cpu(self._pid) - self._cpu,
            [latency * 1000 for latency in latencies],
            (time.process_time() - self._own) / elapsed,
        )


def cpu(pid: int) -> float:
    """Return the CPU time of a process and its children, user and system, in seconds.

    By the process's own clock, which /proc/<pid>/stat shows in hundredths of a second only.
    """
    return sum(time.clock_gettime((~one.pid << 3) | 2) for one in _tree(pid))


def memory(pid: int) -> tuple[int, int]:
    """Return resident and proportional set size of a process and its children, in bytes."""
    infos = [one.memory_full_info() for one in _tree(pid)]
    return sum(info.rss for info in infos), sum(info.pss for info in infos)


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def at(values: Sequence[float], share: float) -> float:
    """Return the value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def ratios(ours: Sequence[float], others: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, and their spread."""
    found = [one / other for one, other in zip(ours, others, strict=True)]
    return f"{statistics.median(found):6.2f} ({min(found):.2f} to {max(found):.2f})"
