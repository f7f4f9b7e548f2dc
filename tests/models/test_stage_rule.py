"""Whatever the order, number and company in which events of stages arrive, the rows tell what they say together.

Random histories full of ties are delivered in any order, doubled, in batches, by one worker or by two at once. Who is
on stage is told by `truth`, which knows nothing of SQL.
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
from sqlalchemy import select, text

from ivs.events import Event, parse
from models import Stage
from models.engine import Sessions, create_engine, create_sessions
from subscriptions.bus import Bus
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher
from tests import factories

DAWN = datetime(2026, 3, 1, 12, tzinfo=UTC)
ON, OFF = "Participant Published", "Participant Unpublished"
# Of a user who is not there any more nothing is kept.
GONE = UUID(int=1)


@dataclass(frozen=True)
class Fact:
    """Participant `participant` of session `session` on stage number `stage` did `name`, at a tenth of a second."""

    stage: int
    session: int
    participant: int
    name: str
    tenth: int
    user: int | None = None
    """Owner of the stage of this number; of no stage: a user who is gone; null for guests."""

    @property
    def at(self) -> datetime:
        return DAWN + timedelta(milliseconds=100 * self.tenth)


FACTS = st.builds(
    Fact,
    stage=st.integers(0, 1),
    session=st.integers(0, 1),
    participant=st.integers(0, 2),
    name=st.sampled_from((ON, OFF, ON, OFF, "Participant Publish Error")),
    tenth=st.integers(0, 12),
    user=st.sampled_from((None, 0, 1, 2)),
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


Person = tuple[int, int, int]


def truth(facts: Iterable[Fact], owners: list[UUID]) -> dict[Person, tuple[Any, ...]]:
    """Published, unpublished, whether on stage, and who it is, by stage, session and participant."""
    told: dict[Person, list[Fact]] = {}
    for fact in facts:
        if fact.name in (ON, OFF):
            told.setdefault((fact.stage, fact.session, fact.participant), []).append(fact)
    return {person: _meaning(about, owners) for person, about in told.items()}


def _meaning(about: list[Fact], owners: list[UUID]) -> tuple[Any, ...]:
    on, off = (max((fact.at for fact in about if fact.name == name), default=None) for name in (ON, OFF))
    user = max((owners[fact.user] for fact in about if fact.user in (0, 1)), default=None)
    return on, off, on is not None and (off is None or on > off), user


class World:
    """Two stages of their own per example, and two workers."""

    def __init__(self, sessions: Sessions, publisher: Publisher) -> None:
        self.sessions = sessions
        self.workers = (Ingest(publisher, batch_rows=100), Ingest(publisher, batch_rows=100))
        self.stages: list[Stage] = []
        self.run = uuid4().hex

    async def begin(self) -> None:
        self.run = uuid4().hex
        async with self.sessions() as session, session.begin():
            owners = [(await factories.user(session)).user_id for _ in range(2)]
            self.stages = [
                (await session.execute(select(Stage).where(Stage.user_id == owner))).scalar_one() for owner in owners
            ]

    def event(self, fact: Fact, number: int) -> Event:
        users = {None: "a guest", **{index: stage.user_id.hex for index, stage in enumerate(self.stages)}}
        detail = {
            "event_name": fact.name,
            "session_id": f"st-{fact.session}",
            "participant_id": f"p-{fact.participant}",
            "user_id": users.get(fact.user, GONE.hex),
            "event_time": fact.at.replace(microsecond=0).isoformat(),
            "event_time_precise": fact.at.isoformat(),
        }
        body = {
            "id": f"{self.run}-{number}",
            "detail-type": "IVS Stage Update",
            "source": "aws.ivs",
            "time": fact.at.replace(microsecond=0).isoformat(),
            "resources": [self.stages[fact.stage].arn],
            "detail": detail,
        }
        return parse(json.dumps(body))

    async def apply(self, worker: int, batch: list[tuple[Fact, int]]) -> None:
        await self.workers[worker].apply([self.event(fact, number) for fact, number in batch], door="test")

    async def check(self, facts: set[Fact]) -> None:
        """The rows tell the truth about the facts, and the stages are live since their first who is there."""
        expected = truth(facts, [stage.user_id for stage in self.stages])
        number = {stage.id: index for index, stage in enumerate(self.stages)}
        async with self.sessions() as session:
            rows = await session.execute(
                text(
                    "SELECT stage_id, ivs_session_id, participant_id, published_at, unpublished_at, on_stage, user_id"
                    " FROM stage_participants WHERE stage_id = ANY(:ids)"
                ),
                {"ids": list(number)},
            )
            found = {
                (number[row[0]], int(row[1].removeprefix("st-")), int(row[2].removeprefix("p-"))): tuple(row[3:])
                for row in rows
            }
            since = await session.execute(select(Stage.id, Stage.live_since).where(Stage.id.in_(list(number))))
            live = {number[key]: at for key, at in since}
        assert found == expected
        assert live == {
            index: min((row[0] for person, row in expected.items() if person[0] == index and row[2]), default=None)
            for index in number.values()
        }

    async def journalled(self) -> int:
        async with self.sessions() as session:
            statement = text("SELECT count(*) FROM received_events WHERE event_id LIKE :run AND outcome = 'APPLIED'")
            return int((await session.execute(statement, {"run": f"{self.run}-%"})).scalar_one())


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    engine = create_engine(database_url, pool_size=3, statement_timeout_ms=10_000, name="stage-rule")
    sessions = create_sessions(engine)
    yield World(sessions, Publisher(sessions, Bus(database_url, sessions, heartbeat=60)))
    await engine.dispose()


@settings(max_examples=40, deadline=None, derandomize=True, print_blob=True)
@given(batches=deliveries())
# On and off in one moment: off, whichever came first.
@example(batches=[[(Fact(0, 0, 0, ON, 1), 1)], [(Fact(0, 0, 0, OFF, 1), 2)]])
@example(batches=[[(Fact(0, 0, 0, OFF, 1), 1)], [(Fact(0, 0, 0, ON, 1), 2)]])
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
