"""The number of present viewers of streams with 10, 1,000 and 100,000 of them, each seen every 30 seconds.

`channel` is `Channel.viewerCount` and `stream` is `Stream.viewerCount`, whole requests by HTTP. `sample` is what AWS's
StreamCat sample does for the same number, without a server round it: distinct addresses of the stream's heartbeats by
the minute of the clock, the greatest minute of all that ever were. It has no index on the stream; here it uses ours. In
turns, every second round in the other order; medians, wall-clock time.

What a reading does not cost, somebody else has to pay: `count` is the job that keeps the number, which some process
runs once per `VIEWER_COUNT_INTERVAL_SECONDS` for all live streams, here with the one; when nothing has changed, and
when the number has. How long the audience has watched changes nothing of it: of their heartbeats it reads the window's.
"""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.ingest.histories import channels
from bench.reads.load import Connection, Target, ask
from bench.served import free_port, served
from models import Channel, Stream, migrate, utcnow, uuid7
from models.engine import create_engine, create_sessions
from schema.base import global_id
from server.embedded.postgres import EmbeddedPostgres
from subscriptions.bus import Bus
from subscriptions.publish import Publisher
from subscriptions.viewers import Viewers, ViewersConfig

SIZES = (10, 1_000, 100_000)
ROUNDS = 7
REQUESTS = 50  # of ours, field, size and round
READINGS = {
    "channel": "query ($id: ID!) { channel(by: { id: $id }) { viewerCount } }",
    "stream": "query ($id: ID!) { stream(id: $id) { viewerCount } }",
}
COLUMNS = ("channel", "stream", "sample", "count, same", "count, new")
BEATS = 10
PERIOD = timedelta(seconds=30)
WINDOW = 45.0

HEARTBEATS = """
INSERT INTO metrics (id, viewing_started_at, viewing_id, stream_id, user_id, sent_at, created_at, ip, quality)
SELECT gen_random_uuid(), $3::timestamptz, viewing, $1, $2, sent_at, sent_at, ip, '720p60'
  FROM (
    SELECT beat, viewing, $3::timestamptz + beat * $4::interval + late AS sent_at, ip
      FROM generate_series(0, $6::int - 1) AS beat
     CROSS JOIN (
       SELECT gen_random_uuid() AS viewing, random() * $4::interval AS late,
              host('10.0.0.0'::inet + viewer) AS ip
         FROM generate_series(1, $5::int) AS viewer
     ) AS viewings
  ) AS beats
 ORDER BY sent_at
"""
_SAMPLE = """
SELECT count(DISTINCT ip) FROM metrics
 WHERE stream_id = $1
   AND to_char(sent_at, 'HH:MI') = (SELECT max(to_char(sent_at, 'HH:MI')) FROM metrics WHERE stream_id = $1)
"""


@dataclass(frozen=True)
class Show:
    """A live stream and its channel, by their keys."""

    stream: UUID
    channel: UUID
    targets: dict[str, Target]


async def main() -> None:
    """Print the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        port = free_port()
        environ = {
            "PORT": str(port),
            "DATABASE_URL": database_url,
            "SECRET_KEY": "x" * 32,
            # Nothing listens there; reads never ask AWS.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "EVENTS_QUEUE_URL": "http://127.0.0.1:9/queue",
            "RECORDINGS_CDN_URL": "https://recordings.example.invalid",
            "WORKERS": "external",
            "LOG_LEVEL": "error",
        }
        pid = stack.enter_context(served(port, environ))
        await channels(database_url)
        engine = create_engine(database_url, pool_size=2, statement_timeout_ms=60_000, name="bench")
        sessions = create_sessions(engine)
        publisher = Publisher(sessions, Bus(database_url, sessions, heartbeat=2.0))
        connection = await asyncpg.connect(database_url, server_settings={"plan_cache_mode": "force_custom_plan"})
        began = utcnow()
        shows = await _populate(connection, publisher, Target(pid, port, "/graphql", "", b""), began)
        found: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in COLUMNS}
        orders = [SIZES[:: 1 if number % 2 else -1] for number in range(ROUNDS)]
        for order in orders:
            for name in READINGS:
                for size, time_ms in (await _read(name, {size: shows[size] for size in order})).items():
                    found[name][size].append(time_ms)
            for size in order:
                found["sample"][size].append(await _sample(connection, shows[size]))
        for size in (size for order in orders for size in order):
            await _alone(connection, shows, size)
            for name, changes in (("count, same", False), ("count, new", True)):
                found[name][size].append(
                    await _count(connection, _jobs(publisher, began), shows[size], size, changes=changes)
                )
        await connection.close()
        await engine.dispose()
        _tell(found)


def _jobs(publisher: Publisher, filled: datetime) -> Viewers:
    """Return the jobs as if time had stood still since the tables were filled: nobody is gone since."""
    window = WINDOW + (utcnow() - filled).total_seconds()
    # Nobody else counts, so there is no turn to wait for.
    return Viewers(publisher, ViewersConfig(window=window, interval=1e-6, retention_days=90))


async def _populate(
    connection: asyncpg.Connection, publisher: Publisher, server: Target, filled: datetime
) -> dict[int, Show]:
    """Make a live stream for each of the sizes, with heartbeats of the five minutes before; count them."""
    rows = await connection.fetch("SELECT id, user_id FROM channels ORDER BY id LIMIT $1", len(SIZES))
    began = filled - BEATS * PERIOD
    await _jobs(publisher, filled).keep_partitions()
    shows = {}
    for size, (channel_id, user_id) in zip(SIZES, rows, strict=True):
        stream_id = uuid7()
        await connection.execute(
            "INSERT INTO streams (id, channel_id, ivs_stream_id, title, first_seen_at, started_at)"
            " VALUES ($1, $2, $3, 'A title', $4, $4)",
            stream_id,
            channel_id,
            f"st-{size}",
            began,
        )
        await connection.execute(
            "UPDATE channels SET live_stream_id = $1, live_since = $2 WHERE id = $3", stream_id, began, channel_id
        )
        await connection.execute(HEARTBEATS, stream_id, user_id, began, PERIOD, size, BEATS, timeout=600)
        targets = {}
        for name, row in (("channel", Channel(id=channel_id)), ("stream", Stream(id=stream_id))):
            body = json.dumps({"query": READINGS[name], "variables": {"id": global_id(row)}}).encode()
            targets[name] = replace(server, body=body)
        shows[size] = Show(stream_id, channel_id, targets)
    await connection.execute("VACUUM ANALYZE")
    await _jobs(publisher, filled).count_viewers()
    for size, show in shows.items():
        for name, target in show.targets.items():
            assert json.loads(await ask(target))["data"][name] == {"viewerCount": size}
    return shows


async def _read(name: str, shows: dict[int, Show]) -> dict[int, float]:
    """Ask for one size after the other, often; return the medians."""
    times: dict[int, list[float]] = {size: [] for size in shows}
    for _ in range(REQUESTS):
        for size, show in shows.items():
            async with Connection(show.targets[name]) as connection:
                began = time.perf_counter()
                await connection.ask()
                times[size].append((time.perf_counter() - began) * 1e3)
    return {size: statistics.median(of_size) for size, of_size in times.items()}


async def _sample(connection: asyncpg.Connection, show: Show) -> float:
    began = time.perf_counter()
    await connection.fetchval(_SAMPLE, show.stream)
    return (time.perf_counter() - began) * 1e3


async def _alone(connection: asyncpg.Connection, shows: dict[int, Show], size: int) -> None:
    """Leave this stream alone live."""
    for each, show in shows.items():
        live = show.stream if each == size else None
        await connection.execute("UPDATE channels SET live_stream_id = $2 WHERE id = $1", show.channel, live)
        if live is None:
            await connection.execute("UPDATE streams SET viewer_count = 0 WHERE id = $1", show.stream)


async def _count(connection: asyncpg.Connection, jobs: Viewers, show: Show, size: int, *, changes: bool) -> float:
    before = size + 1 if changes else size
    await connection.execute("UPDATE channels SET viewer_count = $2 WHERE id = $1", show.channel, before)
    began = time.perf_counter()
    await jobs.count_viewers()
    took = (time.perf_counter() - began) * 1e3
    assert await connection.fetchval("SELECT viewer_count FROM channels WHERE id = $1", show.channel) == size
    return took


def _tell(found: dict[str, dict[int, list[float]]]) -> None:
    print(f"medians of {ROUNDS} rounds, ms; the sample's and the job's without HTTP")
    print(f"{'viewers':>9}  " + "".join(f"{name:>14}" for name in COLUMNS))
    for size in SIZES:
        print(f"{size:9,}  " + "".join(f"{statistics.median(found[name][size]):14.2f}" for name in COLUMNS))
    least, most = SIZES[0], SIZES[-1]
    for name in COLUMNS:
        ratios = [many / few for few, many in zip(found[name][least], found[name][most], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:12} from {least:,} to {most:,} viewers: {statistics.median(ratios):.2f} times the time, {spread}")
