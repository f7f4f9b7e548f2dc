"""Load on one server, and what it costs: connections that ask one after the other, and each process's own CPU time."""

import asyncio
import statistics
import time
from dataclasses import dataclass, fields
from typing import Self

import psutil


@dataclass(frozen=True)
class Target:
    """One document at one server: what is sent, and to whom."""

    pid: int
    port: int
    path: str
    headers: str
    body: bytes


@dataclass(frozen=True)
class Figures:
    requests_per_second: float
    server_ms: float
    postgres_ms: float
    p50_ms: float
    p99_ms: float


def median(rounds: list[Figures]) -> Figures:
    return Figures(*(statistics.median(getattr(one, field.name) for one in rounds) for field in fields(Figures)))


class Connection:
    """A kept HTTP connection; only as much of HTTP as the measured servers speak."""

    def __init__(self, target: Target) -> None:
        self._port = target.port
        head = (
            f"POST {target.path} HTTP/1.1\r\nhost: 127.0.0.1:{target.port}\r\ncontent-type: application/json\r\n"
            f"{target.headers}content-length: {len(target.body)}\r\n\r\n"
        )
        self._request = head.encode() + target.body

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self) -> bytes:
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return await self._reader.readexactly(length)


async def ask(target: Target) -> bytes:
    async with Connection(target) as connection:
        return await connection.ask()


async def measure(target: Target, connections: int, seconds: float) -> Figures:
    latencies: list[float] = []

    async def load(until: float) -> None:
        async with Connection(target) as connection:
            while (start := time.perf_counter()) < until:
                await connection.ask()
                latencies.append(time.perf_counter() - start)

    server, postgres = _cpu(psutil.Process(target.pid)), _postgres_cpu()
    start = time.perf_counter()
    await asyncio.gather(*(load(start + seconds) for _ in range(connections)))
    took, count = time.perf_counter() - start, len(latencies)
    quantiles = statistics.quantiles(latencies, n=100)
    return Figures(
        count / took,
        (_cpu(psutil.Process(target.pid)) - server) / count * 1000,
        (_postgres_cpu() - postgres) / count * 1000,
        quantiles[49] * 1000,
        quantiles[98] * 1000,
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _postgres_cpu() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            total += _cpu(process) if process.name().startswith("postgres") else 0.0
        except psutil.NoSuchProcess:
            continue
    return total
