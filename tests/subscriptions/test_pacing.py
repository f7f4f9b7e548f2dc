"""Rates that all processes share: the account's calls to AWS, and attempts."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from models import Pace, pace
from models.engine import Sessions
from server.runtime import Resolved
from subscriptions.pacing import Pacer
from tests.client import unique
from tests.conftest import Emulator, StartServer
from tests.registration import Registry, fresh_database, open_registry, open_sessions
from tests.waiting import eventually

# Below AWS's five: a busy machine sends some of the calls late, and then several at once.
RATE = 3
# The fourth call is due exactly a second after the first; and one call may have been sent late.
JITTER = 2
PEOPLE = 10
CREATIONS = ("CreateChannel", "CreateRoom", "CreateStage")
LOOKS = ("ListChannels", "ListRooms", "ListStages")


@pytest.fixture(scope="module")
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    async with open_sessions(database_url) as sessions:
        yield sessions


@pytest.fixture
def key() -> str:
    return unique("key")


async def reserve(sessions: Sessions, key: str, rate: float, burst: int = 1) -> float:
    async with sessions() as session, session.begin():
        return await pace.reserve(session, key, rate=rate, burst=burst)


async def attempt(sessions: Sessions, key: str, rate: float, burst: int) -> float:
    async with sessions() as session, session.begin():
        return await pace.attempt(session, key, rate=rate, burst=burst)


def busiest(times: list[float]) -> int:
    """Most calls within any second."""
    return max(sum(start <= at < start + 1 for at in times) for start in times)


async def test_twenty_callers_at_once_stand_in_one_queue(sessions: Sessions, key: str) -> None:
    began = time.monotonic()
    waits = sorted(await asyncio.gather(*(reserve(sessions, key, 2.0) for _ in range(20))))
    took = time.monotonic() - began
    assert waits[0] == 0
    # Each place is half a second behind the one before, whenever it was asked for.
    assert all(abs(wait - number / 2) <= took for number, wait in enumerate(waits))
    async with sessions() as session:
        idle_in = select(func.extract("epoch", Pace.next_at - func.clock_timestamp())).where(Pace.key == key)
        assert 10 - (time.monotonic() - began) - 1 < float((await session.execute(idle_in)).scalar_one()) < 10


async def test_a_burst_goes_at_once_and_the_next_waits(sessions: Sessions, key: str) -> None:
    waits = [await reserve(sessions, key, 0.1, burst=3) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert 9 < waits[3] <= 10
    assert 19 < waits[4] <= 20


async def test_keys_do_not_wait_for_each_other(sessions: Sessions, key: str) -> None:
    assert [await reserve(sessions, f"{key}{number}", 0.1) for number in range(3)] == [0, 0, 0]


async def test_an_idle_key_saves_nothing_up(sessions: Sessions, key: str) -> None:
    await reserve(sessions, key, 1000.0)

    async def idle() -> bool:
        async with sessions() as session:
            late = select(Pace.id).where(
                Pace.key == key, Pace.next_at < func.clock_timestamp() - text("interval '0.1s'")
            )
            return await session.scalar(late) is not None

    await eventually(idle, "the key has been idle for 0.1 s")
    waits = await asyncio.gather(*(reserve(sessions, key, 20.0) for _ in range(3)))
    assert sorted(wait > 0 for wait in waits) == [False, True, True]


async def test_twenty_attempts_at_once_of_which_five_are_allowed(sessions: Sessions, key: str) -> None:
    answers = await asyncio.gather(*(attempt(sessions, key, 0.1, 5) for _ in range(20)))
    assert sorted(answers)[:5] == [0] * 5
    # What was refused is not counted: the wait is the same however often one asks.
    assert all(9 < wait <= 10 for wait in sorted(answers)[5:])
    assert 9 < await attempt(sessions, key, 0.1, 5) <= 10


async def test_a_refused_attempt_is_allowed_after_its_wait(sessions: Sessions, key: str) -> None:
    assert await attempt(sessions, key, 5.0, 1) == 0
    began = time.monotonic()
    wait = await attempt(sessions, key, 5.0, 1)
    assert 0 < wait <= 0.2

    async def allowed() -> bool:
        return await attempt(sessions, key, 5.0, 1) == 0

    await eventually(allowed, "another attempt is allowed")
    assert time.monotonic() - began >= wait


async def test_what_is_forgiven_begins_anew(sessions: Sessions, key: str) -> None:
    other = unique("key")
    for name in (key, other):
        assert [await attempt(sessions, name, 0.1, 2) for _ in range(2)] == [0, 0]
        assert await attempt(sessions, name, 0.1, 2) > 0
    async with sessions() as session, session.begin():
        await pace.forgive(session, key)
    assert [await attempt(sessions, key, 0.1, 2) for _ in range(2)] == [0, 0]
    assert await attempt(sessions, key, 0.1, 2) > 0
    assert await attempt(sessions, other, 0.1, 2) > 0


async def test_an_attempt_that_is_rolled_back_does_not_count(sessions: Sessions, key: str) -> None:
    async with sessions() as session:
        assert await pace.attempt(session, key, rate=0.1, burst=1) == 0
        await session.rollback()
    assert await attempt(sessions, key, 0.1, 1) == 0


async def test_only_scarce_operations_wait(sessions: Sessions) -> None:
    pacer = Pacer(sessions, calls_per_second=0.1)
    async with asyncio.timeout(10):
        for _ in range(3):
            await pacer("sqs.receive_message")
    async with sessions() as session:
        assert await session.scalar(select(Pace.id).where(Pace.key == "aws:sqs.receive_message")) is None


@pytest.fixture
async def limited(emulator: Emulator) -> AsyncIterator[Emulator]:
    """An AWS that throttles as the real one does, token by token, and has seen nothing yet."""
    await emulator.lift_faults()
    await emulator.control("limits", {"enforce": True})
    await emulator.control("calls/clear")
    yield emulator
    await emulator.control("limits", {"enforce": False})
    await emulator.lift_faults()


@asynccontextmanager
async def two_servers(start_server: StartServer, resolved: Resolved, rate: float) -> AsyncIterator[list[Registry]]:
    """Two servers with one database, so with one account."""
    settings = {"aws_calls_per_second": rate, "provision_wait_seconds": 0.1, "provision_first_pause_seconds": 0.01}
    async with (
        start_server(resolved=resolved, **settings) as one,
        start_server(resolved=resolved, **settings) as two,
        open_registry(one.url, resolved.database_url, resolved.aws) as first,
        open_registry(two.url, resolved.database_url, resolved.aws) as second,
    ):
        yield [first, second]


async def seen(emulator: Emulator) -> dict[str, list[dict[str, Any]]]:
    """Calls about channels, rooms and stages by operation; a look that takes several pages is one."""
    found = defaultdict(list)
    for call in await emulator.calls():
        if call["service"] != "sqs" and "nextToken" not in call["params"]:
            found[call["operation"]].append(call)
    return found


@pytest.mark.soak
async def test_a_rush_of_registrations_is_not_throttled(
    start_server: StartServer, resolved: Resolved, limited: Emulator
) -> None:
    # Repetitions call too, the SDK's and ours.
    await limited.fault("CreateStage", "drop-after", times=3)
    await limited.fault("ListStages", "drop-after", times=2)
    async with fresh_database(resolved.database_url) as url:
        shared = replace(resolved, database_url=url, bus_url=url)
        async with two_servers(start_server, shared, RATE) as registries:
            people = await asyncio.gather(*(registry.register() for registry in registries * (PEOPLE // 2)))
            for person in people:
                await registries[0].ready(person)
            calls = await seen(limited)
    assert {name: len(made) for name, made in calls.items()} == {
        "CreateChannel": PEOPLE,
        "CreateRoom": PEOPLE,
        "CreateStage": PEOPLE,
        "ListStages": 5,
        # A stage that is found is asked for its addresses, which a list does not tell.
        "GetStage": 3,
    }
    assert [call for made in calls.values() for call in made if call["error"] == "ThrottlingException"] == []


@pytest.mark.soak
async def test_no_second_holds_more_calls_than_the_account_has(
    start_server: StartServer, resolved: Resolved, limited: Emulator
) -> None:
    async with fresh_database(resolved.database_url) as url:
        shared = replace(resolved, database_url=url, bus_url=url)
        for operation in CREATIONS:
            await limited.fault(operation, "throttle", times=PEOPLE)
        async with (
            start_server(resolved=shared, worker=False) as idle,
            open_registry(idle.url, url, resolved.aws) as registry,
        ):
            people = [await registry.register() for _ in range(PEOPLE)]
        await limited.control("calls/clear")
        async with two_servers(start_server, shared, RATE) as registries:
            for person in people:
                await registries[0].ready(person)
            calls = await seen(limited)
    assert {name: len(made) for name, made in calls.items()} == dict.fromkeys([*LOOKS, *CREATIONS], PEOPLE)
    assert [call for made in calls.values() for call in made if call["error"]] == []
    times = {name: [call["at"] for call in made] for name, made in calls.items()}
    assert {name: busiest(at) for name, at in times.items() if busiest(at) > RATE + JITTER} == {}
    # Nor are turns left unused while somebody waits.
    assert all(max(at) - min(at) < 2 * PEOPLE / RATE for at in times.values())
