"""The rows that all three servers read: a made-up world, and what its most popular live streamer asks of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from sqlalchemy import text

from models import ChatBan, ReceivedEvent, Recording, seeding, utcnow, uuid7
from models.engine import create_engine, create_sessions
from models.received import Outcome
from models.seeding import Person
from models.vault import Vault
from schema.base import global_id

PEOPLE = 400
LIVE_SHARE = 0.3
BANS = 5
SECRET_KEY = "x" * 32
PASSWORD = "made up for benchmarks"  # noqa: S105 - of people who are made up too


@dataclass(frozen=True)
class Asked:
    """Who signs in, and the variables of each document."""

    username: str
    viewer_id: UUID
    variables: Mapping[str, Mapping[str, Any]]


async def populate(database_url: str) -> Asked:
    engine = create_engine(database_url, pool_size=1, statement_timeout_ms=60_000, name="seed", pooled=False)
    # Of a minute ago, so that what is said of the audience of live streams is the same from second to second.
    world = seeding.imagine(PEOPLE, random_seed=1, now=utcnow() - timedelta(minutes=1), live_share=LIVE_SHARE)
    possessions = [
        replace(seeding.invented(person), stream_key=f"sk_us-east-1_{person.id.hex}") for person in world.people
    ]
    me = next(person for person in world.people if person.live)
    async with create_sessions(engine)() as session, session.begin():
        hashed = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1).hash(PASSWORD)
        await seeding.write(session, world, possessions, password_hash=hashed, vault=Vault([SECRET_KEY]))
        session.add_all(_events(me, possessions[world.people.index(me)].ivs_stream_id))
        others = [person for person in world.people if person is not me]
        session.add_all(ChatBan(id=uuid7(), chat_room_id=me.room_id, user_id=one.id) for one in others[:BANS])
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # Else the first rounds would be measured with other plans than the last ones.
        await connection.execute(text("VACUUM ANALYZE"))
    await engine.dispose()
    return Asked(me.username, me.id, _variables(me))


def _variables(me: Person) -> Mapping[str, Mapping[str, Any]]:
    # The last stream but one has its chat.
    recorded = next(one.recorded_as for one in reversed(me.streams) if one.recorded_as)
    return {
        "home": {"first": 20},
        "category": {"slug": me.category, "first": 20},
        "channel": {"name": me.username.upper()},
        "recording": {"id": global_id(Recording(id=recorded))},
        "stage": {"name": me.username},
        "dashboard": {},
        "settings": {},
    }


def _events(me: Person, ivs_stream_id: str | None) -> list[ReceivedEvent]:
    """Return what Amazon would have told about the stream that is live."""
    assert me.live is not None
    moments = {"Session Created": me.live.connected_at, "Stream Start": me.live.started_at}
    return [
        ReceivedEvent(
            id=uuid7(),
            event_id=f"{me.id.hex}-{name}",
            source="aws.ivs",
            detail_type="IVS Stream State Change",
            channel_id=me.channel_id,
            ivs_stream_id=ivs_stream_id,
            door="sqs",
            outcome=Outcome.APPLIED,
            body={"detail": {"event_name": name}},
            occurred_at=moment,
        )
        for name, moment in moments.items()
    ]
