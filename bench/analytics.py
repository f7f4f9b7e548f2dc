"""A streamer's analytics of streams of the same length with 10,000, 100,000 and 1,000,000 heartbeats.

`ours` is the whole request: every field of `analytics`, by HTTP, from roll-ups that the worker's job has made; how long
that took is told too. `sample` is what AWS's StreamCat sample does for the same charts, without a server round it:
eight statements after its published ones, each of which groups all heartbeats of the stream anew. The sample has no
index on the stream; here it uses ours. In turns, every second round in the other order; medians, wall-clock time. At
the end `newest` is ours again, now with two minutes in the middle of each stream that are not rolled up: of a live
stream at most the one that is over, for as long as the job has not looked, and the one that is not, so mostly less than
that. This part does grow with the audience.
"""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from argon2 import PasswordHasher

from bench.reads.load import Connection, Target, ask
from bench.served import free_port, served
from models import Rhythm, Stream, migrate, seeding, utcnow, uuid7
from models.engine import create_engine, create_sessions
from schema.base import global_id
from server.embedded.postgres import EmbeddedPostgres
from subscriptions.rollups import Rollups, RollupsConfig

SIZES = (10_000, 100_000, 1_000_000)
HOURS = 2
ROUNDS = 5
REQUESTS = 30  # of ours, size and round
PASSWORD = "made up for benchmarks"  # noqa: S105 - of somebody who is made up too
SIGN_IN = "mutation ($input: SessionCreateInput!) { sessionCreate(input: $input) { token } }"
POINTS = ("viewers", "chatMessages", "latencySeconds", "bufferSeconds", "bitrate", "framerate")
SHARES = ("browsers", "operatingSystems", "qualities")
DOCUMENT = f"""
query ($id: ID!) {{
  stream(id: $id) {{
    analytics {{
      bucketSeconds peakViewers uniqueViewers watchTimeSeconds
      {" ".join(f"{name} {{ startsAt value }}" for name in POINTS)}
      {" ".join(f"{name} {{ name viewers fraction }}" for name in SHARES)}
    }}
  }}
}}
"""

# Viewings of half an hour on average that begin at any moment, with one heartbeat in 30 seconds; one in twenty switches
# to another quality. In the order in which they come.
_BEATS_EACH = 60
_HEARTBEATS = """
INSERT INTO metrics (id, viewing_started_at, viewing_id, stream_id, user_id, sent_at, created_at, ip, browser_name, os,
                     quality, bitrate, framerate, latency_seconds, buffer_seconds)
SELECT gen_random_uuid(), began, viewing, $1, $2, began + beat * interval '30 seconds', now(),
       '192.0.' || viewer % 200 || '.0/24',
       (ARRAY['Chrome', 'Safari', 'Firefox', 'Edge', 'Chrome Mobile', 'Mobile Safari'])[1 + viewer % 6],
       (ARRAY['Windows', 'macOS', 'Linux', 'Android', 'iOS'])[1 + viewer % 5],
       (ARRAY['1080p60', '720p60', '480p30', '360p30', '160p30'])[1 + (viewer + (random() < 0.05)::int) % 5],
       1000000 + (random() * 6000000)::int, 30 + 30 * (viewer % 2), 2 + 4 * random(), 1 + 3 * random()
  FROM (
    SELECT viewer, gen_random_uuid() AS viewing,
           $3::timestamptz + random() * ($4::interval - interval '30 min') AS began
      FROM generate_series(1, $5::int) AS viewer
  ) AS viewings
 CROSS JOIN generate_series(0, $6::int - 1) AS beat
 ORDER BY began + beat * interval '30 seconds'
"""
# With a viewing that was there, so that of what comes after it nothing but the next has to be computed with it.
_UNROLL = """
INSERT INTO metric_marks (stream_id, minute, viewing_id)
SELECT DISTINCT ON (minute) stream_id, minute, viewing_id
  FROM (
    SELECT metrics.stream_id, viewing_id, date_bin('1 minute', sent_at, started_at) AS minute, started_at
      FROM metrics JOIN streams ON streams.id = stream_id WHERE stream_id = $1
  ) AS beats
 WHERE minute = started_at + interval '60 min'
"""
_MINUTE = "to_timestamp(round(extract(epoch FROM sent_at) / 60) * 60)"


def _averages(expression: str, name: str) -> str:
    return (
        f"SELECT {_MINUTE} AS bucket, avg({expression}) FROM metrics WHERE stream_id = $1 AND {name} IS NOT NULL"  # noqa: S608 - our own text
        " GROUP BY bucket ORDER BY bucket"
    )


def _parts(name: str) -> str:
    return (
        f"SELECT {name}, count(*) * 100.0 / sum(count(*)) OVER () FROM metrics"  # noqa: S608 - our own text
        f" WHERE stream_id = $1 GROUP BY {name} ORDER BY 2 DESC"
    )


_VIEWERS = """
SELECT to_char(sent_at, 'HH:MI') AS minute, count(DISTINCT ip) FROM metrics WHERE stream_id = $1
 GROUP BY minute ORDER BY minute
"""
SAMPLE = (
    _VIEWERS,
    _averages("latency_seconds", "latency_seconds"),
    _averages("buffer_seconds", "buffer_seconds"),
    _averages("bitrate / 1000", "bitrate"),
    _averages("framerate", "framerate"),
    *(_parts(name) for name in ("browser_name", "os", "quality")),
)


async def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        username, streams = await _populate(database_url)
        port = free_port()
        environ = {
            "PORT": str(port),
            "DATABASE_URL": database_url,
            "SECRET_KEY": "x" * 32,
            # Nothing listens there; reads never ask AWS.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "EVENTS_QUEUE_URL": "http://127.0.0.1:9/queue",
            "WORKERS": "external",
            "LOG_LEVEL": "error",
        }
        pid = stack.enter_context(served(port, environ))
        await _compare(database_url, pid, port, username, streams)


async def _populate(database_url: str) -> tuple[str, dict[int, UUID]]:
    """Make a streamer, a stream with heartbeats for each of the sizes, and their roll-ups."""
    engine = create_engine(database_url, pool_size=2, statement_timeout_ms=600_000, name="seed")
    sessions = create_sessions(engine)
    world = seeding.imagine(1, random_seed=1, now=utcnow())
    (me,) = world.people
    async with sessions() as session, session.begin():
        hashed = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1).hash(PASSWORD)
        await seeding.write(session, world, [seeding.invented(me)], password_hash=hashed)
    began = utcnow().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    connection = await asyncpg.connect(database_url)
    streams = {}
    rollups = Rollups(sessions, RollupsConfig(Rhythm(), retention_days=730))
    while await rollups.roll_up():
        pass
    for place, size in enumerate(SIZES):
        streams[size] = uuid7()
        starts = began - place * timedelta(hours=HOURS + 1)
        await connection.execute(
            "INSERT INTO streams (id, channel_id, ivs_stream_id, title, first_seen_at, started_at, stream_ended_at)"
            " VALUES ($1, $2, $3, 'A stream', $4, $4, $5)",
            streams[size],
            me.channel_id,
            f"st-{size}",
            starts,
            starts + timedelta(hours=HOURS),
        )
        length, viewers = timedelta(hours=HOURS), -(-size // _BEATS_EACH)
        began_at = time.perf_counter()
        await connection.execute(_HEARTBEATS, streams[size], me.id, starts, length, viewers, _BEATS_EACH, timeout=600)
        written_at = time.perf_counter()
        await connection.execute("VACUUM ANALYZE")
        ready_at = time.perf_counter()
        while await rollups.roll_up():
            pass
        seconds = time.perf_counter() - ready_at
        print(
            f"{size:9,} heartbeats of {viewers:,} viewings: written in {written_at - began_at:.1f} s, rolled up in "
            f"{seconds:.1f} s, {size / seconds:,.0f} a second"
        )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    await engine.dispose()
    return me.username, streams


async def _compare(database_url: str, pid: int, port: int, username: str, streams: dict[int, UUID]) -> None:
    given = {"query": SIGN_IN, "variables": {"input": {"username": username, "password": PASSWORD}}}
    answer = json.loads(await ask(Target(pid, port, "/graphql", "", json.dumps(given).encode())))
    bearer = f"authorization: Bearer {answer['data']['sessionCreate']['token']}\r\n"
    # Each statement is planned for its stream: one plan for all would read the whole table for the smallest, too.
    connection = await asyncpg.connect(database_url, server_settings={"plan_cache_mode": "force_custom_plan"})
    targets = {}
    for size, key in streams.items():
        body = json.dumps({"query": DOCUMENT, "variables": {"id": global_id(Stream(id=key))}}).encode()
        targets[size] = Target(pid, port, "/graphql", bearer, body)
        told = json.loads(await ask(targets[size]))["data"]["stream"]["analytics"]
        counted = "SELECT count(DISTINCT viewing_id) FROM metrics WHERE stream_id = $1"
        assert told["uniqueViewers"] == await connection.fetchval(counted, key)
        for statement in SAMPLE:
            await connection.fetch(statement, key)
    ours: defaultdict[int, list[float]] = defaultdict(list)
    sample: defaultdict[int, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        order = SIZES[:: 1 if number % 2 else -1]
        for size, time_ms in (await _ours({size: targets[size] for size in order})).items():
            ours[size].append(time_ms)
        for size in order:
            sample[size].append(await _sample(connection, streams[size]))
    for key in streams.values():
        await connection.execute(_UNROLL, key)
    newest = await _ours(targets)
    await connection.close()
    print(f"medians of {ROUNDS} rounds, ms; ours with {len(POINTS) + len(SHARES) + 4} fields by HTTP")
    for size in SIZES:
        faster = statistics.median(other / mine for mine, other in zip(ours[size], sample[size], strict=True))
        print(
            f"{size:9,} heartbeats   ours {statistics.median(ours[size]):7.1f}   "
            f"sample {statistics.median(sample[size]):8.1f}   ours is {faster:.1f} times as fast   "
            f"newest {newest[size]:7.1f}"
        )
    for name, found in (("ours", ours), ("sample", sample)):
        grown = statistics.median(most / least for most, least in zip(found[SIZES[-1]], found[SIZES[0]], strict=True))
        print(f"{name:6} from {SIZES[0]:,} to {SIZES[-1]:,} heartbeats: {grown:.2f} times the time")


async def _ours(targets: Mapping[int, Target]) -> dict[int, float]:
    """Ask for one size after the other, often; return the medians."""
    times: dict[int, list[float]] = {size: [] for size in targets}
    for _ in range(REQUESTS):
        for size, target in targets.items():
            async with Connection(target) as connection:
                began = time.perf_counter()
                await connection.ask()
                times[size].append((time.perf_counter() - began) * 1e3)
    return {size: statistics.median(of_size) for size, of_size in times.items()}


async def _sample(connection: Any, stream_id: UUID) -> float:
    began = time.perf_counter()
    for statement in SAMPLE:
        await connection.fetch(statement, stream_id)
    return (time.perf_counter() - began) * 1e3
