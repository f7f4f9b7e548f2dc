"""Whatever the order, number and company in which events arrive, the rows tell what they say together.

Random histories of whole seconds, full of ties, are delivered in any order, doubled, in batches, by one worker or by
two at once. What the rows must be is told by `truth`, which knows nothing of SQL.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, text

from ivs.events import Event, parse
from models.engine import Sessions, create_engine, create_sessions
from subscriptions.bus import Bus
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher
from tests import factories

DAWN = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEALTH_NAMES = ("Starvation Start", "Starvation End")
NAMES = (*("Stream Start", "Stream End") * 3, "Session Created", "Session Ended", "Stream Failure", *HEALTH_NAMES)
WORDS = (None, "MultitrackInputRequired", "a lower-case one")


@dataclass(frozen=True)
class Fact:
    """Something that happened to stream number `stream` of channel number `channel`."""

    channel: int
    stream: int
    name: str
    second: int
    word: str | None = None

    @property
    def at(self) -> datetime:
        return DAWN + timedelta(seconds=self.second)


def stream_ids(channel: UUID, number: int) -> str:
    return f"st-{channel.hex[-8:]}{number:015d}"


FACTS = st.builds(
    Fact,
    channel=st.integers(0, 1),
    stream=st.integers(0, 3),
    name=st.sampled_from(NAMES),
    second=st.integers(0, 3),
    word=st.sampled_from(WORDS),
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[tuple[Fact, int]]]:
    """Batches of facts with the number of their envelope: the same number again is a redelivery, another a redrive."""
    sent = list(enumerate(draw(st.lists(FACTS, min_size=1, max_size=20))))
    doubled = draw(st.lists(st.sampled_from(sent), max_size=5))
    redriven = [(number + 1000, fact) for number, fact in draw(st.lists(st.sampled_from(sent), max_size=3))]
    order = [*sent, *doubled, *redriven]
    chance = random.Random(draw(st.integers(0, 2**32)))
    chance.shuffle(order)
    batches: list[list[tuple[Fact, int]]] = [[]]
    for number, fact in order:
        batches[-1].append((fact, number))
        if chance.random() < 0.4:
            batches.append([])
    return batches


def truth(facts: Iterable[Fact]) -> dict[tuple[int, int], dict[str, Any]]:
    """What the facts mean, by channel and stream."""
    told: dict[tuple[int, int], list[Fact]] = {}
    for fact in facts:
        told.setdefault((fact.channel, fact.stream), []).append(fact)
    return {key: _meaning(about) for key, about in told.items()}


def _meaning(about: list[Fact]) -> dict[str, Any]:
    def times(name: str) -> list[datetime]:
        return sorted(fact.at for fact in about if fact.name == name)

    def words(name: str) -> list[str]:
        return sorted(fact.word for fact in about if fact.name == name and fact.word)

    starts, ends, closes = times("Stream Start"), times("Stream End"), times("Session Ended")
    failed = bool(times("Stream Failure") or closes)
    started_at = starts[0] if starts else None
    if ends or (starts and closes):
        state, ended_at = "ENDED", max((ends or closes)[-1], started_at or DAWN)
    else:
        state, ended_at = "LIVE" if starts else "FAILED" if failed else "STARTING", None
    starved, recovered = times("Starvation Start"), times("Starvation End")
    starving = starved and (not recovered or starved[-1] > recovered[-1])
    return {
        "state": state,
        "started_at": started_at,
        "ended_at": ended_at,
        "health": ("STARVING" if starving else "HEALTHY") if state == "LIVE" else None,
        "code": (words("Session Ended") or [None])[-1],
        "reason": (words("Stream Failure") or [None])[-1],
        "first_seen_at": min(fact.at for fact in about),
    }


def live(streams: dict[tuple[int, int], dict[str, Any]], channel: int) -> tuple[int, datetime] | None:
    """The number and start of the stream that can be watched."""
    started = [
        (row["started_at"], row["state"] == "LIVE", number)
        for (of, number), row in streams.items()
        if of == channel and row["started_at"]
    ]
    start, running, number = max(started, default=(DAWN, False, 0))
    return (number, start) if running else None


class World:
    """Two channels of their own per example, and two workers."""

    def __init__(self, sessions: Sessions, publisher: Publisher) -> None:
        self.sessions = sessions
        self.workers = (Ingest(publisher, batch_rows=100), Ingest(publisher, batch_rows=100))
        self.channels: list[tuple[UUID, str]] = []
        self.run = uuid4().hex

    async def begin(self) -> None:
        self.run = uuid4().hex
        async with self.sessions() as session, session.begin():
            rows = [await factories.user(session) for _ in range(2)]
        self.channels = [(row.id, row.arn or "") for row in rows]

    def event(self, fact: Fact, number: int) -> Event:
        key, arn = self.channels[fact.channel]
        detail = {"event_name": fact.name, "channel_name": "", "stream_id": stream_ids(key, fact.stream)}
        if fact.word:
            detail |= {"code": fact.word, "reason": fact.word}
        health = fact.name in HEALTH_NAMES
        body = {
            "id": f"{self.run}-{number}",
            "detail-type": "IVS Stream Health Change" if health else "IVS Stream State Change",
            "source": "aws.ivs",
            "time": fact.at.isoformat(),
            "resources": [arn],
            "detail": detail,
        }
        return parse(json.dumps(body))

    async def apply(self, worker: int, batch: list[tuple[Fact, int]]) -> None:
        await self.workers[worker].apply([self.event(fact, number) for fact, number in batch], door="test")

    async def check(self, facts: set[Fact]) -> None:
        """The rows tell the truth about the facts, and do not contradict each other."""
        streams = truth(facts)
        assert await self._streams() == {
            stream_ids(self.channels[channel][0], number): row for (channel, number), row in streams.items()
        }
        found = await self._live()
        for channel, (key, _) in enumerate(self.channels):
            expected = live(streams, channel)
            assert found[key] == (expected and (stream_ids(key, expected[0]), "LIVE", expected[1], None))

    async def _streams(self) -> dict[str, dict[str, Any]]:
        rows = await self._rows(
            "SELECT ivs_stream_id, state, started_at, ended_at, health, session_end_code AS code,"
            " failure_reason AS reason, first_seen_at FROM streams WHERE channel_id IN :keys"
        )
        return {row.pop("ivs_stream_id"): row for row in rows}

    async def _live(self) -> dict[UUID, tuple[Any, ...] | None]:
        rows = await self._rows(
            "SELECT channels.id, ivs_stream_id, state, live_since, ended_at FROM channels"
            " LEFT JOIN streams ON streams.id = live_stream_id AND streams.channel_id = channels.id"
            " WHERE channels.id IN :keys"
        )
        return {
            row["id"]: (row["ivs_stream_id"], row["state"], row["live_since"], row["ended_at"])
            if row["live_since"] or row["ivs_stream_id"]
            else None
            for row in rows
        }

    async def journalled(self) -> int:
        async with self.sessions() as session:
            statement = text("SELECT count(*) FROM received_events WHERE event_id LIKE :run AND outcome = 'APPLIED'")
            return int((await session.execute(statement, {"run": f"{self.run}-%"})).scalar_one())

    async def _rows(self, statement: str) -> list[dict[str, Any]]:
        keys = [key for key, _ in self.channels]
        async with self.sessions() as session:
            result = await session.execute(text(statement).bindparams(bindparam("keys", keys, expanding=True)))
            return [dict(row) for row in result.mappings()]


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    engine = create_engine(database_url, pool_size=3, statement_timeout_ms=10_000, name="stream-rule")
    sessions = create_sessions(engine)
    yield World(sessions, Publisher(sessions, Bus(database_url, sessions, heartbeat=60)))
    await engine.dispose()


@settings(max_examples=40, deadline=None, derandomize=True, print_blob=True)
@given(batches=deliveries())
# Both run, by all that is known: which one is newer must not depend on which came first.
@example(batches=[[(Fact(0, 1, "Stream Start", 0), 1)], [(Fact(0, 0, "Stream Start", 0), 2)]])
@example(batches=[[(Fact(0, 0, "Stream Start", 0), 1)], [(Fact(0, 1, "Stream Start", 0), 2)]])
async def test_after_every_batch_the_rows_tell_what_has_arrived(
    world: World, batches: list[list[tuple[Fact, int]]]
) -> None:
    await world.begin()
    told: set[Fact] = set()
    for batch in batches:
        await world.apply(0, batch)
        told |= {fact for fact, _ in batch}
        await world.check(told)
    assert await world.journalled() == len({number for batch in batches for _, number in batch})


@settings(max_examples=40, deadline=None, derandomize=True, print_blob=True)
@given(batches=deliveries())
async def test_two_workers_at_once_come_to_the_same_rows(world: World, batches: list[list[tuple[Fact, int]]]) -> None:
    await world.begin()
    waiting = list(batches)

    async def work(worker: int) -> None:
        while waiting:
            await world.apply(worker, waiting.pop())

    await asyncio.gather(work(0), work(1))
    await world.check({fact for batch in batches for fact, _ in batch})
