"""The end of what a user owned on Amazon: nothing is left of it, whatever fails, and nothing else is touched."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from server.runtime import Resolved
from tests.accounts import metric
from tests.cases import crossed, few
from tests.conftest import Emulator, StartServer
from tests.registration import LISTS, READY, Registry, fresh_database, open_registry
from tests.removals import NOTHING, account, all_removed, go_live, leave, removals, removals_fall_due
from tests.waiting import eventually

PARTS = {"CreateChannel": "channel", "CreateRoom": "chatRoom", "CreateStage": "stage"}
STEPS = ("ListStreamKeys", "DeleteStreamKey", "StopStream", "DeleteChannel", "DeleteRoom", "DeleteStage")
LOOKS = ("ListChannels", "ListRooms", "ListStages")
FAST = {
    "provision_interval_seconds": 0.05,
    "provision_first_pause_seconds": 0.05,
    "provision_settle_seconds": 0.5,
    "provision_lease_seconds": 2.0,
    "provision_max_attempts": 2,
}
FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"kind": "throttle", "times": 2},
    "broken": {"kind": "error", "code": "InternalServerException", "times": 2},
    "denied": {"kind": "error", "code": "AccessDeniedException", "times": 2},
    "no answer, not done": {"kind": "timeout", "seconds": 30},
    "no answer, done": {"kind": "timeout-after", "seconds": 30},
    "connection lost, done": {"kind": "drop-after"},
    "done late": {"kind": "late", "seconds": 0.6},
}
BESIDES: dict[str, dict[str, Any]] = {
    "still live": {"kind": "error", "code": "ConflictException", "times": 3},
    "not to be stopped": {"kind": "error", "code": "StreamUnavailable", "times": 2},
}


@pytest.fixture(scope="module")
async def hasty(resolved: Resolved) -> Resolved:
    """An AWS that is given up after 0.3 seconds."""
    return replace(resolved, aws=replace(resolved.aws, read_timeout=0.3, max_attempts=1))


@pytest.fixture(scope="module")
async def server(start_server: StartServer, hasty: Resolved) -> AsyncIterator[tuple[str, Registry]]:
    async with (
        fresh_database(hasty.database_url) as url,
        start_server(resolved=replace(hasty, database_url=url, bus_url=url), **FAST) as running,
        open_registry(running.url, url, hasty.aws) as registry,
    ):
        yield running.url, registry


@pytest.fixture
def registry(server: tuple[str, Registry]) -> Registry:
    """A server that soon gives up and soon tries again, on a database of its own."""
    return server[1]


@pytest.fixture(autouse=True)
async def _no_faults(emulator: Emulator) -> AsyncIterator[None]:
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    yield
    await emulator.lift_faults()


async def count(emulator: Emulator, operation: str) -> int:
    return len(await emulator.calls(operation))


async def order(emulator: Emulator, arn: str) -> list[str]:
    """The operations that name the channel or its key, in the order of the calls."""
    keys = "stream-key/"
    return [
        call["operation"]
        for call in await emulator.calls()
        if call["params"].get("arn", call["params"].get("channelArn", "")) == arn
        or (call["operation"] == "DeleteStreamKey" and keys in call["params"]["arn"])
    ]


async def everything_but(registry: Registry, *user_ids: Any) -> dict[str, set[str]]:
    """What the account holds without what these users own."""
    whole = await account(registry.aws)
    for user_id in user_ids:
        for part, arns in (await registry.owned(user_id)).items():
            whole[part] -= set(arns)
    return whole


async def test_all_of_the_user_and_nothing_else_is_deleted(registry: Registry, emulator: Emulator) -> None:
    person, other = await registry.register(), await registry.register()
    owned, others = await registry.owned(person.id), await registry.owned(other.id)
    assert {part: len(arns) for part, arns in owned.items()} == dict.fromkeys(LISTS, 1)
    before = await everything_but(registry, person.id)
    await emulator.control("calls/clear")
    await leave(registry, person)
    await all_removed(registry.sessions)
    assert await registry.owned(person.id) == NOTHING
    assert await account(registry.aws) == before
    assert await registry.owned(other.id) == others
    # A user who was ready costs one try of each, and no look through the account.
    (arn,) = owned["channel"]
    assert await order(emulator, arn) == ["ListStreamKeys", "DeleteStreamKey", "StopStream", "DeleteChannel"]
    assert [await count(emulator, operation) for operation in STEPS] == [1] * len(STEPS)


async def test_a_live_encoder_is_sent_away_and_cannot_come_back(registry: Registry, emulator: Emulator) -> None:
    person = await registry.register()
    (arn,) = (await registry.owned(person.id))["channel"]
    stream = await go_live(emulator, arn)
    before = await everything_but(registry, person.id)
    # AWS takes a moment to end a stream; until then the channel cannot be deleted.
    await emulator.fault("DeleteChannel", **BESIDES["still live"])
    await emulator.control("calls/clear")
    await leave(registry, person)
    await eventually(lambda: _called(emulator, "DeleteChannel"), "the channel's deletion is tried")
    assert (await emulator._http.get(f"/_emulator/broadcasts/{stream}")).json()["endTime"] is not None
    assert (await emulator._http.post("/_emulator/broadcasts", json={"channelArn": arn})).status_code in (403, 404)
    await all_removed(registry.sessions)
    assert await account(registry.aws) == before
    calls = await order(emulator, arn)
    assert calls[:4] == ["ListStreamKeys", "DeleteStreamKey", "StopStream", "DeleteChannel"]
    assert calls.count("DeleteStreamKey") == 1
    assert calls.count("DeleteChannel") == 4


async def _called(emulator: Emulator, *operations: str) -> bool:
    return all([await count(emulator, operation) for operation in operations])


CASES = [
    *crossed(STEPS, list(FAULTS)),
    ("DeleteChannel", "still live"),
    ("StopStream", "not to be stopped"),
    ("StopStream", "still live"),
]


@pytest.mark.parametrize(("step", "fault"), CASES)
async def test_a_step_that_fails(registry: Registry, emulator: Emulator, step: str, fault: str) -> None:
    person, other = await registry.register(), await registry.register()
    owned = await registry.owned(person.id)
    await go_live(emulator, owned["channel"][0])
    before = await everything_but(registry, person.id)
    await emulator.fault(step, **(FAULTS | BESIDES)[fault])
    await leave(registry, person)
    await all_removed(registry.sessions)
    # A call that was given up may be done after the next one has found nothing left to do.
    await eventually(lambda: _is(registry, before), "the account is as it was without the user")
    await registry.has_exactly_one_of_each(other)
    assert await count(emulator, step) >= 1


async def _is(registry: Registry, expected: dict[str, set[str]]) -> bool:
    return await account(registry.aws) == expected


@pytest.mark.parametrize(
    ("operation", "fault"),
    crossed(list(PARTS), ["throttled", "denied", "no answer, not done", "no answer, done", "done late"]),
)
async def test_who_leaves_before_all_is_ready(
    registry: Registry, emulator: Emulator, operation: str, fault: str
) -> None:
    """Whatever became of the creation, or becomes of it when its user has left."""
    late = fault == "done late"
    await emulator.fault(operation, **(FAULTS[fault] | ({} if late else {"times": 5})))
    before = await everything_but(registry)
    person = await registry.register()
    await leave(registry, person)
    noted = {removal.kind for removal in await removals(registry.sessions) if removal.arn is None}
    assert noted <= {"channel", "room", "stage"}
    await all_removed(registry.sessions)
    await eventually(lambda: _is(registry, before), "nothing new on the account")
    assert await registry.owned(person.id) == NOTHING


@pytest.mark.parametrize("fault", few(["no answer, done"], [name for name in FAULTS if name != "no answer, done"]))
async def test_a_look_by_name_that_fails(registry: Registry, emulator: Emulator, fault: str) -> None:
    before = await everything_but(registry)
    for operation in PARTS:
        await emulator.fault(operation, "timeout-after", seconds=30, times=2)
    person = await registry.register()
    for operation in LOOKS:
        await emulator.fault(operation, **FAULTS[fault])
    await leave(registry, person)
    await all_removed(registry.sessions)
    assert await account(registry.aws) == before


async def test_what_is_done_long_after_its_try_was_given_up(
    start_server: StartServer, hasty: Resolved, emulator: Emulator
) -> None:
    """AWS works on after the user has left: the look comes when that must have happened, and the name may be live."""
    held = [
        (await emulator.control("faults", {"operation": operation, "kind": "late", "seconds": 30}))["id"]
        for operation in PARTS
    ]
    async with (
        fresh_database(hasty.database_url) as url,
        start_server(
            resolved=replace(hasty, database_url=url, bus_url=url),
            worker=False,
            **FAST | {"provision_settle_seconds": 600},
        ) as idle,
        open_registry(idle.url, url, hasty.aws) as registry,
    ):
        before = await account(registry.aws)
        person = await registry.register()
        assert set(person.states.values()) == {"PENDING"}
        await leave(registry, person)
        assert [(one.kind.value, one.arn) for one in await removals(registry.sessions)] == [
            ("channel", None),
            ("room", None),
            ("stage", None),
        ]
        for fault in held:
            await emulator._http.delete(f"/_emulator/faults/{fault}")
        await eventually(lambda: _owns_one_of_each(registry, person.id), "AWS has done it after all")
        (arn,) = (await registry.owned(person.id))["channel"]
        stream = await go_live(emulator, arn)
        async with start_server(resolved=replace(hasty, database_url=url, bus_url=url), **FAST) as working:
            # Not before its time: until then a worker would look in vain.
            assert len(await removals(registry.sessions)) == 3
            await removals_fall_due(registry.sessions)
            await all_removed(registry.sessions)
            assert await account(registry.aws) == before
            assert (await emulator._http.get(f"/_emulator/broadcasts/{stream}")).json()["endTime"] is not None
            assert await metric(working.url, 'streamcat_removals_total{kind="channel",outcome="settled"}') >= 1


async def _owns_one_of_each(registry: Registry, user_id: Any) -> bool:
    return {len(arns) for arns in (await registry.owned(user_id)).values()} == {1}


@pytest.mark.parametrize("fault", few(["none"], ["denied", "connection lost, done", "no answer, not done"]))
async def test_a_creation_in_work_leaves_nothing(
    start_server: StartServer, resolved: Resolved, emulator: Emulator, fault: str
) -> None:
    """The try comes back with a resource for which there is no row any more, and may fail to delete it."""
    for operation in PARTS:
        await emulator.fault(operation, "late", seconds=30)
    async with (
        fresh_database(resolved.database_url) as url,
        start_server(
            resolved=replace(resolved, database_url=url, bus_url=url), provision_wait_seconds=0, **FAST
        ) as running,
        open_registry(running.url, url, resolved.aws) as registry,
    ):
        before = await account(registry.aws)
        person = await registry.register()
        await eventually(lambda: _called(emulator, *PARTS), "all three calls are with AWS")
        await leave(registry, person)
        await emulator.lift_faults()
        if fault != "none":
            for operation in ("DeleteChannel", "DeleteRoom", "DeleteStage"):
                await emulator.fault(operation, **FAULTS[fault])
        await all_removed(registry.sessions)
        assert await account(registry.aws) == before


async def test_what_a_retry_made_twice_goes_altogether(
    start_server: StartServer, hasty: Resolved, emulator: Emulator
) -> None:
    """READY, but not settled: the row names one, and the account may hold another."""
    for operation in PARTS:
        await emulator.fault(operation, "late", seconds=30)
    async with (
        fresh_database(hasty.database_url) as url,
        start_server(
            resolved=replace(hasty, database_url=url, bus_url=url), **FAST | {"provision_settle_seconds": 600}
        ) as running,
        open_registry(running.url, url, hasty.aws) as registry,
    ):
        before = await account(registry.aws)
        person = await registry.register()
        await registry.ready(person)
        await leave(registry, person)
        await eventually(lambda: _waits(registry, 3), "what the rows named is deleted")
        await emulator.lift_faults()
        await eventually(lambda: _owns_one_of_each(registry, person.id), "the late ones are there")
        await removals_fall_due(registry.sessions)
        await all_removed(registry.sessions)
        assert await account(registry.aws) == before


async def _waits(registry: Registry, how_many: int) -> bool:
    noted = await removals(registry.sessions)
    return [one.arn for one in noted] == [None] * how_many


async def test_the_name_may_come_back_while_removal_goes_on(registry: Registry, emulator: Emulator) -> None:
    person = await registry.register()
    for operation in ("ListStreamKeys", "DeleteRoom", "DeleteStage"):
        await emulator.fault(operation, "throttle", times=10)
    await leave(registry, person)
    again = await registry.register(person.username)
    assert again.id != person.id
    assert await registry.states(again) == READY
    await registry.has_exactly_one_of_each(again)
    assert await _owns_one_of_each(registry, person.id)
    await emulator.lift_faults()
    await all_removed(registry.sessions)
    assert await registry.owned(person.id) == NOTHING
    await registry.has_exactly_one_of_each(again)


async def test_what_somebody_else_deleted_is_done(registry: Registry, emulator: Emulator) -> None:
    person = await registry.register()
    owned = await registry.owned(person.id)
    await registry.aws.call("ivs", "delete_channel", arn=owned["channel"][0])
    await registry.aws.call("ivschat", "delete_room", identifier=owned["chatRoom"][0])
    await registry.aws.call("ivs-realtime", "delete_stage", arn=owned["stage"][0])
    await leave(registry, person)
    await all_removed(registry.sessions)
    assert await registry.owned(person.id) == NOTHING


async def test_a_removal_is_repeated_with_pauses_and_never_given_up(
    server: tuple[str, Registry], emulator: Emulator
) -> None:
    url, registry = server
    denied = 'streamcat_removals_total{kind="room",outcome="AccessDeniedException"}'
    counted = await metric(url, denied)
    await emulator.fault("DeleteRoom", "error", code="AccessDeniedException", times=None)
    person = await registry.register()
    await leave(registry, person)
    await eventually(lambda: _tried(registry, 4), "the room's deletion is refused four times")
    (removal,) = await removals(registry.sessions)
    assert (removal.kind.value, removal.last_error) == ("room", "AccessDeniedException")

    async def all_counted() -> bool:
        return await metric(url, denied) >= counted + 4

    await eventually(all_counted, "each refusal is counted")
    times = [call["at"] for call in await emulator.calls("DeleteRoom")][:4]
    pauses = [second - first for first, second in pairwise(times)]
    assert [pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True)] == [True] * 3
    await emulator.lift_faults()
    await removals_fall_due(registry.sessions)
    await all_removed(registry.sessions)
    assert await registry.owned(person.id) == NOTHING


async def _tried(registry: Registry, times: int) -> bool:
    return [removal.attempts >= times for removal in await removals(registry.sessions)] == [True]


async def test_two_workers_share_what_is_due(start_server: StartServer, resolved: Resolved, emulator: Emulator) -> None:
    async with fresh_database(resolved.database_url) as url:
        shared = replace(resolved, database_url=url, bus_url=url)
        async with (
            start_server(resolved=shared, worker=False) as idle,
            open_registry(idle.url, url, resolved.aws) as registry,
        ):
            people = [await registry.register() for _ in range(5)]
            before = await everything_but(registry, *(person.id for person in people))
            await asyncio.gather(*(leave(registry, person) for person in people))
            await emulator.control("calls/clear")
            # A try that is slow is not a try that was lost.
            patient = FAST | {"provision_lease_seconds": 60.0}
            async with start_server(resolved=shared, **patient), start_server(resolved=shared, **patient):
                await all_removed(registry.sessions)
            assert await account(registry.aws) == before
            assert [await count(emulator, operation) for operation in STEPS] == [5] * len(STEPS)


@pytest.mark.soak
async def test_calls_keep_the_installations_pace(
    start_server: StartServer, resolved: Resolved, emulator: Emulator
) -> None:
    async with fresh_database(resolved.database_url) as url:
        shared = replace(resolved, database_url=url, bus_url=url)
        async with (
            start_server(resolved=shared, worker=False) as idle,
            open_registry(idle.url, url, resolved.aws) as registry,
        ):
            people = [await registry.register() for _ in range(8)]
            await asyncio.gather(*(leave(registry, person) for person in people))
            await emulator.control("calls/clear")
            slow = FAST | {"aws_calls_per_second": 4.0, "provision_lease_seconds": 60.0}
            async with start_server(resolved=shared, **slow), start_server(resolved=shared, **slow):
                await all_removed(registry.sessions)
            for operation in STEPS:
                times = sorted(call["at"] for call in await emulator.calls(operation))
                assert len(times) == 8
                assert times[-1] - times[0] >= 7 / 4 - 0.3, operation
