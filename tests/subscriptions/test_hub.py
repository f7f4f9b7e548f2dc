"""Fan-out against the simplest model there is: a listener has one flag, and a notice of one of its topics sets it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import Sessions, create_engine, create_sessions
from subscriptions import topics
from subscriptions.bus import Bus
from subscriptions.hub import Hub, Listener
from subscriptions.publish import Publisher

TOPICS = [topics.channel(UUID(int=number)) for number in range(4)]


class Process:
    """A hub over a bus of its own on PostgreSQL, and a way to speak on it."""

    def __init__(self, database_url: str, sessions: Sessions) -> None:
        bus = Bus(database_url, sessions, heartbeat=60)
        self.hub = Hub(bus)
        self._publisher = Publisher(sessions, bus)

    async def notify(self, *said: str) -> None:
        """Say all of it in one transaction, and wait until it was heard."""
        end = f"end:{uuid4().hex}"
        with self.hub.listen(end) as listener:
            changes = listener.changes()
            await anext(changes)
            async with self._publisher.transaction() as transaction:
                transaction.topics.update(said)
            async with self._publisher.transaction() as transaction:
                transaction.topics.add(end)
            await asyncio.wait_for(anext(changes), 10)
            await changes.aclose()

    async def fail(self, *said: str) -> None:
        """Say it in a transaction that is rolled back."""
        with contextlib.suppress(ZeroDivisionError):
            async with self._publisher.transaction() as transaction:
                transaction.topics.update(said)
                raise ZeroDivisionError


@pytest.fixture(scope="module")
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    engine = create_engine(database_url, pool_size=2, statement_timeout_ms=10_000, name="hub")
    yield create_sessions(engine)
    await engine.dispose()


@contextlib.asynccontextmanager
async def open_process(database_url: str, sessions: Sessions) -> AsyncIterator[Process]:
    process = Process(database_url, sessions)
    await process.hub.start()
    try:
        yield process
    finally:
        await process.hub.stop()


@pytest.fixture
async def process(database_url: str, sessions: Sessions) -> AsyncIterator[Process]:
    async with open_process(database_url, sessions) as process:
        yield process


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


@dataclass
class Modelled:
    """A listener, and what the model says of it."""

    scope: Any
    listener: Listener
    topics: frozenset[str]
    changes: AsyncIterator[None]
    flag: bool = True
    closed: bool = False
    waiting: "asyncio.Task[None] | None" = field(default=None)

    async def step(self) -> str:
        """Ask for the next change: `change`, `end`, or `nothing` for now."""
        if self.waiting is None:
            self.waiting = asyncio.create_task(anext(self.changes))
        await turns()
        if not self.waiting.done():
            return "nothing"
        waiting, self.waiting = self.waiting, None
        return "end" if isinstance(waiting.exception(), StopAsyncIteration) else "change"

    def expected(self) -> str:
        """What the model lets the next change be."""
        # Who waited already has taken the change, before the hub was closed.
        if self.flag and (self.waiting is not None or not self.closed):
            return "change"
        return "end" if self.closed else "nothing"

    async def drop(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            await asyncio.gather(self.waiting, return_exceptions=True)
        await self.changes.aclose()  # type: ignore[attr-defined]
        self.scope.__exit__(None, None, None)


SOME = st.frozensets(st.sampled_from(TOPICS), min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("listen"), SOME),
    st.tuples(st.just("notify"), SOME),
    st.tuples(st.just("fail"), SOME),
    st.tuples(st.just("gap"), st.just(frozenset())),
    st.tuples(st.sampled_from(["read", "read", "drop"]), st.integers(0, 9)),
)


class Play:
    """What happens to a hub and to its model."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.hub = process.hub
        self.open: list[Modelled] = []

    async def listen(self, wanted: frozenset[str]) -> None:
        scope = self.hub.listen(*wanted)
        listener = scope.__enter__()
        self.open.append(Modelled(scope, listener, wanted, listener.changes()))

    async def notify(self, said: frozenset[str]) -> None:
        await self._process.notify(*said)
        for one in self.open:
            one.flag |= bool(one.topics & said)

    async def fail(self, said: frozenset[str]) -> None:
        await self._process.fail(*said)

    async def gap(self, _: frozenset[str]) -> None:
        self.hub._gap()
        await turns()
        for one in self.open:
            one.flag = True

    async def read(self, index: int) -> None:
        if not self.open:
            return
        one = self.open[index % len(self.open)]
        expected = one.expected()
        assert await one.step() == expected
        if expected == "change":
            one.flag = False

    async def drop(self, index: int) -> None:
        if self.open:
            await self.open.pop(index % len(self.open)).drop()

    async def close(self) -> None:
        self.hub.close()
        await self.listen(frozenset(TOPICS[:1]))
        for one in self.open:
            one.closed = True

    def check(self) -> None:
        for topic in TOPICS:
            assert self.hub.listeners(topic) == sum(topic in one.topics for one in self.open)


@settings(max_examples=60, deadline=None, derandomize=True, print_blob=True)
@given(steps=st.lists(STEPS, max_size=25), close=st.booleans())
async def test_the_hub_does_what_the_model_says(
    database_url: str, sessions: Sessions, steps: list[tuple[str, Any]], close: bool
) -> None:
    async with open_process(database_url, sessions) as process:
        play = Play(process)
        for action, what in steps:
            await getattr(play, action)(what)
            play.check()
        if close:
            await play.close()
        while play.open:
            await play.read(0)
            await play.drop(0)
        assert process.hub._topics == {}


async def test_ten_thousand_notices_to_who_does_not_read_are_one_change(process: Process) -> None:
    many = [f"topic:{number}" for number in range(10_000)]
    with process.hub.listen(*many) as listener:
        changes = listener.changes()
        await anext(changes)
        await process.notify(*many)
        await asyncio.wait_for(anext(changes), 5)
        waiting = asyncio.ensure_future(anext(changes))
        await process.notify("topic:of nobody")
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await changes.aclose()
    assert process.hub._topics == {}


async def test_a_change_while_the_reader_looks_makes_it_look_again(process: Process) -> None:
    looks = 0
    with process.hub.listen(TOPICS[0]) as listener:
        async with asyncio.timeout(10):
            async for _ in listener.changes():
                looks += 1
                if looks == 3:
                    break
                # The look takes its time, and the news of it is old when it ends.
                await process.notify(TOPICS[0])
    assert looks == 3


async def test_a_topic_named_twice_is_one(process: Process) -> None:
    with process.hub.listen(TOPICS[0], TOPICS[0]):
        assert process.hub.listeners(TOPICS[0]) == 1
    assert process.hub._topics == {}
