"""The door of the queue: nothing is deleted before it is committed, nothing blocks the way, nothing is lost."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from ivs.client import Aws
from models.engine import Sessions
from server.runtime import Resolved
from tests.conftest import Emulator, Running, StartServer
from tests.subscriptions.hearing import caught_up, ear
from tests.subscriptions.queues import Queue, Watched, body, make_queue, refusing, watch
from tests.waiting import eventually


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"streamcat_{name}_total", labels) or 0.0


def applied() -> dict[str, float]:
    """How often each thing became of an event of the queue.

    Not UNMATCHED: events of channels that only another test's database knows are that to the server of all tests.
    """
    outcomes = ("APPLIED", "IGNORED", "DOUBLED", "MALFORMED")
    return {outcome: counted("events", door="sqs", outcome=outcome) for outcome in outcomes}


class Door:
    """Starts servers that take events from the test's own queue."""

    def __init__(self, start_server: StartServer, resolved: Resolved) -> None:
        self._start, self._resolved = start_server, resolved

    def open(self, queue: Queue, **settings: Any) -> AbstractAsyncContextManager[Running]:
        own = replace(self._resolved, events_queue_url=queue.url)
        return self._start(resolved=own, **{"events_visibility_seconds": 2, **settings})


@pytest.fixture
def door(start_server: StartServer, resolved: Resolved) -> Door:
    return Door(start_server, resolved)


@pytest.fixture
async def channel(running: Running) -> Watched:
    return await watch(running.runtime.services.sessions)


@asynccontextmanager
async def locked(sessions: Sessions, channel: Watched) -> AsyncIterator[None]:
    """Hold the channel's row, as a long transaction elsewhere would."""
    async with sessions() as session, session.begin():
        await session.execute(text("SELECT 1 FROM channels WHERE id = :id FOR UPDATE"), {"id": channel.id})
        yield


async def blocked(sessions: Sessions) -> bool:
    async with sessions() as session:
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active'")
        return bool((await session.execute(waiting)).scalar_one())


async def test_an_event_stays_until_it_is_committed(door: Door, queue: Queue, channel: Watched) -> None:
    failures = counted("queue_poll_failures", code="DBAPIError")
    async with door.open(queue, database_statement_timeout_seconds=1.0):
        async with locked(channel.sessions, channel):
            await queue.send(channel.event("Stream Start"))

            async def refused() -> bool:
                return counted("queue_poll_failures", code="DBAPIError") > failures

            await eventually(refused, "the statement times out")
            assert await queue.size() == 1
            assert await channel.outcomes() == [None]
        await eventually(queue.is_empty, "the event comes back")
    assert await channel.outcomes() == ["APPLIED"]
    assert await channel.streams() == [("st-one", "LIVE")]
    assert await queue.buried() == []


async def test_what_is_no_event_is_buried_with_the_reason_and_the_rest_applied(
    door: Door, queue: Queue, channel: Watched
) -> None:
    nonsense = {
        "hello, \u00e9\U0001f600": "not an EventBridge envelope: JSON is malformed: invalid character (byte 0)",
        body(channel.arn, "Stream Start", id="x" * 200): "the envelope's id must have 1 to 128 characters",
        body(channel.arn, "Stream Start", account="\0"): "text with a NUL character, which PostgreSQL cannot keep",
        body(None, "Stream Start"): "'IVS Stream State Change' without the channel's ARN in resources",
        '{"x":' * 3000: "not an EventBridge envelope: maximum recursion depth exceeded while deserializing an object",
        json.dumps({"x": json.loads("[" * 50 + "]" * 50), **json.loads(body(channel.arn, "Stream Start"))}): (
            "nested more than 32 levels deep"
        ),
    }
    good = [channel.event("Session Created"), channel.event("Stream Start"), channel.event("Not Yet Invented")]
    await queue.send(good[0], *nonsense, *good[1:])
    before = applied()

    async with door.open(queue):
        await eventually(queue.is_empty, "everything is taken")

    assert {name: count - before[name] for name, count in applied().items()} == {
        "APPLIED": 2,
        "IGNORED": 1,
        "DOUBLED": 0,
        "MALFORMED": len(nonsense),
    }
    assert await channel.outcomes() == ["APPLIED", "APPLIED", "IGNORED"]
    assert dict(await queue.buried()) == nonsense


async def test_without_a_dead_letter_queue_nonsense_keeps_no_event_waiting(
    door: Door, aws: Aws, queue: Queue, channel: Watched
) -> None:
    bare = await make_queue(aws, dead_letters=False)
    await bare.send("nonsense", channel.event("Stream Start"))
    failures = counted("queue_poll_failures", code="NoRedrivePolicy")

    async with door.open(bare):

        async def told() -> bool:
            return counted("queue_poll_failures", code="NoRedrivePolicy") > failures

        await eventually(told, "the operator is told")
    assert await channel.outcomes() == ["APPLIED"]
    assert await bare.size() == 1


async def test_a_value_that_postgresql_refuses_is_buried_alone(door: Door, queue: Queue, channel: Watched) -> None:
    refused, good = channel.event("Stream Start"), channel.event("Session Created")
    async with refusing(channel.sessions, channel.events[0]):
        await queue.send(refused, good)
        async with door.open(queue):
            await eventually(queue.is_empty, "both are taken")

    assert await channel.outcomes() == [None, "APPLIED"]
    [(left, reason)] = await queue.buried()
    assert left == refused
    assert reason.startswith("PostgreSQL refuses a value: ")
    assert "not this one" in reason


async def test_work_that_takes_longer_than_the_visibility_is_done_once(
    door: Door, queue: Queue, channel: Watched, emulator: Emulator
) -> None:
    before = applied()
    async with door.open(queue, events_consumers=2):
        async with locked(channel.sessions, channel):
            await queue.send(channel.event("Stream Start"))

            # One each second, while the message would be visible again after two.
            async def prolonged() -> bool:
                return len(await emulator.calls("ChangeMessageVisibilityBatch")) >= 3

            await eventually(prolonged, "the message is kept invisible")
            assert await queue.size() == 1
        await eventually(queue.is_empty, "the event is applied")
    assert await channel.streams() == [("st-one", "LIVE")]
    assert {name: count - before[name] for name, count in applied().items() if count > before[name]} == {"APPLIED": 1}


async def test_committed_but_not_deleted_is_harmless(
    door: Door, queue: Queue, channel: Watched, emulator: Emulator
) -> None:
    before = applied()
    await emulator.fault("DeleteMessageBatch", "error", times=3)
    await queue.send(channel.event("Stream Start"))

    async with door.open(queue) as running:

        async def once() -> bool:
            return await channel.outcomes() == ["APPLIED"]

        await eventually(once, "the event is applied")
        changed_at = await channel.changed_at()
        await caught_up(running.runtime.services)
        async with ear(running.runtime.services, channel.id) as listener:
            await eventually(queue.is_empty, "the event is deleted at its return")
            assert await listener.silent(running.runtime.services)

    assert applied()["DOUBLED"] == before["DOUBLED"] + 1
    assert applied()["APPLIED"] == before["APPLIED"] + 1
    assert await channel.changed_at() == changed_at


async def test_a_stop_in_the_middle_loses_nothing_and_leaves_the_queue_usable(
    door: Door, queue: Queue, channel: Watched
) -> None:
    names = [f"st-{number:02d}" for number in range(25)]
    await queue.send(*(channel.event("Stream Start", stream=name, second=index) for index, name in enumerate(names)))

    async def some() -> bool:
        return len(await channel.streams()) > 0

    async with door.open(queue):
        await eventually(some, "the first batch is applied")
    done = len(await channel.streams())
    async with door.open(queue):
        await eventually(queue.is_empty, "the next process goes on")
    assert 0 < done <= 25
    assert [name for name, _ in await channel.streams()] == names
    assert await channel.outcomes() == ["APPLIED"] * 25
    assert await queue.buried() == []


async def test_what_was_in_work_when_the_process_ended_comes_back(door: Door, queue: Queue, channel: Watched) -> None:
    await queue.send(channel.event("Stream Start"))

    async def waiting() -> bool:
        return await blocked(channel.sessions)

    async with locked(channel.sessions, channel):
        async with door.open(queue, shutdown_seconds=0.1):
            await eventually(waiting, "the event is in work")
        assert await queue.size() == 1
    assert await channel.outcomes() == [None]

    async with door.open(queue):
        await eventually(queue.is_empty, "the next process applies it")
    assert await channel.streams() == [("st-one", "LIVE")]


@pytest.mark.parametrize("code", ["ServiceUnavailable", "AccessDeniedException"])
async def test_a_queue_that_does_not_answer_is_asked_again(
    door: Door, queue: Queue, channel: Watched, emulator: Emulator, code: str
) -> None:
    await emulator.fault("ReceiveMessage", "error", code=code, status=503, times=None)
    failures = counted("queue_poll_failures", code=code)
    await queue.send(channel.event("Stream Start"))

    async with door.open(queue):

        async def failing() -> bool:
            return counted("queue_poll_failures", code=code) >= failures + 2

        await eventually(failing, "the polls fail")
        assert await channel.outcomes() == [None]
        await emulator.lift_faults()
        await eventually(queue.is_empty, "the queue is polled again")
    assert await channel.outcomes() == ["APPLIED"]
