"""Heartbeats through HTTP: ours against (a) ours with a commit per request, and (b) a bare handler that only copies.

All three take the same requests, `metricsPublish` with one heartbeat or twenty, each of a viewing of its own; (b) is
`bench.metrics.bare`. Each server is one process that has one core for itself, on which the load and PostgreSQL do not
run; in turns, 64 connections that ask one after the other. `cpu` is the server's own per heartbeat. Every answer is
looked at, and the table must hold as many rows as were accepted. Then at 70 % of what ours took, at even distances:
how long an answer takes. `MiB` is what the server's memory has grown by during its rounds.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psutil

from bench.ingest.histories import channels
from bench.served import SERVE, free_port, served
from models import migrate
from models.base import uuid7
from resolvers.viewer_tokens import ViewerTokens
from server.embedded.postgres import EmbeddedPostgres

SECRET_KEY = "x" * 32
CONNECTIONS = 64
ROUNDS = 5
SECONDS = 3.0
STEADY_SECONDS = 10.0
STEADY_LOAD = 0.7
PUBLISH = """mutation ($input: MetricsPublishInput!) {
  metricsPublish(input: $input) { accepted errors { __typename ... on UserError { message } } }
}"""
READINGS = {
    "browserName": "Firefox",
    "os": "Linux",
    "quality": "720p60",
    "bitrate": 3_500_000,
    "framerate": 59.94,
    "latencySeconds": 3.2,
    "bufferSeconds": 8.5,
}
LINE = "{:8} {:>3} {:>14} {:>10} {:>8} {:>8} {:>8}"


@dataclass(frozen=True)
class Server:
    """A running server, and what it took in per second in each round."""

    port: int
    process: psutil.Process


@dataclass(frozen=True)
class Round:
    """What one server took in."""

    per_second: float
    cpu_us: float
    latencies_ms: Sequence[float]


async def main() -> None:
    """Print the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        first, *others = sorted(os.sched_getaffinity(0))
        # What is started from here inherits it; each server gets the first core.
        os.sched_setaffinity(0, others or [first])
        stack.callback(os.sched_setaffinity, 0, [first, *others])
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        connection = await asyncpg.connect(database_url)
        channel_id, stream_id, owner_id = await _go_live(connection, (await channels(database_url))[0][0])
        environ = {
            "DATABASE_URL": database_url,
            "SECRET_KEY": SECRET_KEY,
            # Nothing listens there.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "EVENTS_QUEUE_URL": "http://127.0.0.1:9/queue",
            "RECORDINGS_CDN_URL": "https://recordings.example.invalid",
            "WORKERS": "external",
            "LOG_LEVEL": "error",
            "STREAM_ID": str(stream_id),
            "OWNER_ID": str(owner_id),
        }
        alone = {"METRICS_BATCH_ROWS": "1", "METRICS_BATCH_DELAY_SECONDS": "0"}
        servers = {}
        for name, further in (("ours", {}), ("single", alone), ("bare", {})):
            port = free_port()
            arguments = SERVE if name != "bare" else ("-m", "bench.metrics.bare", str(port))
            pid = stack.enter_context(served(port, {**environ, **further, "PORT": str(port)}, arguments))
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                process.cpu_affinity([first])
            servers[name] = Server(port, psutil.Process(pid))
        tokens = ViewerTokens([SECRET_KEY], lifetime=3600)
        for size in (1, 20):
            await _compare(servers, connection, _requests(tokens, channel_id, size), size)
        await connection.close()


async def _go_live(connection: asyncpg.Connection, arn: str) -> tuple[UUID, UUID, UUID]:
    stream_id, now = uuid7(), datetime.now(UTC)
    row = await connection.fetchrow("SELECT id, user_id FROM channels WHERE arn = $1", arn)
    await connection.execute(
        "INSERT INTO streams (id, channel_id, ivs_stream_id, title, first_seen_at, started_at)"
        " VALUES ($1, $2, 'st-bench', 'A title', $3, $3)",
        stream_id,
        row["id"],
        now - timedelta(minutes=1),
    )
    await connection.execute(
        "UPDATE channels SET live_stream_id = $1, live_since = $2 WHERE arn = $3", stream_id, now, arn
    )
    for day in (now.date(), now.date() + timedelta(days=1)):
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS metrics_{day:%Y%m%d} PARTITION OF metrics"
            f" FOR VALUES FROM ('{day}+00') TO ('{day + timedelta(days=1)}+00')"
        )
    return row["id"], stream_id, row["user_id"]


def _requests(tokens: ViewerTokens, channel_id: UUID, size: int) -> Iterator[bytes]:
    while True:
        beats = [{"id": str(uuid4()), **READINGS} for _ in range(size)]
        yield request({"viewerToken": tokens.sign(tokens.begin(channel_id)), "heartbeats": beats})


def request(publish: Mapping[str, Any]) -> bytes:
    """Return a request with this input."""
    body = json.dumps({"query": PUBLISH, "variables": {"input": publish}}).encode()
    head = "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def _compare(
    servers: Mapping[str, Server], connection: asyncpg.Connection, requests: Iterator[bytes], size: int
) -> None:
    found: dict[str, list[Round]] = {name: [] for name in servers}
    before = {}
    for number in range(-1, ROUNDS):
        for name in list(servers)[:: 1 if number % 2 else -1]:
            taken = await _round(servers[name], connection, requests, size)
            if number >= 0:
                found[name].append(taken)
            else:
                # The first round warms up; what memory it takes is no growth.
                before[name] = servers[name].process.memory_info().rss
    if size == 1:
        print(f"Medians of {ROUNDS} rounds of {SECONDS:g} s, {CONNECTIONS} connections.")
        print(LINE.format("server", "of", "heartbeats/s", "cpu us", "p50 ms", "p99 ms", "MiB"))
    for name, rounds in found.items():
        latencies = sorted(latency for one in rounds for latency in one.latencies_ms)
        grown = (servers[name].process.memory_info().rss - before[name]) / 2**20
        figures = [statistics.median(one.per_second for one in rounds), statistics.median(one.cpu_us for one in rounds)]
        print(
            LINE.format(
                name,
                size,
                f"{figures[0]:.0f}",
                f"{figures[1]:.0f}",
                f"{_at(latencies, 0.5):.1f}",
                f"{_at(latencies, 0.99):.1f}",
                f"{grown:.1f}",
            )
        )
    for other in ("single", "bare"):
        pairs = list(zip(found["ours"], found[other], strict=True))
        ratios = [ours.per_second / one.per_second for ours, one in pairs]
        print(f"ours / {other:6} {statistics.median(ratios):5.2f}   {min(ratios):.2f} to {max(ratios):.2f}")
    rate = STEADY_LOAD * statistics.median(one.per_second for one in found["ours"]) / size
    latencies = sorted(await _steady(servers["ours"], requests, rate))
    quantiles = f"p50 {_at(latencies, 0.5):.1f} ms, p99 {_at(latencies, 0.99):.1f} ms"
    print(f"ours at {STEADY_LOAD:.0%}, {rate:.0f} requests/s: {quantiles}")


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def _round(server: Server, connection: asyncpg.Connection, requests: Iterator[bytes], size: int) -> Round:
    await connection.execute("TRUNCATE metrics")
    # Made before, so that making them takes nothing from the load.
    ready = [next(requests) for _ in range(int(SECONDS * 4000 / size**0.5))]
    latencies: list[float] = []
    began = time.perf_counter()
    cpu = _cpu(server.process)

    async def load() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while ready and time.perf_counter() < began + SECONDS:
            start = time.perf_counter()
            await ask(reader, writer, ready.pop(), size)
            latencies.append((time.perf_counter() - start) * 1000)
        writer.close()

    await asyncio.gather(*(load() for _ in range(CONNECTIONS)))
    took, beats = time.perf_counter() - began, len(latencies) * size
    cpu = _cpu(server.process) - cpu
    kept = await connection.fetchval("SELECT count(*) FROM metrics")
    assert kept == beats, f"{beats} heartbeats were accepted, {kept} are there"
    return Round(beats / took, cpu / beats * 1e6, latencies)


async def _steady(server: Server, requests: Iterator[bytes], rate: float) -> list[float]:
    ready = [next(requests) for _ in range(int(STEADY_SECONDS * rate))]
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", server.port))
    latencies: list[float] = []
    size = ready[0].count(b'"browserName"')

    async def one(asked: bytes, due: float) -> None:
        # From when it was due: a server that is late makes all that follow wait too.
        pair = await idle.get()
        await ask(*pair, asked, size)
        idle.put_nowait(pair)
        latencies.append((time.perf_counter() - due) * 1000)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, asked in enumerate(ready):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(asked, due))
    while not idle.empty():
        idle.get_nowait()[1].close()
    return latencies


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes, size: int) -> None:
    """Send a request; its heartbeats must be accepted."""
    writer.write(asked)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    answer = json.loads(await reader.readexactly(length))
    assert answer["data"]["metricsPublish"] == {"accepted": size, "errors": []}, answer


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
