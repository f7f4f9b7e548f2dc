"""Unit costs of a server process, each from a server that has just started and does nothing else."""

import os
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import asyncpg

from bench.fanout.crowd import Crowd, Reactor
from bench.fanout.rounds import Pace, Turns, memory
from bench.fanout.run import World
from bench.fanout.said import CHANNEL, START, VIEWERS, Scenario
from bench.scale import beats
from bench.scale.deflated import DeflatedCrowd
from bench.scale.meters import Meter, counted
from bench.scale.model import Load, Postgres, Server
from bench.served import free_port, served

SOCKETS = 2_000
FEW = 100
IDLE_SECONDS = 3.0
# No ping comes while something else is measured.
QUIET = {"SOCKET_PING_SECONDS": "600"}
PING_SECONDS = 2.0
PINGS_SECONDS = 6.0
STEADY = Pace(every=0.04, seconds=2.0, least=3)
# Longer than a subscriber of viewer counts is told nothing more.
WAVES = Pace(pause=1.2, least=5)
UNHEARD = 20
# By connections: with one, each has a commit of its own.
HEARTBEATS = {1: 300, 64: 3000}


_WAL = ("postgres_wal_bytes", "postgres_commit_wal_bytes")
# With its indexes, and what marks its minute for a roll-up is not kept.
_ROOM = """
SELECT sum(pg_total_relation_size(inhrelid))::float / (SELECT count(*) FROM metrics)
  FROM pg_inherits WHERE inhparent = 'metrics'::regclass
"""


@dataclass
class Found:
    """The figures of each round by their names: seconds of CPU, and bytes."""

    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.rounds.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def server(self) -> Server:
        return Server(**{one.name: self[one.name] for one in fields(Server)})

    def postgres(self) -> Postgres:
        return Postgres(**{one.name: self[f"postgres_{one.name}"] for one in fields(Postgres)})


@dataclass(frozen=True)
class Bench:
    """Where it is measured."""

    world: World
    postgres: int
    channel_ids: Sequence[str]

    @contextmanager
    def server(self, **environ: str) -> Iterator[tuple[int, int]]:
        """Run a server on the core that is its own; give its port and process."""
        port = free_port()
        os.sched_setaffinity(0, [self.world.core])
        with served(port, {**self.world.environ, **environ, "PORT": str(port)}) as pid:
            os.sched_setaffinity(0, self.world.others)
            # It listens before it serves.
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz"):
                pass
            yield port, pid

    def reset(self, scenario: Scenario) -> None:
        """Bring the channels to the state that subscribers begin with."""
        self.world.source.ask("ours", scenario, START, 1)
        self.world.source.began()


@contextmanager
def _crowd(port: int, scenario: Scenario, kind: Callable[..., Crowd] = Crowd) -> Iterator[tuple[Reactor, Crowd]]:
    reactor = Reactor()
    crowd = kind(reactor, "ours", port, scenario)
    yield reactor, crowd
    crowd.leave()


def one_channel(bench: Bench, found: Found) -> None:
    """Many on one channel: idle, coming, told, going; then few, for what a change costs by itself."""
    source, ids = bench.world.source, [bench.world.node_ids[0]] * SOCKETS
    with bench.server(**QUIET) as (port, pid):
        time.sleep(1)
        meter = Meter(pid, bench.postgres)
        time.sleep(IDLE_SECONDS)
        idle = meter.since()
        found.add("idle", idle.server / idle.at)
        found.add("postgres_idle", idle.postgres / idle.at)
        bench.reset(CHANNEL)
        with _crowd(port, CHANNEL) as (reactor, crowd):
            crowd.grow(ids[:1])
            before = memory(pid)[0]
            crowd.grow(ids[1:FEW])
            meter.since()
            crowd.grow(ids[FEW:])
            found.add("join", meter.since().server / (SOCKETS - FEW))
            socket = (memory(pid)[0] - before) / (SOCKETS - 1)
            found.add("socket_bytes", socket)
            found.add("process_bytes", before - socket)
            turns = Turns(reactor, source, CHANNEL)
            turns.steady(crowd, pid, Pace(least=2))
            many = turns.steady(crowd, pid, STEADY)
            meter.since()
        time.sleep(1.5)
        gone = meter.since()
        found.add("leave", max(0.0, gone.server - gone.at * found["idle"]) / SOCKETS)
        bench.reset(CHANNEL)
        with _crowd(port, CHANNEL) as (reactor, crowd):
            crowd.grow(ids[:FEW])
            turns = Turns(reactor, source, CHANNEL)
            turns.steady(crowd, pid, Pace(least=2))
            few = turns.steady(crowd, pid, STEADY)
        slope = many.cpu / (many.deliveries / SOCKETS) - few.cpu / (few.deliveries / FEW)
        found.add("delivery", slope / (SOCKETS - FEW))


def many_channels(bench: Bench, found: Found) -> None:
    """Nobody, then one on each of 500 channels whose numbers of viewers change."""
    bench.reset(VIEWERS)
    ids = bench.world.node_ids
    with bench.server(**QUIET) as (port, pid), _crowd(port, VIEWERS) as (reactor, crowd):
        source = bench.world.source
        time.sleep(1)
        meter = Meter(pid, bench.postgres)
        source.ask("ours", VIEWERS, START - UNHEARD, UNHEARD)
        source.began()
        time.sleep(1)
        unheard = meter.since()
        notices = UNHEARD * len(ids)
        found.add("notice", (unheard.server - unheard.at * found["idle"]) / notices)
        bench.reset(VIEWERS)
        crowd.grow(ids[:1])
        before = memory(pid)[0]
        crowd.grow(ids[1:])
        found.add("run_bytes", (memory(pid)[0] - before) / (len(ids) - 1) - found["socket_bytes"])
        turns = Turns(reactor, source, VIEWERS)
        turns.steady(crowd, pid, Pace(pause=1.2, least=1))
        meter.since()
        told = turns.steady(crowd, pid, WAVES)
        spent = meter.since()
        looks = WAVES.least * len(ids)
        found.add("event", (told.cpu - spent.at * found["idle"]) / looks - found["delivery"])
        told_of = (unheard.postgres - unheard.at * found["postgres_idle"]) / notices
        found.add("postgres_read", (spent.postgres - spent.at * found["postgres_idle"]) / looks - told_of)
        found.add("frame_bytes", len(crowd.sample))


async def players(bench: Bench, found: Found) -> None:
    """Heartbeats, each with a commit of its own and many with one; then pings."""
    connection = await asyncpg.connect(bench.world.environ["DATABASE_URL"])
    await connection.execute("TRUNCATE metrics, metric_marks")
    with bench.server(SOCKET_PING_SECONDS=str(PING_SECONDS)) as (port, pid):
        await beats.at_once(port, bench.channel_ids, 16, 200)
        spent = {}
        for connections, count in HEARTBEATS.items():
            commits = counted(port, "streamcat_heartbeat_commits_total")
            lsn = await connection.fetchval("SELECT pg_current_wal_lsn()")
            meter = Meter(pid, bench.postgres)
            answered = await beats.at_once(port, bench.channel_ids, connections, count)
            used = meter.since()
            share = (counted(port, "streamcat_heartbeat_commits_total") - commits) / count
            wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1)", lsn)
            server = used.server - used.at * found["idle"]
            spent[connections] = share, server / count, used.postgres / count, float(wal) / count
            if connections == 1:
                found.add("commit_seconds", answered - Load.batch_delay)
        found.add("postgres_row_bytes", await connection.fetchval(_ROOM))
        (one, *alone), (few, *shared) = spent.values()
        names = ("heartbeat", "commit"), ("postgres_heartbeat", "postgres_commit"), _WAL
        for (each, together), single, many in zip(names, alone, shared, strict=True):
            commit = (single - many) / (one - few)
            found.add(together, commit)
            found.add(each, many - few * commit)
        await connection.close()
        bench.reset(CHANNEL)
        with _crowd(port, CHANNEL) as (reactor, crowd):
            crowd.grow([bench.world.node_ids[0]] * SOCKETS)
            reactor.idle(time.perf_counter() + PING_SECONDS)
            meter = Meter(pid, bench.postgres)
            reactor.idle(time.perf_counter() + PINGS_SECONDS)
            used = meter.since()
            found.add("ping", (used.server / used.at - found["idle"]) * PING_SECONDS / SOCKETS)


def compressed(bench: Bench, found: Found) -> None:
    """The same as on one channel, with SOCKET_COMPRESSION."""
    bench.reset(CHANNEL)
    with bench.server(**QUIET, SOCKET_COMPRESSION="true") as (port, pid), _crowd(port, CHANNEL, DeflatedCrowd) as both:
        reactor, crowd = both
        assert isinstance(crowd, DeflatedCrowd)
        turns = Turns(reactor, bench.world.source, CHANNEL)
        crowd.grow([bench.world.node_ids[0]])
        before = memory(pid)[0]
        crowd.grow([bench.world.node_ids[0]] * (SOCKETS - 1))
        turns.steady(crowd, pid, Pace(least=2))
        found.add("compressed_socket_bytes", (memory(pid)[0] - before) / (SOCKETS - 1))
        crowd.frames_packed = crowd.bytes_packed = 0
        told = turns.steady(crowd, pid, STEADY)
        found.add("compressed_delivery", told.cpu / told.deliveries)
        found.add("compressed_bytes", crowd.bytes_packed / crowd.frames_packed)
        found.add("plain_bytes", len(crowd.sample) + 4)
