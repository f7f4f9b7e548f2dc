"""Whatever the order, number and company in which events arrive, recordings and streams tell what they say together.

Random histories of streams and of the recordings that span them, full of ties and contradictions, are delivered in any
order, doubled, in batches, by one worker or by two at once. What the rows must be is told by `truth`.
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
from sqlalchemy import text

from ivs.events import Event, parse
from models.engine import Sessions, create_engine, create_sessions
from subscriptions.bus import Bus
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher
from tests import factories

DAWN = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATE, RECORDING = "IVS Stream State Change", "IVS Recording State Change"
START, END = "Recording Start", "Recording End"
START_FAILURE, END_FAILURE = "Recording Start Failure", "Recording End Failure"
TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Fact:
    """Something that happened to streams; to their recording too, if it has a number."""

    name: str
    second: int
    streams: tuple[int, ...]
    recording: int | None = None
    duration: int = 0
    reason: str = ""

    @property
    def at(self) -> datetime:
        return DAWN + timedelta(seconds=self.second)


SECONDS, STREAMS = st.integers(0, 3), st.integers(0, 3)
FACTS = st.builds(
    Fact, st.sampled_from(("Stream Start", "Stream End", "Session Ended")), SECONDS, st.tuples(STREAMS)
) | st.builds(
    Fact,
    st.sampled_from((START, END, END, START_FAILURE, END_FAILURE)),
    SECONDS,
    st.lists(STREAMS, min_size=1, max_size=3, unique=True).map(tuple),
    st.integers(0, 2),
    st.sampled_from((0, 40, 7)),
    st.sampled_from(("", "ValidationException", "a lower-case one")),
)
Batches = list[list[tuple[Fact, int]]]


@st.composite
def deliveries(draw: st.DrawFn) -> Batches:
    """Batches of facts with the number of their envelope: the same number again is a redelivery, another a redrive."""
    sent = list(enumerate(draw(st.lists(FACTS, min_size=1, max_size=15))))
    doubled = draw(st.lists(st.sampled_from(sent), max_size=4))
    redriven = [(number + 1000, fact) for number, fact in draw(st.lists(st.sampled_from(sent), max_size=3))]
    order = [*sent, *doubled, *redriven]
    chance = random.Random(draw(st.integers(0, 2**32)))
    chance.shuffle(order)
    batches: Batches = [[]]
    for number, fact in order:
        batches[-1].append((fact, number))
        if chance.random() < 0.4:
            batches.append([])
    return batches


def truth(facts: Iterable[Fact]) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """What the facts mean: recordings and streams by number."""
    known = set(facts)
    recordings = {fact.recording for fact in known if fact.recording is not None}
    streams = {stream for fact in known for stream in fact.streams}
    return (
        {number: _recording([fact for fact in known if fact.recording == number]) for number in recordings},
        {number: _stream(number, [fact for fact in known if number in fact.streams]) for number in streams},
    )


def _recording(about: list[Fact]) -> dict[str, Any]:
    def times(*names: str) -> list[datetime]:
        return sorted(fact.at for fact in about if fact.name in names)

    starts, ends, failures = times(START), times(END), times(START_FAILURE, END_FAILURE)
    duration = max((fact.duration for fact in about if fact.name in (END, END_FAILURE)), default=None)
    over = [*ends[-1:], *times(END_FAILURE)[:1], *times(START_FAILURE)[:1]]
    return {
        "state": "FAILED" if failures else "RECORDING" if not ends else "READY" if duration else "FAILED",
        "started_at": starts[0] if starts else None,
        "ended_at": max([over[0], *starts[:1]]) if over else None,
        "duration_ms": duration,
        "failure_reason": max((f.reason for f in about if f.name.endswith("Failure") and f.reason), default=None),
        "prefix": "ivs/prefix" if {fact.name for fact in about} != {START_FAILURE} else None,
    }


def _stream(number: int, about: list[Fact]) -> dict[str, Any]:
    def times(name: str) -> list[datetime]:
        return sorted(fact.at for fact in about if fact.name == name)

    starts, ends, closes, overs = (times(name) for name in ("Stream Start", "Stream End", "Session Ended", END))
    started_at = starts[0] if starts else None
    if ends or overs or (starts and closes):
        state, ended_at = "ENDED", max([(ends or closes or overs)[-1], *starts[:1]])
    else:
        state, ended_at = "LIVE" if starts else "FAILED" if closes else "STARTING", None
    return {
        "state": state,
        "started_at": started_at,
        "ended_at": ended_at,
        # Amazon's order, where nothing else is known of them.
        "first_seen_at": min(fact.at - (len(fact.streams) - 1 - fact.streams.index(number)) * TICK for fact in about),
        "recording": max((str(fact.recording) for fact in about if fact.recording is not None), default=None),
    }


class World:
    """A channel of its own per example, and two workers."""

    def __init__(self, sessions: Sessions, publisher: Publisher) -> None:
        self.sessions = sessions
        self.workers = (Ingest(publisher, batch_rows=100), Ingest(publisher, batch_rows=100))
        self.run, self.channel, self.arn = "", UUID(int=0), ""

    async def begin(self) -> None:
        self.run = uuid4().hex
        async with self.sessions() as session, session.begin():
            row = await factories.user(session)
        self.channel, self.arn = row.id, row.arn or ""

    def event(self, fact: Fact, number: int) -> Event:
        names = [f"st-{stream}" for stream in fact.streams]
        detail: dict[str, Any] = {"channel_name": "", "stream_id": names[-1]}
        if fact.recording is None:
            detail["event_name"] = fact.name
        else:
            detail |= {
                "recording_status": fact.name,
                "recording_status_reason": fact.reason if fact.name.endswith("Failure") else "",
                "recording_s3_bucket_name": "bucket",
                "recording_s3_key_prefix": "" if fact.name == START_FAILURE else "ivs/prefix",
                "recording_duration_ms": fact.duration if fact.name in (END, END_FAILURE) else 0,
                "recording_session_id": str(fact.recording),
            }
            # As published: absent where it says no more than stream_id.
            if len(names) > 1:
                detail["recording_session_stream_ids"] = names
        body = {
            "id": f"{self.run}-{number}",
            "detail-type": STATE if fact.recording is None else RECORDING,
            "source": "aws.ivs",
            "time": fact.at.isoformat(),
            "resources": [self.arn],
            "detail": detail,
        }
        return parse(json.dumps(body))

    async def apply(self, worker: int, batch: list[tuple[Fact, int]]) -> None:
        await self.workers[worker].apply([self.event(fact, number) for fact, number in batch], door="test")

    async def check(self, facts: set[Fact]) -> None:
        recordings, streams = truth(facts)
        found = await self._rows(
            "SELECT recording_session_id AS number, state, started_at, ended_at, duration_ms, failure_reason, prefix"
            " FROM recordings WHERE channel_id = :id"
        )
        assert found == {str(number): row for number, row in recordings.items()}
        found = await self._rows(
            "SELECT substr(ivs_stream_id, 4) AS number, streams.state, streams.started_at, streams.ended_at,"
            " first_seen_at, recording_session_id AS recording"
            " FROM streams LEFT JOIN recordings ON recordings.id = recording_id WHERE streams.channel_id = :id"
        )
        assert found == {str(number): row for number, row in streams.items()}

    async def due(self) -> dict[str, bool]:
        """Whether each recording's metadata is to be read now, or was just tried to be by another test's server."""
        rows = await self._rows(
            "SELECT recording_session_id AS number, look_after < now() + interval '30 minutes' AS due"
            " FROM recordings WHERE channel_id = :id"
        )
        return {number: bool(row["due"]) for number, row in rows.items()}

    async def _rows(self, statement: str) -> dict[str, dict[str, Any]]:
        async with self.sessions() as session:
            found = (await session.execute(text(statement), {"id": self.channel})).mappings()
            return {row["number"]: {name: row[name] for name in row if name != "number"} for row in found}


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    engine = create_engine(database_url, pool_size=3, statement_timeout_ms=10_000, name="recording-rule")
    sessions = create_sessions(engine)
    yield World(sessions, Publisher(sessions, Bus(database_url, sessions, heartbeat=60)))
    await engine.dispose()


@settings(max_examples=40, deadline=None, derandomize=True, print_blob=True)
@given(batches=deliveries())
# Two recordings claim one stream: which has it must not depend on which came first.
@example(batches=[[(Fact(START, 0, (0,), 0), 1)], [(Fact(START, 0, (0,), 1), 2)]])
@example(batches=[[(Fact(START, 0, (0,), 1), 1)], [(Fact(START, 0, (0,), 0), 2)]])
async def test_after_every_batch_the_rows_tell_what_has_arrived(world: World, batches: Batches) -> None:
    await world.begin()
    told: set[Fact] = set()
    for batch in batches:
        await world.apply(0, batch)
        told |= {fact for fact, _ in batch}
        await world.check(told)
    recordings, _ = truth(told)
    assert await world.due() == {str(number): row["state"] == "READY" for number, row in recordings.items()}


@settings(max_examples=40, deadline=None, derandomize=True, print_blob=True)
@given(batches=deliveries())
async def test_two_workers_at_once_come_to_the_same_rows(world: World, batches: Batches) -> None:
    await world.begin()
    waiting = list(batches)

    async def work(worker: int) -> None:
        while waiting:
            await world.apply(worker, waiting.pop())

    await asyncio.gather(work(0), work(1))
    await world.check({fact for batch in batches for fact, _ in batch})
