"""Events to rows: our ingest against raw asyncpg that inserts the same rows, and against a transaction per event.

`ours` is what a worker does with its consumers of the queue, as many as by default: batches of ten are parsed, those
that wait together are journalled and merged, live flags and notices follow, and one commit. `alone` is the same with
one consumer, so that each batch has a commit of its own, and `single` with each event by itself. `raw` is the limit:
it knows nothing of events, but inserts the very rows that `ours` has left behind, the journal's and those of streams
and recordings in the batch of ten in which they first appeared, with prepared statements and one commit per batch; it
updates nothing and tells nobody. One process and one connection each, in turns, every round on empty tables; every
second round in the other order.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg

from bench.ingest import latency
from bench.ingest.histories import CHANNELS, channels, histories
from ivs.events import parse
from models import migrate
from models.engine import create_engine, create_sessions
from server.embedded.postgres import EmbeddedPostgres
from server.settings import Settings
from subscriptions.bus import Bus
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher

EVENTS = 4000
BATCH = 10
ROUNDS = 5
CONSUMERS, BATCH_ROWS = Settings().events_consumers, Settings().events_batch_rows
TABLES = ("recordings", "streams", "received_events")

Contender = Callable[[], Awaitable[float]]


async def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        bodies = histories([arn for arn, _ in await channels(database_url)], EVENTS)
        await _compare(database_url, bodies)
    await latency.main()


async def _compare(database_url: str, bodies: Sequence[str]) -> None:
    engine = create_engine(database_url, pool_size=2, statement_timeout_ms=60_000, name="bench")
    sessions = create_sessions(engine)
    ingest = Ingest(Publisher(sessions, Bus(database_url, sessions, heartbeat=2.0)), batch_rows=BATCH_ROWS)
    connection = await asyncpg.connect(database_url)

    async def apply(size: int, consumers: int = 1) -> float:
        starts = iter(range(0, len(bodies), size))

        async def consume() -> None:
            for start in starts:
                await ingest.apply([parse(body) for body in bodies[start : start + size]], door="sqs")

        began = time.perf_counter()
        await asyncio.gather(*(consume() for _ in range(consumers)))
        return len(bodies) / (time.perf_counter() - began)

    await apply(BATCH)
    batches = await _left_behind(connection, bodies)
    contenders: dict[str, Contender] = {
        "ours": lambda: apply(BATCH, CONSUMERS),
        "alone": lambda: apply(BATCH),
        "raw": lambda: _insert(connection, batches, len(bodies)),
        "single": lambda: apply(1),
    }
    found: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            await _empty(connection)
            found[name].append(await contenders[name]())
    print(f"{len(bodies)} events of {CHANNELS} channels, {BATCH} a batch; medians of {ROUNDS} rounds")
    for name, rates in found.items():
        print(f"{name:8} {statistics.median(rates):8.0f} events/s   {min(rates):.0f} to {max(rates):.0f}")
    for name, other in (("ours", "raw"), ("alone", "raw"), ("ours", "single"), ("alone", "single")):
        ratios = [ours / one for ours, one in zip(found[name], found[other], strict=True)]
        print(f"{name:5} / {other:7} {statistics.median(ratios):5.2f}   {min(ratios):.2f} to {max(ratios):.2f}")
    await connection.close()
    await engine.dispose()


Batch = dict[str, list[tuple[Any, ...]]]


async def _left_behind(connection: asyncpg.Connection, bodies: Sequence[str]) -> list[Batch]:
    """Return the rows that are in the tables, by the batch whose events first spoke of them."""
    place: dict[str, int] = {}
    for number, body in enumerate(bodies):
        event = json.loads(body)
        for key in (event["id"], event["detail"]["stream_id"], event["detail"].get("recording_session_id")):
            place.setdefault(key, number // BATCH)
    batches: list[Batch] = [
        {"streams": [], "recordings": [], "received_events": []} for _ in range(-(-len(bodies) // BATCH))
    ]
    keys = {"streams": "ivs_stream_id", "recordings": "recording_session_id", "received_events": "event_id"}
    for table, key in keys.items():
        for row in await connection.fetch(f"SELECT {', '.join(await _columns(connection, table))} FROM {table}"):  # noqa: S608
            batches[place[row[key]]][table].append(tuple(row))
    return batches


async def _columns(connection: asyncpg.Connection, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' AND attidentity = '' AND attname <> 'recording_id' ORDER BY attnum",
        table,
    )
    return [row[0] for row in rows]


async def _insert(connection: asyncpg.Connection, batches: Sequence[Batch], count: int) -> float:
    statements = {}
    for table in ("streams", "recordings", "received_events"):
        names = await _columns(connection, table)
        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        statements[table] = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608
    began = time.perf_counter()
    for batch in batches:
        async with connection.transaction():
            for table, rows in batch.items():
                if rows:
                    await connection.executemany(statements[table], rows)
    return count / (time.perf_counter() - began)


async def _empty(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE channels SET live_stream_id = NULL, live_since = NULL, viewer_count = 0")
    for table in TABLES:
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608
    await connection.execute("VACUUM ANALYZE")
