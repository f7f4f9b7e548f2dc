"""A mixed audience on one process, from none of which the unit costs come.

Sockets on some of the live channels, unevenly; players that send heartbeats, with each count more of them; the job that
counts; sockets that come and go. What is 30 seconds long is compressed to 10, what is a second long is not.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

import asyncpg

from bench.fanout.crowd import Crowd, Reactor, Watcher
from bench.fanout.rounds import memory
from bench.fanout.said import VIEWERS
from bench.scale.beats import Plan
from bench.scale.meters import Meter, Moment, counted
from bench.scale.model import Load, audiences
from bench.scale.sockets import Bench
from bench.served import ROOT

SOCKETS, WATCHED = 3_000, 60
INTERVAL, WINDOW, PING = 10.0, 15.0, 6.0
# A little more than a process waits between two frames of one number; with what counting takes, seldomer.
COUNTS_EVERY = 1.1
SECONDS = 25.0
COMING = 30  # sockets a second


class Audience(Crowd):
    """Counts frames; each must tell another number than the one before."""

    def _count(self, watcher: Watcher, number: int) -> None:
        if not watcher.last:
            self.waiting -= 1
        else:
            assert number != watcher.last, f"{number} was told twice"
            self.frames += 1
        # Nobody is there to begin with, and 0 stands for not told.
        watcher.last = max(number, 1)


@dataclass(frozen=True)
class Seen:
    """What was to be done, and what it took; `deliveries`, `events` and `commits` per second, all else in all."""

    load: Load
    spent: Moment
    process_bytes: float
    wal_bytes: float
    deliveries: float
    events: float
    commits: float


async def simulate(bench: Bench, commit_seconds: float) -> Seen:
    """Run it; what everybody was told last must be what is in the database."""
    connection = await asyncpg.connect(bench.world.environ["DATABASE_URL"])
    await connection.execute("TRUNCATE metrics, metric_marks")
    await connection.execute("UPDATE channels SET viewer_count = 0")
    of_each = audiences(SOCKETS, WATCHED)
    node_ids = mixed(of_each, bench.world.node_ids)
    # Where everybody has to share two cores, some heartbeats are late, and the next ones then early.
    environ = {"HEARTBEAT_INTERVAL_SECONDS": str(INTERVAL / 3), "SOCKET_PING_SECONDS": str(PING)}
    with bench.server(**environ) as (port, pid):
        reactor = Reactor()
        crowd = Audience(reactor, "ours", port, VIEWERS)
        crowd.grow(node_ids)
        players = _players(bench, port, of_each)
        said = select.poll()
        said.register(players.stdout, select.POLLIN)  # type: ignore[arg-type]
        reactor.run(lambda: bool(said.poll(0)))
        assert players.stdout is not None
        assert players.stdout.readline() == "ready\n"
        before = counted(port, "streamcat_subscription_events_total"), counted(port, _COMMITS), crowd.frames
        beats, lsn = await connection.fetchrow("SELECT count(*), pg_current_wal_lsn() FROM metrics")
        meter = Meter(pid, bench.postgres)
        _come_and_go(reactor, crowd, node_ids)
        spent = meter.since()
        frames = crowd.frames - before[2]
        wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1)", lsn)
        beats = await connection.fetchval("SELECT count(*) FROM metrics") - beats
        process_bytes = memory(pid)[0]
        events, commits = counted(port, "streamcat_subscription_events_total"), counted(port, _COMMITS)
        counts = float(players.communicate()[0])
        assert not players.returncode, "the players had to stop"
        reactor.idle(time.perf_counter() + 2)
        rows = await connection.fetch("SELECT viewer_count FROM channels ORDER BY name")
        numbers = dict(zip(bench.world.node_ids, (row["viewer_count"] for row in rows), strict=True))
        assert all(member.last == numbers[member.node_id] for member in crowd.members), "somebody was not told"
        crowd.leave()
    await connection.close()
    load = Load(
        [*of_each, *[0] * (len(numbers) - WATCHED)],
        changes=counts,
        counts=counts,
        stay=SOCKETS / COMING,
        # There are more players than sockets in the end.
        heartbeat_interval=SOCKETS * spent.at / beats,
        window=WINDOW,
        ping_interval=PING,
        commit_seconds=commit_seconds,
    )
    rates = (frames / spent.at, (events - before[0]) / spent.at, (commits - before[1]) / spent.at)
    return Seen(load, spent, process_bytes, float(wal), *rates)


_COMMITS = "streamcat_heartbeat_commits_total"


def mixed(of_each: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return each name as often as its audience is large, evenly spread."""
    places = [
        ((number + 0.5) / audience, name)
        for audience, name in zip(of_each, names, strict=False)
        for number in range(audience)
    ]
    return [name for _, name in sorted(places)]


def _players(bench: Bench, port: int, of_each: Sequence[int]) -> "subprocess.Popen[str]":
    plan = Plan(mixed(of_each, bench.channel_ids), INTERVAL, WINDOW, COUNTS_EVERY)
    command = [sys.executable, "-m", "bench.scale.beats", str(port)]
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    players = subprocess.Popen(command, cwd=ROOT, env=bench.world.environ, **streams)
    assert players.stdin is not None
    players.stdin.write(json.dumps(asdict(plan)) + "\n")
    players.stdin.flush()
    return players


def _come_and_go(reactor: Reactor, crowd: Crowd, node_ids: Sequence[str]) -> None:
    others, due = cycle(node_ids), time.perf_counter()
    for _ in range(int(SECONDS)):
        crowd.drop(COMING)
        crowd.grow(list(islice(others, COMING)))
        due += 1
        reactor.idle(due)
