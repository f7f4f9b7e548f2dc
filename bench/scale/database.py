"""Unit costs of PostgreSQL, of what the requests to a server do not show: counting, roll-ups, notices."""

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from bench.scale import bus
from bench.scale.meters import Meter
from bench.scale.sockets import Bench, Found
from bench.viewers import HEARTBEATS, PERIOD, WINDOW
from models import Rhythm, utcnow
from models.engine import create_engine, create_sessions
from models.rollup import MINUTE
from subscriptions.bus import Bus
from subscriptions.publish import Publisher
from subscriptions.rollups import Rollups, RollupsConfig
from subscriptions.viewers import Viewers, ViewersConfig

SIZES = (10, 1_000, 100_000)
BEATS = 6
ROUNDS = 3
_LIVE = """
UPDATE channels
   SET live_stream_id = CASE WHEN id = ANY($1) THEN (SELECT id FROM streams WHERE channel_id = channels.id) END
"""
_CHANGE = "UPDATE channels SET viewer_count = viewer_count + 1 WHERE live_stream_id IS NOT NULL"
_SEEN = """
SELECT count(*) FROM metrics
 WHERE sent_at > now() - $1::interval AND stream_id IN (SELECT live_stream_id FROM channels)
"""
_AGAIN = "DELETE FROM metric_minutes WHERE minute >= $1 AND stream_id = ANY($2)"
_MARK = "INSERT INTO metric_marks SELECT unnest($2::uuid[]), $1, NULL"


async def measure(bench: Bench, found: Found) -> None:
    """Fill in what the costs of `model.Postgres` lack."""
    database_url = bench.world.environ["DATABASE_URL"]
    connection = await asyncpg.connect(database_url)
    await bus.on_postgres(bench, connection, found)
    bus.on_redis(bench, found)
    engine = create_engine(database_url, pool_size=2, statement_timeout_ms=60_000, name="bench")
    sessions = create_sessions(engine)
    await connection.execute("TRUNCATE metrics, metric_marks, metric_minutes, metric_counts")
    rows = await connection.fetch("SELECT live_stream_id, id, user_id FROM channels ORDER BY name")
    filled = utcnow()
    await _fill(connection, rows, filled - BEATS * PERIOD)
    await _counts(
        bench, connection, Publisher(sessions, Bus(database_url, sessions, heartbeat=60)), rows, filled, found
    )
    await _rollups(bench, connection, Rollups(sessions, RollupsConfig(Rhythm(), retention_days=730)), rows, found)
    await engine.dispose()
    await connection.close()


async def _fill(connection: Any, rows: Any, began: datetime) -> None:
    """Give the first streams audiences of these sizes, and all others one of two, for some minutes."""
    await connection.execute("UPDATE streams SET started_at = $1", began)
    for number, (stream_id, _, user_id) in enumerate(rows):
        size = SIZES[number] if number < len(SIZES) else 2
        await connection.execute(HEARTBEATS, stream_id, user_id, began, PERIOD, size, BEATS, timeout=600)
    await connection.execute("VACUUM ANALYZE")


async def _counts(
    bench: Bench, connection: Any, publisher: Publisher, rows: Any, filled: datetime, found: Found
) -> None:
    async def count(channel_ids: list[UUID], *, changes: bool) -> tuple[float, float, int]:
        await connection.execute(_LIVE, channel_ids)
        viewers = Viewers(publisher, ViewersConfig(window=_window(filled), interval=1e-6, retention_days=90))
        await viewers.count_viewers()
        if changes:
            await connection.execute(_CHANGE)
        seen = await connection.fetchval(_SEEN, timedelta(seconds=_window(filled)))
        meter, began = Meter(None, bench.postgres), time.perf_counter()
        await viewers.count_viewers()
        return meter.since().postgres, time.perf_counter() - began, seen

    everyone = [row["id"] for row in rows]
    small = everyone[len(SIZES) :]
    for _ in range(ROUNDS):
        alone = {size: await count([everyone[number]], changes=False) for number, size in enumerate(SIZES)}
        none = (await count([], changes=False))[0]
        many, _, beats = await count(small, changes=False)
        changed = (await count(small, changes=True))[0]
        for size, (cpu, wall, _) in alone.items():
            found.add(f"count of {size}", cpu)
            found.add(f"count of {size}, wall", wall)
        few, most = alone[SIZES[0]], alone[SIZES[-1]]
        row = (most[0] - few[0]) / (most[2] - few[2])
        found.add("postgres_count", none)
        found.add("postgres_count_row", row)
        found.add("postgres_count_channel", max(0.0, many - none - beats * row) / len(small))
        found.add("postgres_count_changed", (changed - many) / len(small))
    await connection.execute(_LIVE, everyone)


def _window(filled: datetime) -> float:
    """Seconds, as if time had stood still since."""
    return WINDOW + (utcnow() - filled).total_seconds()


async def _rollups(bench: Bench, connection: Any, rollups: Rollups, rows: Any, found: Found) -> None:
    while await rollups.roll_up():
        pass
    await connection.execute("DELETE FROM metric_marks")
    minute = await connection.fetchval("SELECT max(minute) - interval '1 min' FROM metric_minutes")
    big, small = rows[len(SIZES) - 1]["live_stream_id"], [row["live_stream_id"] for row in rows[len(SIZES) :]]
    for _ in range(ROUNDS):
        used = {}
        for name, streams in (("big", [big]), ("small", small)):
            await connection.execute(_AGAIN, minute, streams)
            await connection.execute(_MARK, minute, streams)
            meter, own, minutes = Meter(None, bench.postgres), time.process_time(), 0
            while stored := await rollups.roll_up():
                minutes += stored
            used[name] = meter.since().postgres / minutes, (time.process_time() - own) / minutes
        found.add("postgres_roll_stream", used["small"][0])
        found.add("postgres_roll_beat", used["big"][0] / (SIZES[-1] * MINUTE / PERIOD))
        found.add("roll_stream_worker", used["small"][1])
