"""The server is killed between any two steps of a registration: the next one ends with one of each."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models import Pace, User, uuid7
from server.runtime import Resolved
from tests.client import PASSWORD, REGISTER, unique
from tests.conftest import Emulator, StartServer
from tests.killing import calls, kill, lock_waiters, serve
from tests.registration import MODELS, READY, Person, Registry, open_registry
from tests.waiting import eventually

pytestmark = pytest.mark.soak

PARTS = {"channel": "CreateChannel", "chatRoom": "CreateRoom", "stage": "CreateStage"}
LOOKS = ("ListChannels", "GetChannel", "ListStreamKeys", "GetStreamKey", "ListRooms", "ListStages")


class Killed:
    """A server that is held in one step of one registration after the other, until it is killed."""

    def __init__(self, registry: Registry, emulator: Emulator, locks: AsyncExitStack) -> None:
        self.registry = registry
        self.emulator = emulator
        self.people: dict[str, Person] = {}
        self._locks = locks
        self._waiters = 0

    async def in_the_call(self, part: str, kind: str) -> None:
        """AWS has the request and does not answer."""
        await self.emulator.fault(PARTS[part], kind, seconds=300)
        person = self.people[f"{part} {kind}"] = await self.registry.register()
        assert person.states == READY | {part: "PENDING"}

    async def before_the_store(self, part: str) -> None:
        """AWS has answered; the row does not say so yet."""
        held = await self.emulator.control("faults", {"operation": PARTS[part], "kind": "late", "seconds": 300})
        person = self.people[f"{part} stored"] = await self.registry.register()
        model: Any = MODELS[part]
        session = await self._lock()
        await session.execute(select(model.id).where(model.user_id == person.id).with_for_update())
        await self.emulator.lift_fault(held)
        await self._wait(1, f"storing the {part} waits for the lock")
        owned = await self.registry.owned(person.id)
        assert {name: len(arns) for name, arns in owned.items()} == dict.fromkeys(READY, 1)

    async def before_the_call(self) -> None:
        """The rows are committed; AWS knows nothing yet."""
        session = await self._lock()
        await session.execute(select(Pace.id).where(Pace.key.like("aws:%.create_%")).with_for_update())
        person = self.people["before the call"] = await self.registry.register()
        await self._wait(3, "the calls wait for their turn")
        assert await self.registry.owned(person.id) == {"channel": [], "chatRoom": [], "stage": []}

    async def before_the_commit(self, username: str) -> "asyncio.Task[Any]":
        """The registration itself is not committed."""
        session = await self._lock()
        session.add(User(id=uuid7(), username=username, password_hash="-"))
        await session.flush()
        credentials = {"input": {"username": username, "password": PASSWORD}}
        answer = asyncio.create_task(self.registry.client.data(REGISTER, credentials))
        await self._wait(1, "the registration waits for the name")
        return answer

    async def _lock(self) -> AsyncSession:
        session = await self._locks.enter_async_context(self.registry.sessions())
        await session.begin()
        return session

    async def _wait(self, more: int, what: str) -> None:
        self._waiters += more

        async def reached() -> bool:
            return await lock_waiters(self.registry.sessions) == self._waiters

        await eventually(reached, what)


async def test_killed_in_every_step_of_a_registration(here: Resolved, emulator: Emulator, tmp_path: Path) -> None:
    username = unique("p")
    async with (
        serve(tmp_path, here, provision_wait_seconds=0.3) as (url, program),
        open_registry(url, here.database_url, here.aws) as registry,
    ):
        # A first one, so that the pace of each operation has a row to lock.
        first = await registry.register()
        assert first.states == READY
        async with AsyncExitStack() as locks:
            killed = Killed(registry, emulator, locks)
            for part in PARTS:
                for kind in ("late", "timeout", "timeout-after"):
                    await killed.in_the_call(part, kind)
                await killed.before_the_store(part)
            unanswered = await killed.before_the_commit(username)
            await killed.before_the_call()
            await kill(program)
            with pytest.raises(httpx.TransportError):
                await unanswered
        await emulator.lift_faults()
        await registry.leases_end()
    async with (
        serve(tmp_path, here, provision_settle_seconds=1) as (url, _),
        open_registry(url, here.database_url, here.aws) as registry,
    ):
        people = {"first": first, "before the commit": await registry.register(username), **killed.people}
        assert len(people) == 15
        for person in people.values():
            await registry.settled(person)
            await registry.has_exactly_one_of_each(person)
        # Made again was only what was lost on its way to AWS.
        for operation in PARTS.values():
            assert await calls(emulator, operation) == len(people) + 1
            assert await calls(emulator, operation.replace("Create", "Delete")) == 0


async def test_killed_in_every_step_of_a_retry(
    here: Resolved, emulator: Emulator, start_server: StartServer, tmp_path: Path
) -> None:
    async with (
        start_server(resolved=here, worker=False) as running,
        open_registry(running.url, here.database_url, here.aws) as registry,
    ):
        for operation in PARTS.values():
            await emulator.fault(operation, "drop-after", times=4)
        people = [await registry.register() for _ in range(4)]
        for operation in LOOKS:
            await emulator.fault(operation, "late", seconds=300)
        await registry.leases_end()
        async with serve(tmp_path, here) as (_, program):
            # Four channels, each held one step further than the one before; one room, one stage.
            await eventually(lambda: _reached(emulator, *LOOKS), "each of the looks is held")
            await eventually(lambda: _ready(registry, people, 6), "what is not held is READY")
            await kill(program)
        await emulator.lift_faults()
        for person in people:
            named = {"name": f"streamcat-{person.username}-{person.id.hex}", "tags": {"streamcat:user": str(person.id)}}
            await registry.aws.call("ivs", "create_channel", **named)
            await registry.aws.call("ivschat", "create_room", **named)
            await registry.aws.call("ivs-realtime", "create_stage", **named)
        deletions = [operation.replace("Create", "Delete") for operation in PARTS.values()]
        for operation, kind in zip(deletions, ("late", "timeout", "timeout-after"), strict=True):
            await emulator.fault(operation, kind, seconds=300)
        await registry.leases_end()
        async with serve(tmp_path, here, provision_settle_seconds=0.05) as (_, program):
            await eventually(lambda: _reached(emulator, *deletions), "each of the deletions is held")
            await eventually(lambda: _ready(registry, people, 12), "all is READY")
            await kill(program)
        await emulator.lift_faults()
        await registry.leases_end()
        async with serve(tmp_path, here, provision_settle_seconds=0.05):
            for person in people:
                await registry.settled(person)
                await registry.has_exactly_one_of_each(person)


async def _reached(emulator: Emulator, *operations: str) -> bool:
    return all([await calls(emulator, operation) for operation in operations])


async def _ready(registry: Registry, people: list[Person], count: int) -> bool:
    states = [state for person in people for state in (await registry.states(person)).values()]
    return states.count("READY") == count
