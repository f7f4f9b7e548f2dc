"""The worker is killed in every step of removals: the next one ends them, and touches nothing else."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models import Removal
from server.runtime import Resolved
from tests.conftest import Emulator, StartServer
from tests.killing import calls, kill, lock_waiters, serve
from tests.registration import Person, Registry, open_registry
from tests.removals import NOTHING, account, all_removed, go_live, leave, removals, removals_fall_due
from tests.waiting import eventually

pytestmark = pytest.mark.soak

STEPS = ("ListStreamKeys", "DeleteStreamKey", "StopStream", "DeleteChannel")
HELD = (*STEPS, "DeleteRoom", "DeleteStage")
WAITING = ("late", "timeout", "timeout-after")


async def hold(emulator: Emulator, operation: str, kind: str, **where: str) -> int:
    body = {"operation": operation, "kind": kind, "seconds": 300, "where": where}
    return int((await emulator.control("faults", body))["id"])


async def held_in(registry: Registry, person: Person, operation: str) -> dict[str, str]:
    """The members of the request that the step makes for the person."""
    owned = {part: arns[0] for part, arns in (await registry.owned(person.id)).items()}
    keys = await registry.aws.call("ivs", "list_stream_keys", channelArn=owned["channel"])
    return {
        "ListStreamKeys": {"channelArn": owned["channel"]},
        "DeleteStreamKey": {"arn": keys["streamKeys"][0]["arn"]},
        "StopStream": {"channelArn": owned["channel"]},
        "DeleteChannel": {"arn": owned["channel"]},
        "DeleteRoom": {"identifier": owned["chatRoom"]},
        "DeleteStage": {"arn": owned["stage"]},
    }[operation]


async def reached(emulator: Emulator, wheres: dict[str, dict[str, str]]) -> bool:
    for operation, where in wheres.items():
        made = [call["params"] for call in await emulator.calls(operation)]
        if not any(where.items() <= params.items() for params in made):
            return False
    return True


@pytest.mark.parametrize("kind", WAITING)
async def test_killed_in_every_step(
    here: Resolved, emulator: Emulator, start_server: StartServer, tmp_path: Path, kind: str
) -> None:
    async with (
        start_server(resolved=here, worker=False) as running,
        open_registry(running.url, here.database_url, here.aws) as registry,
    ):
        before = await account(registry.aws)
        stayer = await registry.register()
        people = [await registry.register() for _ in range(5)]
        for person in people[:4]:
            await go_live(emulator, (await registry.owned(person.id))["channel"][0])
        # Four channels, each held one step further than the one before; a room, a stage; and a room's last step.
        chosen = dict(zip(HELD, (*people[:4], people[0], people[0]), strict=True))
        wheres = {operation: await held_in(registry, person, operation) for operation, person in chosen.items()}
        await emulator.control("calls/clear")
        for operation, where in wheres.items():
            await hold(emulator, operation, kind, **where)
        last = await held_in(registry, people[4], "DeleteRoom")
        not_stored = await hold(emulator, "DeleteRoom", "late", **last)
        for person in people:
            await leave(registry, person)
        async with serve(tmp_path, here) as (_, program), registry.sessions() as locks:
            await eventually(lambda: reached(emulator, wheres), "every step is held")
            await eventually(lambda: reached(emulator, {"DeleteRoom": last}), "the fifth room's too")
            await eventually(lambda: _left(registry, 7), "what is not held is done")
            await locks.execute(select(Removal).where(Removal.arn == last["identifier"]).with_for_update())
            await emulator._http.delete(f"/_emulator/faults/{not_stored}")
            await eventually(lambda: _waits(registry), "storing that the room is gone waits for the lock")
            await kill(program)
        await emulator.lift_faults()
        assert len(await removals(registry.sessions)) == 7
        await removals_fall_due(registry.sessions)
        async with serve(tmp_path, here, provision_first_pause_seconds=0.1):
            await all_removed(registry.sessions)
        for person in people:
            assert await registry.owned(person.id) == NOTHING
        after = await account(registry.aws)
        mine = await registry.owned(stayer.id)
        assert {part: arns - set(mine[part]) for part, arns in after.items()} == before
        await registry.has_exactly_one_of_each(stayer)


async def test_killed_while_it_looks_by_name(
    here: Resolved, emulator: Emulator, start_server: StartServer, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"worker": False, "provision_settle_seconds": 0.05, "provision_lease_seconds": 0.5}
    async with (
        start_server(resolved=here, **settings) as running,
        open_registry(running.url, here.database_url, here.aws) as registry,
    ):
        before = await account(registry.aws)
        for operation in ("CreateChannel", "CreateRoom", "CreateStage"):
            await emulator.fault(operation, "drop-after")
        person = await registry.register()
        assert set(person.states.values()) == {"PENDING"}
        await leave(registry, person)
        looks = ("ListChannels", "ListRooms", "ListStages")
        for operation in looks:
            await hold(emulator, operation, "late")
        await emulator.control("calls/clear")
        await removals_fall_due(registry.sessions)
        async with serve(tmp_path, here) as (_, program):
            await eventually(lambda: _called(emulator, *looks), "all looks are held")
            await kill(program)
        await emulator.lift_faults()
        for operation in ("DeleteChannel", "DeleteRoom", "DeleteStage"):
            await hold(emulator, operation, "timeout-after")
        await removals_fall_due(registry.sessions)
        async with serve(tmp_path, here) as (_, program):
            await eventually(lambda: _called(emulator, "DeleteChannel", "DeleteRoom", "DeleteStage"), "all are deleted")
            await kill(program)
        await emulator.lift_faults()
        await removals_fall_due(registry.sessions)
        async with serve(tmp_path, here):
            await all_removed(registry.sessions)
        assert await account(registry.aws) == before


async def _called(emulator: Emulator, *operations: str) -> bool:
    return all([await calls(emulator, operation) for operation in operations])


async def _left(registry: Registry, count: int) -> bool:
    return len(await removals(registry.sessions)) == count


async def _waits(registry: Registry) -> bool:
    return await lock_waiters(registry.sessions) == 1
