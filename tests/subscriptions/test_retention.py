"""Events, messages and deletions go when they are old, a few at once, and nothing else does."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from models import ChatRoom, chat, utcnow, uuid7
from models.chat import Said
from models.engine import Sessions
from server.runtime import Resolved
from subscriptions.bus import Bus
from subscriptions.publish import Publisher
from subscriptions.retention import DELETED, Retention, RetentionConfig
from tests import factories
from tests.accounts import sql
from tests.client import Client
from tests.conftest import Emulator, StartServer
from tests.registration import open_sessions
from tests.studio import Studio

TIMELINES = """
query($name: String!) { channel(by: {name: $name}) { streams { nodes { state events { nodes { name } } } } } }
"""
TABLES = ("received_events", "chat_messages", "chat_deletions")


@pytest.fixture
async def sessions(here: Resolved) -> AsyncIterator[Sessions]:
    async with open_sessions(here.database_url) as sessions:
        yield sessions


@pytest.fixture
async def room(sessions: Sessions) -> UUID:
    async with sessions() as session, session.begin():
        channel = await factories.user(session)
        return (await session.execute(select(ChatRoom.id).where(ChatRoom.user_id == channel.user_id))).scalar_one()


def retention(here: Resolved, sessions: Sessions, **changes: Any) -> Retention:
    config = {"events_days": 30, "chat_days": 20, "deletions_days": 10, "batch_rows": 100, **changes}
    return Retention(Publisher(sessions, Bus(here.bus_url, sessions, heartbeat=60)), RetentionConfig(**config))


async def fill(sessions: Sessions, room: UUID, *ages: int) -> None:
    """Write an event, a message and a deletion of each age in days, and a minute more."""
    event = text("""
    INSERT INTO received_events (id, event_id, source, detail_type, door, outcome, body, occurred_at, received_at)
    VALUES (:id, :name, 'aws.ivs', 'IVS Stream State Change', 'test', 'UNMATCHED', '{}', now(), :at)
    """)
    for number, age in enumerate(ages):
        at, name = utcnow() - timedelta(days=age, minutes=1), f"{age}-{number}"
        async with sessions() as session, session.begin():
            await session.execute(event, {"id": uuid7(), "name": name, "at": at})
            await chat.keep(session, room, [Said(name, "hello", "somebody", at)])
            await chat.forget(session, room, [f"other-{name}"])
            aged = text("UPDATE chat_deletions SET created_at = :at WHERE ivs_message_id = :name")
            await session.execute(aged, {"at": at, "name": f"other-{name}"})


async def left(sessions: Sessions) -> list[list[int]]:
    """Return the ages of what is left of each table."""
    columns = zip(TABLES, ("received_at", "sent_at", "created_at"), strict=True)
    async with sessions() as session:
        return [
            list(
                await session.scalars(
                    text(f"SELECT extract(day FROM now() - {age})::int FROM {table} ORDER BY {age}")  # noqa: S608
                )
            )
            for table, age in columns
        ]


def counted() -> list[float]:
    return [DELETED.labels(table)._value.get() for table in TABLES]


async def test_each_has_its_time(here: Resolved, sessions: Sessions, room: UUID) -> None:
    await fill(sessions, room, 40, 30, 29, 20, 19, 10, 9, 0)
    before = counted()
    assert await retention(here, sessions).run_due() == 2 + 4 + 6
    assert await left(sessions) == [[29, 20, 19, 10, 9, 0], [19, 10, 9, 0], [9, 0]]
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 4, 6]
    assert await retention(here, sessions).run_due() == 0


async def test_a_few_at_once_the_oldest_first(here: Resolved, sessions: Sessions, room: UUID) -> None:
    await fill(sessions, room, 50, 42, 41, 60, 55)
    job = retention(here, sessions, batch_rows=2)
    assert await job.run_due() == 6
    assert await left(sessions) == [[50, 42, 41]] * 3
    assert [await job.run_due() for _ in range(3)] == [6, 3, 0]
    assert await left(sessions) == [[]] * 3


async def test_messages_stay_without_a_limit(here: Resolved, sessions: Sessions, room: UUID) -> None:
    await fill(sessions, room, 5000)
    assert await retention(here, sessions, chat_days=None).run_due() == 2
    assert await left(sessions) == [[], [5000], []]


@pytest.mark.parametrize("table", ["channels", "stages"])
async def test_what_may_yet_be_matched_stays(here: Resolved, sessions: Sessions, room: UUID, table: str) -> None:
    await fill(sessions, room, 41, 31)

    async def owner(state: str) -> None:
        changed = text(f"""
        UPDATE {table} SET arn = NULL, provisioning = '{state}', created_at = now() - interval '40 days',
          provision_after = CASE '{state}' WHEN 'PENDING' THEN now() END
        """)  # noqa: S608 - our names
        async with sessions() as session, session.begin():
            await session.execute(changed)

    await owner("PENDING")
    await retention(here, sessions).run_due()
    assert await left(sessions) == [[31], [], []]
    assert await retention(here, sessions).run_due() == 0
    await owner("FAILED")
    assert await retention(here, sessions).run_due() == 1
    assert await left(sessions) == [[], [], []]


async def test_what_is_live_keeps_its_timeline(start_server: StartServer, here: Resolved, emulator: Emulator) -> None:
    async with start_server(worker=False, resolved=here) as server:
        client = Client(server.url)
        await outlived(await Studio.open(server.runtime, emulator, client))
        await client.aclose()


async def outlived(studio: Studio) -> None:
    state = "IVS Stream State Change"
    await studio.tell(state, 1, event_name="Stream Start", stream_id="st-over")
    await studio.tell(state, 2, event_name="Stream End", stream_id="st-over")
    await studio.tell(state, 3, event_name="Stream Start", stream_id="st-live")
    before = await timelines(studio)
    assert before == [("LIVE", ["Stream Start"]), ("ENDED", ["Stream Start", "Stream End"])]
    await sql(studio.runtime, "UPDATE received_events SET received_at = now() - interval '31 days'")
    config = RetentionConfig(events_days=30, chat_days=20, deletions_days=10, batch_rows=100)
    job = Retention(studio.runtime.services.publisher, config)
    assert await job.run_due() == 2
    # Of what is over the stream stays, with all that its events told of it.
    assert await timelines(studio) == [("LIVE", ["Stream Start"]), ("ENDED", [])]
    await studio.tell(state, 4, event_name="Stream End", stream_id="st-live")
    assert await job.run_due() == 1
    assert await timelines(studio) == [("ENDED", ["Stream End"]), ("ENDED", [])]


async def timelines(studio: Studio) -> list[tuple[str, list[str]]]:
    """Return the state and the names of the events of each stream, as the owner sees them, the newest first."""
    data = await studio.client.data(TIMELINES, {"name": studio.user.username}, token=studio.user.token)
    return [
        (stream["state"], [event["name"] for event in stream["events"]["nodes"]])
        for stream in data["channel"]["streams"]["nodes"]
    ]


async def test_workers_do_not_wait_for_each_other(here: Resolved, sessions: Sessions, room: UUID) -> None:
    await fill(sessions, room, 60, 50)
    async with sessions() as other, other.begin():
        await other.execute(text("SELECT id FROM received_events ORDER BY received_at LIMIT 1 FOR UPDATE"))
        assert await retention(here, sessions).run_due() == 5
    assert await left(sessions) == [[60], [], []]


async def test_ages_are_found_by_an_index(sessions: Sessions) -> None:
    columns = zip(TABLES, ("received_at", "sent_at", "created_at"), strict=True)
    async with sessions() as session, session.begin():
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        for table, age in columns:
            statement = f"SELECT id FROM {table} WHERE {age} < now() ORDER BY {age} LIMIT 5"  # noqa: S608 - our names
            plan = "\n".join(await session.scalars(text(f"EXPLAIN {statement}")))
            assert f"using ix_{table}_{age}" in plan
            assert "Sort" not in plan
