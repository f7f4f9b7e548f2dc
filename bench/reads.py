"""The home page (20 live channels with counts, owner, category, 5 streams and 10 chat messages each) over HTTP.

Ours against a plain Strawberry schema with DataLoaders over the same rows, and against the limit: one hand-written
statement that builds the whole JSON, passed on by bare uvicorn. All in one run, in turns, each server on its own
process, the load from this one. CPU is the operating system's own account of each process.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from bench.servers import PLAIN_QUERY
from models import migrate, seeding, utcnow
from models.engine import create_engine, create_sessions
from server.embedded.postgres import EmbeddedPostgres

ROOT = Path(__file__).parent.parent
CHANNELS = 200
ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = (1, 32)


@dataclass(frozen=True)
class Target:
    name: str
    pid: int
    port: int
    body: bytes


@dataclass(frozen=True)
class Figures:
    requests_per_second: float
    server_ms: float
    postgres_ms: float
    p50_ms: float
    p99_ms: float


async def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        await _seed(database_url)
        targets = [stack.enter_context(_target(kind, database_url)) for kind in ("ours", "plain", "statement")]
        for target in targets:
            await _check(target)
        for connections in CONNECTIONS:
            rounds = [[await _measure(target, connections) for target in targets] for _ in range(ROUNDS)]
            _print(connections, [target.name for target in targets], rounds)


async def _seed(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1, statement_timeout_ms=60_000, name="seed", pooled=False)
    world = seeding.imagine(CHANNELS, random_seed=1, now=utcnow(), live_share=1.0)
    possessions = [seeding.invented(person) for person in world.people]
    async with create_sessions(engine)() as session, session.begin():
        await seeding.write(session, world, possessions, password_hash="none")  # noqa: S106
    await engine.dispose()


@contextmanager
def _target(kind: str, database_url: str) -> Iterator[Target]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if kind == "ours":
        command = [sys.executable, str(ROOT / "app.py"), "serve"]
        body = {"query": (ROOT / "tests/documents/home.graphql").read_text(), "variables": {"first": 20}}
    else:
        command = [sys.executable, "-m", "bench.servers", kind, str(port), database_url]
        body = {"query": PLAIN_QUERY, "variables": {}}
    environ = {
        **os.environ,
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "SECRET_KEY": "x" * 32,
        # Nothing listens there; reads never ask AWS.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "EVENTS_QUEUE_URL": "http://127.0.0.1:9/queue",
        "WORKERS": "external",
        "LOG_LEVEL": "error",
    }
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{kind} did not start"
                time.sleep(0.05)
        yield Target(kind, process.pid, port, json.dumps(body).encode())
    finally:
        process.terminate()
        process.wait(20)


async def _check(target: Target) -> None:
    async with Connection(target) as connection:
        nodes = json.loads(await connection.ask())["data"]["channels"]["nodes"]
    assert len(nodes) == 20, target
    assert all(len(node["streams"]["nodes"]) == 5 and node["owner"]["username"] for node in nodes), target
    assert all(node["chatRoom"]["messages"]["nodes"] for node in nodes), target


class Connection:
    """A kept HTTP connection; only as much of HTTP as the measured servers speak."""

    def __init__(self, target: Target) -> None:
        self._target = target
        head = (
            f"POST /graphql HTTP/1.1\r\nhost: 127.0.0.1:{target.port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(target.body)}\r\n\r\n"
        )
        self._request = head.encode() + target.body

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._target.port, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self) -> bytes:
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return await self._reader.readexactly(length)


async def _measure(target: Target, connections: int) -> Figures:
    latencies: list[float] = []

    async def load(until: float) -> None:
        async with Connection(target) as connection:
            while (start := time.perf_counter()) < until:
                await connection.ask()
                latencies.append(time.perf_counter() - start)

    server, postgres = _cpu(target.pid), _postgres_cpu()
    start = time.perf_counter()
    await asyncio.gather(*(load(start + SECONDS) for _ in range(connections)))
    seconds = time.perf_counter() - start
    count = len(latencies)
    quantiles = statistics.quantiles(latencies, n=100)
    return Figures(
        count / seconds,
        (_cpu(target.pid) - server) / count * 1000,
        (_postgres_cpu() - postgres) / count * 1000,
        quantiles[49] * 1000,
        quantiles[98] * 1000,
    )


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _postgres_cpu() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("postgres"):
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


def _print(connections: int, names: list[str], rounds: list[list[Figures]]) -> None:
    print(
        f"{connections} connection(s), median of {ROUNDS} rounds of {SECONDS:g} s; ratio: requests/s of ours to theirs"
    )
    print(f"{'server':10} {'req/s':>8} {'ratio':>7} {'server ms':>10} {'postgres ms':>12} {'p50 ms':>8} {'p99 ms':>8}")
    for column, name in enumerate(names):
        figures = [row[column] for row in rounds]
        ratio = statistics.median(row[0].requests_per_second / row[column].requests_per_second for row in rounds)

        def median(field: str, figures: list[Figures] = figures) -> float:
            return statistics.median(getattr(one, field) for one in figures)

        print(
            f"{name:10} {median('requests_per_second'):8.1f} {ratio:6.2f}x {median('server_ms'):10.2f} "
            f"{median('postgres_ms'):12.2f} {median('p50_ms'):8.1f} {median('p99_ms'):8.1f}"
        )
