"""Registration while AWS throttles, fails, is slow or loses answers: one of each in the end, and no name is burnt."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete

from models import User
from schema.base import parse_id
from server.runtime import Resolved
from tests.cases import crossed, few
from tests.client import PASSWORD, REGISTER, open_socket, unique
from tests.conftest import Emulator, StartServer
from tests.registration import READY, Person, Registry, fresh_database, open_registry
from tests.waiting import eventually

PARTS = {"CreateChannel": "channel", "CreateRoom": "chatRoom", "CreateStage": "stage"}
LOOKS = ("ListRooms", "ListStages", "ListChannels", "GetChannel", "ListStreamKeys", "GetStreamKey")
MOST_TRIES = 6
FAST = {
    "provision_max_attempts": MOST_TRIES,
    "provision_interval_seconds": 0.05,
    "provision_first_pause_seconds": 0.01,
    "provision_settle_seconds": 0.25,
    "provision_lease_seconds": 5.0,
}
FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"kind": "throttle"},
    "broken": {"kind": "error", "code": "InternalServerException"},
    "denied": {"kind": "error", "code": "AccessDeniedException"},
    "quota": {"kind": "error", "code": "ServiceQuotaExceededException"},
    "no answer, not done": {"kind": "timeout", "seconds": 30},
    "no answer, done": {"kind": "timeout-after", "seconds": 30},
    "connection lost, done": {"kind": "drop-after"},
}
LATE: dict[str, dict[str, Any]] = {"done late": {"kind": "late", "seconds": 0.3}}
FINAL = ("denied", "quota")
DONE = ("no answer, done", "connection lost, done")
CHANGED = """
subscription Changed($id: ID!) {
  channelChanged(channelId: $id) {
    channel { provisioning playbackUrl chatRoom { provisioning } stage { provisioning } }
  }
}
"""


@pytest.fixture(scope="module")
async def hasty(resolved: Resolved) -> Resolved:
    """An AWS that is given up after 0.2 seconds."""
    return replace(resolved, aws=replace(resolved.aws, read_timeout=0.2, max_attempts=1))


@pytest.fixture(scope="module")
async def registry(start_server: StartServer, hasty: Resolved) -> AsyncIterator[Registry]:
    """A server that soon gives up and soon tries again, on a database of its own."""
    async with (
        fresh_database(hasty.database_url) as url,
        start_server(resolved=replace(hasty, database_url=url, bus_url=url), **FAST) as running,
        open_registry(running.url, url, hasty.aws) as registry,
    ):
        yield registry


@pytest.fixture(autouse=True)
async def _no_faults(emulator: Emulator) -> AsyncIterator[None]:
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    yield
    await emulator.lift_faults()


async def count(emulator: Emulator, operation: str) -> int:
    return len(await emulator.calls(operation))


@pytest.mark.parametrize(("operation", "fault"), crossed(list(PARTS), list(FAULTS)))
async def test_a_creation_that_fails(registry: Registry, emulator: Emulator, operation: str, fault: str) -> None:
    part = PARTS[operation]
    await emulator.fault(operation, **FAULTS[fault])
    person = await registry.register()
    others = {name: state for name, state in person.states.items() if name != part}
    assert others == dict.fromkeys(others, "READY")
    if fault in FINAL:
        assert person.states[part] == "FAILED"
        assert await registry.provision(person) == READY
    else:
        assert person.states[part] in ("PENDING", "READY")
    await registry.settled(person)
    await registry.has_exactly_one_of_each(person)
    for name in PARTS:
        again = name == operation and fault not in DONE
        assert await count(emulator, name) == (2 if again else 1), name
        assert await count(emulator, name.replace("Create", "Delete")) == 0


async def test_what_aws_does_after_the_retry_has_looked_is_deleted(
    start_server: StartServer, hasty: Resolved, emulator: Emulator
) -> None:
    for operation in PARTS:
        await emulator.fault(operation, "late", seconds=30)
    async with (
        fresh_database(hasty.database_url) as url,
        start_server(
            resolved=replace(hasty, database_url=url, bus_url=url), **FAST | {"provision_settle_seconds": 1.5}
        ) as running,
        open_registry(running.url, url, hasty.aws) as registry,
    ):
        person = await registry.register()
        await eventually(lambda: _rests(registry, person), "all READY by a second creation")
        assert await registry.states(person) == READY
        await emulator.lift_faults()
        await eventually(lambda: _owns(registry, person, 2), "the late ones beside them")
        await registry.settled(person)
        await registry.has_exactly_one_of_each(person)


async def _owns(registry: Registry, person: Person, each: int) -> bool:
    return {len(arns) for arns in (await registry.owned(person.id)).values()} == {each}


@pytest.mark.parametrize(
    "fault", few(["no answer, done"], [name for name in (FAULTS | LATE) if name != "no answer, done"])
)
async def test_a_look_of_a_retry_that_fails(registry: Registry, emulator: Emulator, fault: str) -> None:
    for operation in PARTS:
        await emulator.fault(operation, "drop-after")
    for operation in LOOKS:
        await emulator.fault(operation, **(FAULTS | LATE)[fault])
    person = await registry.register()
    for _ in LOOKS:
        # Each refusal that looks final is the end until the owner asks again.
        await eventually(lambda: _rests(registry, person), "a resource READY or FAILED")
        if await registry.states(person) != READY:
            assert fault in FINAL
            await registry.provision(person)
    await registry.settled(person)
    await registry.has_exactly_one_of_each(person)
    for operation in PARTS:
        assert await count(emulator, operation) == 1
        assert await count(emulator, operation.replace("Create", "Delete")) == 0
    for operation in LOOKS:
        assert await count(emulator, operation) >= 2, operation


async def _rests(registry: Registry, person: Person) -> bool:
    return "PENDING" not in (await registry.states(person)).values()


@pytest.mark.parametrize("fault", few(["none", "no answer, done"], ["throttled", "denied", "no answer, not done"]))
async def test_surplus_of_an_earlier_life_is_deleted(registry: Registry, emulator: Emulator, fault: str) -> None:
    for operation in PARTS:
        await emulator.fault(operation, "drop-after")
    for operation in ("ListRooms", "ListStages", "ListChannels"):
        await emulator.fault(operation, "throttle", times=3)
    person = await registry.register()
    named = {"name": f"streamcat-{person.username}-{person.id.hex}", "tags": {"streamcat:user": str(person.id)}}
    await registry.aws.call("ivs", "create_channel", **named)
    await registry.aws.call("ivschat", "create_room", **named)
    for _ in range(2):
        await registry.aws.call("ivs-realtime", "create_stage", **named)
    await emulator.lift_faults()
    if fault != "none":
        for operation in PARTS:
            await emulator.fault(operation.replace("Create", "Delete"), **FAULTS[fault])
    await registry.settled(person)
    await registry.has_exactly_one_of_each(person)


async def test_a_name_that_begins_alike_is_somebody_elses(registry: Registry, emulator: Emulator) -> None:
    first = await registry.register()
    for operation in PARTS:
        await emulator.fault(operation, "throttle")
    second = await registry.register(f"{first.username}-2")
    for person in (second, first):
        await registry.settled(person)
        await registry.has_exactly_one_of_each(person)


async def test_tries_end_and_the_owner_begins_again(registry: Registry, emulator: Emulator) -> None:
    await emulator.fault("CreateRoom", "throttle", times=MOST_TRIES)
    person = await registry.register()
    await eventually(lambda: _rests(registry, person), "the room FAILED")
    assert await registry.states(person) == READY | {"chatRoom": "FAILED"}
    assert await count(emulator, "CreateRoom") == MOST_TRIES
    assert (await registry.rows(person.id))["chatRoom"].provisioning_error == "ThrottlingException"
    # As many tries again.
    await emulator.fault("CreateRoom", "throttle", times=MOST_TRIES - 2)
    assert (await registry.provision(person))["chatRoom"] in ("PENDING", "READY")
    await registry.settled(person)
    await registry.has_exactly_one_of_each(person)
    assert await registry.provision(person) == READY
    assert await count(emulator, "CreateRoom") == 2 * MOST_TRIES - 1


async def test_a_slow_aws_is_no_reason_to_fail(
    start_server: StartServer, resolved: Resolved, emulator: Emulator
) -> None:
    await emulator.fault("CreateChannel", "late", seconds=30)
    await emulator.fault("CreateStage", "late", seconds=30)
    async with (
        start_server(provision_wait_seconds=0.1, worker=False) as running,
        open_registry(running.url, resolved.database_url, resolved.aws) as registry,
        open_socket(running.url) as socket,
    ):
        person = await registry.register()
        assert person.states["channel"] == person.states["stage"] == "PENDING"
        await socket.subscribe("1", CHANGED, {"id": person.payload["user"]["channel"]["id"]})
        channel = (await socket.next("1"))["channelChanged"]["channel"]
        assert (channel["provisioning"], channel["playbackUrl"]) == ("PENDING", None)
        await emulator.lift_faults()
        while [channel["provisioning"], channel["stage"]["provisioning"]] != ["READY", "READY"]:
            channel = (await socket.next("1"))["channelChanged"]["channel"]
        assert channel["playbackUrl"].endswith(".m3u8")
        await registry.settled(person)
        await registry.has_exactly_one_of_each(person)


async def test_two_workers_share_what_is_due(
    start_server: StartServer, resolved: Resolved, database_url: str, emulator: Emulator
) -> None:
    async with fresh_database(database_url) as url:
        shared = replace(resolved, database_url=url, bus_url=url)
        for operation in PARTS:
            await emulator.fault(operation, "throttle", times=5)
        async with (
            start_server(resolved=shared, worker=False, **FAST) as idle,
            open_registry(idle.url, url, resolved.aws) as registry,
        ):
            people = [await registry.register() for _ in range(5)]
            assert [person.states for person in people] == [dict.fromkeys(READY, "PENDING")] * 5
            async with start_server(resolved=shared, **FAST), start_server(resolved=shared, **FAST):
                for person in people:
                    await registry.settled(person)
                    await registry.has_exactly_one_of_each(person)
            for operation in PARTS:
                assert await count(emulator, operation) == 10
                assert await count(emulator, operation.replace("Create", "Delete")) == 0


async def test_a_try_that_comes_back_from_the_dead_leaves_nothing(
    start_server: StartServer, resolved: Resolved, emulator: Emulator
) -> None:
    async with fresh_database(resolved.database_url) as url:
        patient = replace(resolved, database_url=url, bus_url=url, aws=replace(resolved.aws, read_timeout=300))
        for operation in PARTS:
            await emulator.fault(operation, "late", seconds=300)
        async with (
            start_server(
                resolved=patient, worker=False, provision_settle_seconds=0.05, provision_wait_seconds=0
            ) as one,
            open_registry(one.url, url, resolved.aws) as registry,
        ):
            person = await registry.register()
            await eventually(lambda: _called(emulator), "all three calls are with AWS")
            await registry.leases_end()
            async with start_server(resolved=patient, **FAST):
                await registry.settled(person)
                await registry.has_exactly_one_of_each(person)
                await emulator.lift_faults()
                await eventually(lambda: _deleted(emulator), "what the first try has made is deleted")
                await registry.settled(person)
                await registry.has_exactly_one_of_each(person)


async def _called(emulator: Emulator) -> bool:
    return all([await count(emulator, operation) for operation in PARTS])


async def _deleted(emulator: Emulator) -> bool:
    return [await count(emulator, operation.replace("Create", "Delete")) for operation in PARTS] == [1, 1, 1]


async def test_what_is_made_for_a_user_who_is_gone_is_deleted(
    start_server: StartServer, resolved: Resolved, emulator: Emulator
) -> None:
    for operation in PARTS:
        await emulator.fault(operation, "late", seconds=30)
    async with (
        start_server(worker=False, provision_wait_seconds=0) as running,
        open_registry(running.url, resolved.database_url, resolved.aws) as registry,
    ):
        person = await registry.register()
        await eventually(lambda: _called(emulator), "all three calls are with AWS")
        async with registry.sessions() as session, session.begin():
            await session.execute(delete(User).where(User.id == person.id))
        await emulator.lift_faults()
        await eventually(lambda: _deleted(emulator), "what was made is deleted")
        assert await registry.owned(person.id) == {part: [] for part in READY}


async def test_registrations_of_one_name_at_once_make_one_user(registry: Registry) -> None:
    name = unique("p")
    spellings = [name, name.upper(), name.title(), name]
    answers = await asyncio.gather(
        *(
            registry.client.data(REGISTER, {"input": {"username": spelling, "password": PASSWORD}})
            for spelling in spellings
        )
    )
    payloads = [answer["userRegister"] for answer in answers]
    winner, *losers = sorted(payloads, key=lambda payload: payload["user"] is None)
    assert [[error["__typename"] for error in one["errors"]] for one in losers] == [["UsernameTaken"]] * 3
    assert [(one["user"], one["token"]) for one in losers] == [(None, None)] * 3
    _, key = parse_id(winner["user"]["id"], argument="id")
    assert {part: len(arns) for part, arns in (await registry.owned(key)).items()} == dict.fromkeys(READY, 1)
