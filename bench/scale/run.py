"""What a viewer costs, piece by piece, and whether the pieces add up: the figures of docs/scale.md.

First the unit costs, each of a server that does nothing else, in rounds; then a mixed audience of which none of them
comes, and beside what it took what `bench.scale.model` says of it; then what the same formulae say of 1,000, 100,000
and 1,000,000 viewers. One server process has a core for itself; its clients and PostgreSQL have the others. All costs
are CPU time and memory, which a machine that does other things distorts less than it does time.
"""

import argparse
import os
import resource
from contextlib import ExitStack
from dataclasses import replace

import asyncpg

from bench.fanout.run import create_world
from bench.scale import database, sockets
from bench.scale.meters import postgres_pid
from bench.scale.model import Load, Predicted, audiences, predict
from bench.scale.simulation import Seen, simulate
from bench.scale.sockets import Bench, Found

# Viewers, channels that are live, processes; and the last again with what docs/scale.md says to turn.
TURNED = {"changes": 0.2, "counts": 0.2, "batch_delay": 0.25}
PLANS: tuple[tuple[int, int, int, dict[str, float]], ...] = (
    (1_000, 100, 1, {}),
    (100_000, 2_000, 10, {}),
    (1_000_000, 10_000, 100, {}),
    (1_000_000, 10_000, 100, TURNED),
    (1_000_000, 10_000, 50, {**TURNED, "heartbeat_interval": 60.0, "window": 90.0}),
)
# Of TCP over IPv4 over Ethernet, with timestamps; and of a frame of a websocket.
PACKET_BYTES, HEAD_BYTES = 66, 4


async def main(*options: str) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench scale")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(options)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"Medians of {asked.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning.")
    with ExitStack() as stack:
        world = await create_world(stack)
        connection = await asyncpg.connect(world.environ["DATABASE_URL"])
        rows = await connection.fetch("SELECT id FROM channels ORDER BY name")
        await connection.close()
        bench, found = Bench(world, postgres_pid(), [str(row["id"]) for row in rows]), Found()
        for _ in range(asked.rounds):
            sockets.one_channel(bench, found)
            sockets.many_channels(bench, found)
            await sockets.players(bench, found)
            sockets.compressed(bench, found)
        seen = await simulate(bench, found["commit_seconds"])
        await database.measure(bench, found)
    _tell_units(found)
    _tell_simulation(seen, predict(seen.load, found.server(), found.postgres()))
    for plan in PLANS:
        _tell_plan(*plan, found)
    print(f"Load {os.getloadavg()[0]:.1f} at the end.")


def _tell_units(found: Found) -> None:
    for name, values in found.rounds.items():
        one, least, most = found[name], min(values), max(values)
        if name in {"idle", "postgres_idle"}:
            print(f"{name:26} {one:14.4f} cores   {least:.4f} to {most:.4f}")
        elif "bytes" in name:
            print(f"{name:26} {one:14,.0f} bytes   {least:,.0f} to {most:,.0f}")
        else:
            print(f"{name:26} {one * 1e6:14,.2f} us      {least * 1e6:,.2f} to {most * 1e6:,.2f}")


def _tell_simulation(seen: Seen, told: Predicted) -> None:
    load = seen.load
    print(f"{load.viewers:,} sockets, {load.heartbeats:.0f} heartbeats/s, {seen.spent.at:.0f} s: predicted, measured")
    pairs = {
        "deliveries/s": (load.viewers * load.changes, seen.deliveries),
        "events/s": (load.runs * load.changes + load.viewers / load.stay, seen.events),
        "commits/s": (load.commits, seen.commits),
        "server, cores": (sum(told.process.values()), seen.spent.server / seen.spent.at),
        "server, MiB": (told.process_bytes / 2**20, seen.process_bytes / 2**20),
        # Nobody rolls up there.
        "PostgreSQL, cores": (
            sum(told.postgres.values()) - told.postgres["roll-ups"],
            seen.spent.postgres / seen.spent.at,
        ),
        "WAL, KiB/s": (told.wal_bytes / 1024, seen.wal_bytes / seen.spent.at / 1024),
    }
    for name, (one, other) in pairs.items():
        print(f"{name:18} {one:10.3f} {other:10.3f}   measured / predicted {other / one:.2f}")
    _tell_parts(told)


def _tell_parts(told: Predicted) -> None:
    for name, parts in (("server", told.process), ("PostgreSQL", told.postgres)):
        print(f"  {name}: " + ", ".join(f"{part} {cores:.3f}" for part, cores in parts.items()))


def _tell_plan(viewers: int, channels: int, processes: int, turned: dict[str, float], found: Found) -> None:
    wire, waits = found["frame_bytes"] + HEAD_BYTES + PACKET_BYTES, found["commit_seconds"]
    load = replace(Load(audiences(viewers, channels), processes, wire_bytes=wire, commit_seconds=waits), **turned)
    told = predict(load, found.server(), found.postgres())
    print(
        f"{viewers:,} viewers of {channels:,} channels on {processes} processes: "
        f"each {sum(told.process.values()):.2f} cores and {told.process_bytes / 2**20:,.0f} MiB, "
        f"{load.runs:,.0f} channels watched; PostgreSQL {sum(told.postgres.values()):.2f} cores, "
        f"{told.wal_bytes / 2**20:.2f} MiB/s WAL; {load.heartbeats:,.0f} heartbeats/s, {load.commits:,.0f} commits/s, "
        f"{load.heartbeats * 86400 * found['postgres_row_bytes'] / 1e9:,.1f} GB of heartbeats a day; "
        f"{load.changed:,.0f} notices/s, {load.changed * processes:,.0f} heard; out {told.wire_bytes / 1e6:,.2f} MB/s"
    )
    _tell_parts(told)
