"""Subscriptions on one topic, and on 500: ours against (a) bare uvicorn, and (b) a plain Strawberry subscription.

(a) `bare` broadcasts the same bytes by the same websocket implementation, the limit; (b) `plain` is what Strawberry's
guide teaches, with a queue per subscriber. Each server is one process that has one core for itself, on which the
clients and PostgreSQL do not run; all three hold as many sockets as the size says, and are measured in turns. Ours
reads what changed from the database; the two others are told it, which favours them.

steady: a change every `--every` ms, but none before the one before is everywhere. Every socket must get every one.
burst: 10 changes at once. The others must deliver all; ours may merge, each socket's last frame must be the newest.
waves: 5,000 sockets on 500 channels (as many as the greatest size has), whose viewer counts all change at once.

`deliveries/s` is while a change is under way, from its beginning until its last delivery, PostgreSQL's part included;
`cpu` is the server's own per delivery; `p50` and `p99` are from a change to its last delivery; `of` is deliveries of
changes times sockets; `server` and `client` are how busy those processes were: a server that is far from 100 % in a
burst had to share its core, and a client near it is what was measured. `--help` says how to narrow a run down.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg

from bench.fanout.crowd import Crowd, Reactor
from bench.fanout.rounds import Pace, Round, Source, Turns, at, cpu, memory, ratios
from bench.fanout.said import CHANNEL, START, VIEWERS, Scenario
from bench.ingest.histories import channels
from bench.served import SERVE, free_port, served
from models import Channel, migrate
from schema.base import global_id
from server.embedded.postgres import EmbeddedPostgres

KINDS = ("ours", "bare", "plain")
STEADY_SECONDS = 2.0
# A slow server may take longer than that for these.
STEADY_LEAST = 3
BURST = 10
# Seconds, longer than a subscriber of viewer counts is told nothing more.
PEACE = 1.2
WAVES = 2

LINE = "{:>6} {:7} {:6} {:>12} {:>8} {:>8} {:>8} {:>16} {:>7} {:>7}"
HEADINGS = ("size", "mode", "server", "deliveries/s", "cpu us", "p50 ms", "p99 ms", "of", "server", "client")

Found = Mapping[str, list[Round]]
# Of each server its subscribers and its process.
Crowds = Mapping[str, tuple[Crowd, int]]


@dataclass(frozen=True)
class World:
    """What all servers share."""

    environ: dict[str, str]
    source: Source
    node_ids: Sequence[str]
    core: int
    others: Sequence[int]


async def main(*options: str) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench fanout")
    parser.add_argument("--sizes", default="200,1000,5000", help="numbers of subscribers, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=float, default=50, help="ms between two changes of `steady`")
    parser.add_argument("--servers", default=",".join(KINDS), help="which of them, by commas; ours must be among them")
    asked = parser.parse_args(options)
    pace = Pace(asked.every / 1000, seconds=STEADY_SECONDS, least=STEADY_LEAST)
    kinds = [kind for kind in KINDS if kind in asked.servers.split(",")]
    sizes = [int(size) for size in asked.sizes.split(",")]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    assert len(kinds) * max(sizes) + 200 < most, f"of {most} files one process cannot have so many sockets"
    with ExitStack() as stack:
        world = await create_world(stack)
        print(f"Medians of {asked.rounds} rounds.")
        print(LINE.format(*HEADINGS))
        for size in sizes:
            with _crowds(world, CHANNEL, kinds, size) as (turns, crowds):
                for crowd, pid in crowds.values():
                    # Not counted: what is done for the first time.
                    turns.steady(crowd, pid, Pace(least=2))
                _print(size, "steady", _rounds(crowds, asked.rounds, partial(turns.steady, pace=pace)))
                _print(size, "burst", _rounds(crowds, asked.rounds, partial(turns.burst, count=BURST)))
        with _crowds(world, VIEWERS, kinds, max(sizes)) as (turns, crowds):
            for crowd, pid in crowds.values():
                turns.steady(crowd, pid, Pace(least=1))
            wave = Pace(pause=PEACE, least=WAVES)
            _print(max(sizes), "waves", _rounds(crowds, asked.rounds, partial(turns.steady, pace=wave)))


def _rounds(crowds: Crowds, count: int, turn: Callable[[Crowd, int], Round]) -> Found:
    found: Found = {kind: [] for kind in crowds}
    for number in range(count):
        for kind in list(crowds)[:: 1 if number % 2 else -1]:
            found[kind].append(turn(*crowds[kind]))
    return found


async def create_world(stack: ExitStack) -> World:
    """Start PostgreSQL with live channels, and what changes them."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
    folder.chmod(0o755)
    core, *others = sorted(os.sched_getaffinity(0))
    # What is started from here inherits it.
    os.sched_setaffinity(0, others or [core])
    stack.callback(os.sched_setaffinity, 0, [core, *others])
    postgres = EmbeddedPostgres(folder / "postgres")
    stack.callback(postgres.stop)
    database_url = postgres.start()
    await migrate.upgrade(database_url)
    await channels(database_url)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO streams (id, channel_id, ivs_stream_id, title, first_seen_at, started_at)"
        " SELECT gen_random_uuid(), id, 'st-' || name, title, now(), now() FROM channels"
    )
    await connection.execute(
        "UPDATE channels SET live_stream_id = streams.id, live_since = now()"
        " FROM streams WHERE streams.channel_id = channels.id"
    )
    rows = await connection.fetch("SELECT id FROM channels ORDER BY name")
    await connection.close()
    environ = {
        **os.environ,
        # All come from one address.
        "SOCKETS_PER_ADDRESS": "1000000",
        "DATABASE_URL": database_url,
        "SECRET_KEY": "x" * 32,
        # Nothing listens there.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "EVENTS_QUEUE_URL": "http://127.0.0.1:9/queue",
        "RECORDINGS_CDN_URL": "https://recordings.example.invalid",
        "WORKERS": "external",
        "LOG_LEVEL": "error",
    }
    source = Source(environ)
    stack.callback(source.stop)
    return World(environ, source, [global_id(Channel(id=row["id"])) for row in rows], core, others or [core])


@contextmanager
def _crowds(world: World, scenario: Scenario, kinds: Sequence[str], size: int) -> Iterator[tuple[Turns, Crowds]]:
    """Start the servers and connect everybody; print what that took."""
    few = 1 if scenario is CHANNEL else len(world.node_ids)
    watched = [world.node_ids[number % few] for number in range(size)]
    world.source.ask("ours", scenario, START, 1)
    world.source.began()
    reactor = Reactor()
    with ExitStack() as stack:
        crowds = {}
        for kind in kinds:
            port = free_port()
            arguments = SERVE if kind == "ours" else ("-m", f"bench.fanout.{kind}", str(port))
            os.sched_setaffinity(0, [world.core])
            pid = stack.enter_context(served(port, {**world.environ, "PORT": str(port)}, arguments))
            os.sched_setaffinity(0, world.others)
            crowds[kind] = (Crowd(reactor, kind, port, scenario), pid)
        for kind, (crowd, pid) in crowds.items():
            stack.callback(crowd.leave)
            _connect(kind, crowd, pid, watched)
        samples = {kind: crowd.sample for kind, (crowd, _) in crowds.items()}
        expected = {"data": scenario.data(watched[0], START)}
        assert all(json.loads(sample)["payload"] == expected for sample in samples.values()), samples
        # Else bare would not broadcast the same bytes; json.dumps of plain adds spaces.
        assert len({len(sample) for kind, sample in samples.items() if kind != "plain"}) == 1, samples
        yield Turns(reactor, world.source, scenario), crowds


def _connect(kind: str, crowd: Crowd, pid: int, watched: Sequence[str]) -> None:
    # The first one pays for what is made only once.
    crowd.grow(watched[:1])
    (rss, pss), used, began = memory(pid), cpu(pid), time.perf_counter()
    crowd.grow(watched[1:])
    took, used, count = time.perf_counter() - began, cpu(pid) - used, len(watched) - 1
    grown = [(after - before) / count / 1024 for after, before in zip(memory(pid), (rss, pss), strict=True)]
    print(
        f"{len(watched):>6} idle    {kind:6} {grown[0]:.1f} KiB RSS, {grown[1]:.1f} KiB PSS per socket;"
        f" {count / took:.0f} subscribed per second, {used / count * 1e6:.0f} us CPU each",
        flush=True,
    )


def _print(size: int, mode: str, found: Found) -> None:
    for kind, rounds in found.items():
        latencies = [latency for one in rounds for latency in one.latencies]
        print(
            LINE.format(
                size,
                mode,
                kind,
                f"{statistics.median(one.per_second for one in rounds):.0f}",
                f"{statistics.median(one.cpu_us for one in rounds):.1f}",
                f"{at(latencies, 0.5):.1f}",
                f"{at(latencies, 0.99):.1f}",
                f"{sum(one.deliveries for one in rounds)}/{sum(one.made for one in rounds)}",
                f"{statistics.median(one.server for one in rounds):.0%}",
                f"{statistics.median(one.client for one in rounds):.0%}",
            )
        )
    for other in list(found)[1:]:
        pairs = found["ours"], found[other]
        speed = ratios(*([one.per_second for one in rounds] for rounds in pairs))
        effort = ratios(*([one.cpu_us for one in rounds] for rounds in pairs))
        print(f"{size:>6} {mode:7} ours / {other}: deliveries/s {speed}, cpu {effort}", flush=True)
