"""Events that wait at the same time share a commit, and nothing else: neither a fault nor somebody's lock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.accounts import metric
from tests.conftest import Running, StartServer
from tests.subscriptions.queues import Watched, refusing, watch
from tests.subscriptions.test_https_door import NEW, deliver
from tests.subscriptions.test_queue import locked
from tests.waiting import eventually

DONE = (204, None)
LATER = (503, "The event is not applied; deliver it again.")


@pytest.fixture(scope="module")
async def server(start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server(
        worker=False, events_https_secrets=(NEW,), events_https_seconds=20.0, database_statement_timeout_seconds=1.0
    ) as running:
        yield running


@pytest.fixture
async def channels(server: Running) -> list[Watched]:
    return [await watch(server.runtime.services.sessions) for _ in range(4)]


async def waiting(server: Running, number: int) -> None:
    async def so_many() -> bool:
        return await metric(server.url, "streamcat_events_waiting") == number

    await eventually(so_many, f"{number} events wait")


async def deliver_together(server: Running, held: str, bodies: Sequence[str]) -> Callable[[], Awaitable[list[Any]]]:
    """Deliver `held`, which is stopped by a lock, and then the others, so that they wait together."""
    first = asyncio.create_task(deliver(server, held))
    await waiting(server, 1)
    others = [asyncio.create_task(deliver(server, one)) for one in bodies]
    await waiting(server, 1 + len(bodies))
    return lambda: asyncio.gather(first, *others)


async def test_what_waits_together_is_committed_together(server: Running, channels: list[Watched]) -> None:
    first, *others = channels
    commits = await metric(server.url, "streamcat_event_commits_total")
    async with locked(first.sessions, first):
        answers = await deliver_together(
            server,
            first.event("Stream Start"),
            [one.event("Stream Start", second=second) for one in others for second in (1, 2)],
        )
    assert await answers() == [DONE] * 7
    assert await metric(server.url, "streamcat_event_commits_total") == commits + 2
    assert await metric(server.url, "streamcat_events_waiting") == 0
    for one in others:
        assert await one.outcomes() == ["APPLIED", "APPLIED"]
        assert await one.streams() == [("st-one", "LIVE")]


async def test_a_refused_value_is_refused_alone(server: Running, channels: list[Watched]) -> None:
    first, second, third, _ = channels
    bodies = [one.event("Stream Start") for one in (second, third)]
    async with refusing(first.sessions, second.events[0]):
        async with locked(first.sessions, first):
            answers = await deliver_together(server, first.event("Stream Start"), bodies)
        held, refused, good = await answers()
    assert held == good == DONE
    assert refused == (400, "PostgreSQL refuses a value: not this one")
    assert await second.streams() == []
    assert await third.streams() == [("st-one", "LIVE")]


async def test_a_channel_that_somebody_locks_holds_up_its_own_events_only(
    server: Running, channels: list[Watched]
) -> None:
    first, other, *_ = channels
    again, free = first.event("Session Created", second=1), other.event("Stream Start")
    async with locked(first.sessions, first):
        answers = await deliver_together(server, first.event("Stream Start"), [again, free])
        assert await answers() == [LATER, LATER, DONE]
    assert await first.streams() == []
    assert await other.streams() == [("st-one", "LIVE")]
