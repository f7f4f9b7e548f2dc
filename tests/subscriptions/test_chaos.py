"""Two processes with a crowd of subscribers, and what may go wrong around them, one after the other.

After each the changes stop, and every subscriber has to come to rest on what the database says. Nothing that is left
unheard is made up for by a later notice: what is to be seen was written while the bus was away.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from schema.base import parse_id
from server.runtime import Resolved
from subscriptions.bus import Bus
from subscriptions.publish import Publisher
from tests.accounts import metric
from tests.client import Client, Registered
from tests.crowd import Crowd, open_crowd
from tests.killing import kill, serve
from tests.owners import UPDATE
from tests.registration import open_sessions
from tests.subscriptions.outages import Around
from tests.subscriptions.redis_server import Redis
from tests.waiting import eventually

SUBSCRIBERS = 1_200
CHANNELS = 12
WATCH = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { id title owner { username } } } }"
# Seconds from when all is there again until all know the truth.
SOON = 10.0
UNAVAILABLE = 'streamcat_request_errors_total{code="UNAVAILABLE"}'
SETTINGS: dict[str, Any] = {
    # All come from one address.
    "sockets_per_address": 1_000_000,
    "database_pool_size": 10,
    "database_statement_timeout_seconds": 5,
}


@dataclass
class Changes:
    """Titles that the channels' owners give them, by mutations that go to one process."""

    client: Client
    database_url: str
    users: Sequence[Registered]
    made: int = 0
    refused: int = 0

    async def make(self) -> None:
        """Give one channel the next title, or be refused."""
        self.made += 1
        user = self.users[self.made % len(self.users)]
        wanted = {"channelId": user.channel_id, "title": f"#{self.made:07}"}
        body = await self.client.execute(UPDATE, {"input": wanted}, token=user.token)
        if "errors" in body:
            assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAVAILABLE"], body
            self.refused += 1

    async def everywhere(self) -> None:
        """Change each channel once, at least."""
        refused = self.refused
        for _ in self.users:
            await self.make()
        assert self.refused == refused

    async def truth(self) -> list[Any]:
        """What a frame of each channel has to say, by the database."""
        connection = await asyncpg.connect(self.database_url)
        rows = await connection.fetch("SELECT name, title FROM channels")
        await connection.close()
        titles = {row["name"]: row["title"] for row in rows}
        return [
            {"channelChanged": {"channel": {"id": one.channel_id, "title": titles[one.username], "owner": owner(one)}}}
            for one in self.users
        ]

    async def elsewhere(self, url: str, bus_url: str) -> None:
        """Change each channel by another process, which reaches the database by this URL."""
        async with open_sessions(url) as sessions:
            bus = Bus(bus_url, sessions, heartbeat=60)
            await bus.start(lambda _: None, lambda: None)
            async with Publisher(sessions, bus).transaction() as transaction:
                for user in self.users:
                    self.made += 1
                    key = parse_id(user.channel_id, argument="id", expected="Channel")[1]
                    values = {"title": f"#{self.made:07}", "id": key}
                    await transaction.session.execute(text("UPDATE channels SET title = :title WHERE id = :id"), values)
                    transaction.channel_changed(key)
            await bus.stop()

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Changes from all sides while the block runs."""
        stopped = False

        async def go_on() -> None:
            while not stopped:
                await self.make()

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            stopped = True
            await task


def owner(user: Registered) -> dict[str, str]:
    return {"username": user.username}


@dataclass
class World:
    """What has to hold after each disaster."""

    changes: Changes
    crowd: Crowd
    urls: tuple[str, str]

    async def agrees(self) -> None:
        await self.crowd.end_on(await self.changes.truth(), SOON)
        assert self.crowd.told["served"] == SUBSCRIBERS
        # Nobody was told that it is over, and nobody was told something older than before.
        assert {name: count for name, count in self.crowd.told.items() if name.startswith(("says", "back"))} == {}

    async def connected(self) -> int:
        return int((await self.crowd.ask())["connected"])

    async def goes_by(self, count: int) -> None:
        """Wait until so many changes more were made."""
        made = self.changes.made

        async def so() -> bool:
            return self.changes.made >= made + count

        await eventually(so, f"{count} changes")

    async def refused(self) -> None:
        """Wait until the database was missed by a change."""

        async def so() -> bool:
            return self.changes.refused > 0

        await eventually(so, "a change is refused")

    async def taken(self) -> None:
        """Wait until changes are taken again, of every channel."""
        taken = self.changes.made - self.changes.refused

        async def so() -> bool:
            return self.changes.made - self.changes.refused >= taken + 2 * CHANNELS

        await eventually(so, "changes are taken again")

    async def found_again(self, count: int) -> None:
        """Wait until those of the process that was killed are served again."""
        connected = self.crowd.told["connected"]

        async def so() -> bool:
            told = await self.crowd.ask()
            return bool(told["connected"] == connected + count and told["served"] == SUBSCRIBERS)

        await eventually(so, f"{count} have found another process")

    async def missed(self) -> None:
        """Wait until both processes have looked in vain."""

        async def so() -> bool:
            return all([await metric(url, UNAVAILABLE) for url in self.urls])

        await eventually(so, "both processes miss the database")

    async def deaf(self) -> None:
        """Wait until both processes know that they hear nothing."""

        async def so() -> bool:
            return [await metric(url, "streamcat_bus_healthy") for url in self.urls] == [0, 0]

        await eventually(so, "both processes know that the bus is away")


@pytest.mark.parametrize(
    "bus", [pytest.param("postgresql", marks=pytest.mark.soak), pytest.param("redis", marks=pytest.mark.redis)]
)
async def test_all_subscribers_end_on_the_truth(
    tmp_path: Path, around: tuple[Around, Resolved], bus: str, request: pytest.FixtureRequest
) -> None:
    world, here = around
    bus_goes, bus_comes = world.outage("bus").begin, world.outage("bus").end
    if bus == "redis":
        redis: Redis = request.getfixturevalue("redis")
        here = replace(here, bus_url=f"redis://127.0.0.1:{redis.port}/0")
        bus_goes, bus_comes = lambda: asyncio.to_thread(redis.kill), lambda: asyncio.to_thread(redis.start)
    settings = SETTINGS | {"bus_url": here.bus_url}
    async with AsyncExitStack() as stack:
        survivor, survives = await stack.enter_async_context(serve(tmp_path / "survivor", here, **settings))
        victim, dies = await stack.enter_async_context(serve(tmp_path / "victim", here, **settings))
        client = Client(survivor)
        stack.push_async_callback(client.aclose)
        changes = Changes(client, here.database_url, [await client.register() for _ in range(CHANNELS)])
        crowd = await stack.enter_async_context(open_crowd())
        all_ = World(changes, crowd, (survivor, victim))
        await crowd.grow([survivor, victim], WATCH, [{"id": one.channel_id} for one in changes.users], SUBSCRIBERS)
        async with changes.going_on():
            await all_.goes_by(40)
        await all_.agrees()
        assert await all_.connected() == SUBSCRIBERS

        async with changes.going_on():
            await bus_goes()
            await all_.deaf()
        await changes.everywhere()
        await bus_comes()
        await all_.agrees()
        assert await all_.connected() == SUBSCRIBERS

        # Out of reach for these two, while notices come.
        await world.database.cut()
        await changes.elsewhere(world.url, here.bus_url if bus == "redis" else world.url)
        await all_.missed()
        await world.database.mend()
        await all_.agrees()
        assert await all_.connected() == SUBSCRIBERS

        outage = world.outage("database restarted")
        async with changes.going_on():
            await outage.begin()
            await all_.refused()
            await outage.end()
            await all_.taken()
        await all_.agrees()
        # Nobody has lost a socket, and no subscription has ended.
        assert await all_.connected() == SUBSCRIBERS

        async with changes.going_on():
            await kill(dies)
            await all_.found_again(SUBSCRIBERS // 2)
        await all_.agrees()
        assert await all_.connected() == SUBSCRIBERS + SUBSCRIBERS // 2
        assert survives.process.poll() is None
        assert "Traceback" not in survives.err
