"""What a notice costs by its way: PostgreSQL to each process that listens, or Redis, if `redis-server` is there."""

import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import redis

from bench.scale.meters import Meter, worked
from bench.scale.sockets import QUIET, Bench, Found
from bench.served import free_port

ROUNDS = 3
LISTENERS = 20
NOTICES = 1_000
_NOTIFY = "SELECT pg_notify('bench', 'viewers:' || gen_random_uuid()) FROM generate_series(1, $1::int)"


async def on_postgres(bench: Bench, connection: Any, found: Found) -> None:
    """PostgreSQL's part of one notice at one process."""
    spent: dict[int, list[float]] = {}
    listening: list[Any] = []
    for listeners in (1, LISTENERS):
        while len(listening) < listeners:
            listening.append(await asyncpg.connect(bench.world.environ["DATABASE_URL"]))
            await listening[-1].add_listener("bench", lambda *_: None)
        for _ in range(ROUNDS):
            meter = Meter(None, bench.postgres)
            await connection.execute(_NOTIFY, NOTICES)
            for one in listening:
                await one.fetchval("SELECT 1")
            spent.setdefault(listeners, []).append(meter.since().postgres)
    for few, many in zip(*spent.values(), strict=True):
        found.add("postgres_notice", (many - few) / (LISTENERS - 1) / NOTICES)
    for one in listening:
        await one.close()


def on_redis(bench: Bench, found: Found) -> None:
    """Redis's part of one, and that of a process which hears it so and for which nobody waits there."""
    program = shutil.which("redis-server")
    if program is None:
        print("There is no redis-server here.")
        return
    with ExitStack() as stack:
        folder, port = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")), free_port()
        command = [program, "--port", str(port), "--dir", folder, "--save", "", "--bind", "127.0.0.1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        client = redis.Redis(port=port)
        while not _answers(client):
            time.sleep(0.05)
        _, pid = stack.enter_context(bench.server(**QUIET, BUS_URL=f"redis://127.0.0.1:{port}"))
        time.sleep(1)
        for _ in range(ROUNDS):
            meter, alone = Meter(pid, bench.postgres), worked(process.pid)
            _publish(client, "streamcat")
            time.sleep(1)
            heard = meter.since()
            spent = worked(process.pid) - alone
            found.add("redis_notice_heard", (heard.server - heard.at * found["idle"]) / NOTICES)
            alone = worked(process.pid)
            _publish(client, "nobody")
            spent -= worked(process.pid) - alone
            found.add("redis_notice", max(0.0, spent) / NOTICES)
        client.close()


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _publish(client: "redis.Redis", channel: str) -> None:
    pipe = client.pipeline(transaction=False)
    for _ in range(NOTICES):
        pipe.publish(channel, f"viewers:{uuid4().hex}")
    pipe.execute()
