"""A mixed audience on one process, none of which the unit costs come from.

Sockets on some of the live channels, unevenly; players that send heartbeats, count by count more of them; the job that
counts; sockets that come and go. Times of 30 seconds are compressed to 10, those of a second are not.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import asyncpg

from bench.fanout.crowd import Crowd, Reactor, Watcher
from bench.fanout.rounds import memory
from bench.fanout.said import VIEWERS
from bench.scale.beats import Plan
from bench.scale.meters import Meter, Moment, counted
from bench.scale.model import Load, audiences
from bench.scale.sockets import Bench
from bench.served import ROOT

VIEWERS_TO_BEGIN_WITH, WATCHED = 3_000, 60
INTERVAL, WINDOW, PING = 10.0, 15.0, 6.0
COUNTS_EVERY = 1.1
SECONDS = 25.0
REPLACED = 30  # sockets a second
DATABASE = "postgres"


class Audience(Crowd):
    """Counts frames; each must tell of another number than the one before."""

    def _count(self, watcher: Watcher, number: int) -> None:
        if not watcher.last:
            self.waiting -= 1
        else:
            assert number > watcher.last, f"{number} after {watcher.last}"
            self.frames += 1
        # Nobody is there to begin with.
        watcher.last = max(number, 1)


@dataclass(frozen=True)
class Seen:
    """What came of it: the load as it was, and what was spent."""

    load: Load
    spent: Moment
    process_bytes: float
    wal_bytes: float
    frames: int
    frames_expected: float
    events: float
    commits: float
    heartbeats: float


async def simulate(bench: Bench, wire_bytes: float, commit_seconds: float) -> Seen:
    """Run it; everybody's last number must be the one in the database."""
    database_url = bench.world.environ["DATABASE_URL"]
    connection = await asyncpg.connect(database_url)
    await connection.execute("TRUNCATE metrics, metric_marks")
    await connection.execute("UPDATE channels SET viewer_count = 0")
    of_each = audiences(VIEWERS_TO_BEGIN_WITH, WATCHED)
    node_ids = _mixed(of_each, bench.world.node_ids)
    environ = {"HEARTBEAT_INTERVAL_SECONDS": str(INTERVAL), "SOCKET_PING_SECONDS": str(PING)}
    with bench.server(**environ) as (port, pid):
        reactor = Reactor()
        crowd = Audience(reactor, "ours", port, VIEWERS)
        crowd.grow(node_ids)
        players = _players(bench, port, of_each)
        assert players.stdout is not None
        _wait(reactor, players)
        events = partial(counted, port, "streamcat_subscription_events_total")
        commits = partial(counted, port, "streamcat_heartbeat_commits_total")
        told = events(), commits(), await connection.fetchval("SELECT pg_current_wal_lsn()")
        beats = await connection.fetchval("SELECT count(*) FROM metrics")
        crowd.frames = 0
        meter = Meter(pid, bench.postgres)
        _come_and_go(reactor, crowd, node_ids)
        spent = meter.since()
        beats = await connection.fetchval("SELECT count(*) FROM metrics") - beats
        process_bytes = memory(pid)[0]
        wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1)", told[2])
        frames, ran, committed = crowd.frames, events() - told[0], commits() - told[1]
        answer, _ = players.communicate()
        counts = json.loads(answer)["counts"]
        reactor.idle(time.perf_counter() + 2)
        numbers = dict(zip(bench.world.node_ids, await _numbers(connection), strict=True))
        assert all(member.last == numbers[member.node_id] for member in crowd.members), "somebody was not told"
        crowd.leave()
    await connection.close()
    players_now = beats / spent.at * INTERVAL
    grown = [round(audience * players_now / sum(of_each)) for audience in of_each]
    del counts
    load = Load(
        [*grown, *[0] * (len(numbers) - WATCHED)],
        changes=1 / COUNTS_EVERY,
        counts=1 / COUNTS_EVERY,
        stay=VIEWERS_TO_BEGIN_WITH / REPLACED,
        heartbeat_interval=INTERVAL,
        window=WINDOW,
        ping_interval=PING,
        wire_bytes=wire_bytes,
        commit_seconds=commit_seconds,
    )
    return Seen(load, spent, process_bytes, float(wal), frames, 0, ran, committed, beats)
