"""An hour's events for five thousand subscribers in a minute, a tenth of whom read nothing: memory is flat."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import psutil
import pytest
from sqlalchemy import text

from models.engine import Sessions
from schema.base import parse_id
from server.runtime import Resolved
from server.websockets import BUFFER
from subscriptions import topics
from subscriptions.bus import Bus
from subscriptions.publish import Publisher
from tests.accounts import metric
from tests.client import Client, Registered
from tests.crowd import Crowd, open_crowd
from tests.killing import serve
from tests.program import Program
from tests.registration import fresh_database, open_sessions
from tests.waiting import eventually

pytestmark = pytest.mark.soak

SUBSCRIBERS = 5_000
STALLED = SUBSCRIBERS // 10
CHANNELS = 50
# More than one per channel and minute.
CHANGES = 3_600
BURST = 10_000
# An answer repeats the alias.
PAYLOAD = 4_000
BIG = "a" * PAYLOAD
WATCH = f"subscription($id: ID!) {{ channelChanged(channelId: $id) {{ channel {{ title {BIG}: __typename }} }} }}"
MIB = 2**20
# What a client that does not read may cost: the buffer, the message that went beyond, and the newest one.
EACH = BUFFER + 2 * (PAYLOAD + 200)
# What Python and its allocator take and do not give back: pages that are only partly in use, caches of documents.
SLACK = 12 * MIB
PATIENCE = 5.0
CLOSED = 'streamcat_sockets_closed_total{code="1001"}'
SETTINGS: dict[str, Any] = {
    "database_pool_size": 10,
    # All come from one address.
    "sockets_per_address": 1_000_000,
    "socket_send_timeout_seconds": PATIENCE,
    # Those who stall answer no pings either; here it is the sending that tells.
    "socket_ping_seconds": 300,
}


@dataclass
class World:
    """The server, its crowd, and who writes elsewhere."""

    url: str
    program: Program
    crowd: Crowd
    database_url: str
    publisher: Publisher
    users: Sequence[Registered]
    made: int = 0
    most: int = 0

    def resident(self) -> int:
        """Return what the server holds, in bytes; `most` is the most of all times that this was asked."""
        now = int(psutil.Process(self.program.process.pid).memory_info().rss)
        self.most = max(self.most, now)
        return now

    def key(self, user: Registered) -> UUID:
        return parse_id(user.channel_id, argument="id", expected="Channel")[1]

    async def change(self, count: int) -> None:
        """Give the channels new titles, one after the other, as fast as it goes."""
        for number in range(count):
            if number % 50 == 0:
                self.resident()
            self.made += 1
            key = self.key(self.users[self.made % CHANNELS])
            async with self.publisher.transaction() as transaction:
                values = {"title": f"#{self.made}", "id": key}
                await transaction.session.execute(text("UPDATE channels SET title = :title WHERE id = :id"), values)
                transaction.channel_changed(key)

    async def burst(self, count: int) -> None:
        """Change one channel so often, in as many transactions of one statement."""
        key = self.key(self.users[0])
        connection = await asyncpg.connect(self.database_url)
        await connection.execute(
            f"DO $$ BEGIN FOR number IN {self.made + 1}..{self.made + count} LOOP"  # noqa: S608 - our own values
            f" UPDATE channels SET title = '#' || number WHERE id = '{key}';"
            f" PERFORM pg_notify('streamcat', '{topics.channel(key)}'); COMMIT; END LOOP; END $$"
        )
        await connection.close()
        self.made += count

    async def truth(self) -> list[Any]:
        """What a frame of each channel has to say, by the database."""
        connection = await asyncpg.connect(self.database_url)
        titles = dict(await connection.fetch("SELECT name, title FROM channels"))
        await connection.close()
        return [{"channelChanged": {"channel": {"title": titles[one.username], BIG: "Channel"}}} for one in self.users]

    async def all_know(self) -> None:
        await self.crowd.end_on(await self.truth(), 30)
        # Nobody was told that it is over, or something older than before; nobody who reads has lost a socket.
        told = self.crowd.told
        assert {name: count for name, count in told.items() if name.startswith(("says", "back"))} == {}
        assert told["connected"] == SUBSCRIBERS

    async def closed(self, count: int) -> None:
        """Wait until so many were closed because they do not read."""

        async def so() -> bool:
            return await metric(self.url, CLOSED) >= count

        await eventually(so, f"{count} are closed", 30)


@asynccontextmanager
async def open_world(folder: Path, resolved: Resolved) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(resolved.database_url))
        here = replace(resolved, database_url=url, bus_url=url)
        address, program = await stack.enter_async_context(serve(folder, here, **SETTINGS))
        client = Client(address)
        stack.push_async_callback(client.aclose)
        users = [await client.register() for _ in range(CHANNELS)]
        sessions: Sessions = await stack.enter_async_context(open_sessions(url))
        publisher = Publisher(sessions, Bus(url, sessions, heartbeat=60))
        crowd = await stack.enter_async_context(open_crowd())
        yield World(address, program, crowd, url, publisher, users)


async def test_memory_is_flat_with_five_thousand_subscribers(tmp_path: Path, resolved: Resolved) -> None:
    async with open_world(tmp_path, resolved) as world:
        watched = [{"id": one.channel_id} for one in world.users]
        await world.crowd.grow([world.url], WATCH, watched, SUBSCRIBERS, stalls_every=SUBSCRIBERS // STALLED)
        # Each channel once: what is made for the first time is no growth.
        await world.change(CHANNELS)
        await world.all_know()
        warm = world.resident()
        assert await metric(world.url, "streamcat_sockets") == SUBSCRIBERS

        thirds = []
        for _ in range(3):
            await world.change(CHANGES // 3)
            await world.all_know()
            thirds.append(world.resident())
        await world.closed(STALLED)
        await world.burst(BURST)
        await world.all_know()
        end = world.resident()
        print("MiB:", *(round(one / MIB, 1) for one in (warm, *thirds, end, world.most)))
        # While those who do not read are there, and later: what was theirs is not given back, but used again.
        assert world.most <= warm + STALLED * EACH + SLACK
        assert end <= thirds[-1] + SLACK
        assert await metric(world.url, CLOSED) == STALLED
        assert await metric(world.url, "streamcat_sockets") == SUBSCRIBERS - STALLED
        # They find what was sent before they were too late, and then the end.
        await world.crowd.ask(wake=True)
        await world.crowd.ended(STALLED)
        assert "Traceback" not in world.program.err
