"""Events as AWS writes them, and a queue that holds them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text

from ivs.client import Aws
from ivs.events import Event, parse
from models import Channel
from models.engine import Sessions
from schema.base import global_id
from tests import factories
from tests.client import unique

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
STATE = "IVS Stream State Change"


def body(arn: str | None, name: str, *, stream: str = "st-one", second: int = 0, **changes: Any) -> str:
    """One envelope about a stream; `changes` replace its fields."""
    whole = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": STATE,
        "source": "aws.ivs",
        "account": "123456789012",
        "time": (NOON + timedelta(seconds=second)).isoformat(),
        "region": "us-east-1",
        "resources": [arn] if arn else [],
        "detail": {"event_name": name, "channel_name": "", "stream_id": stream},
    }
    return json.dumps({**whole, **{name.replace("_", "-"): value for name, value in changes.items()}})


@dataclass(frozen=True)
class Queue:
    """A queue with its dead-letter queue; without one if `dead_url` is null."""

    aws: Aws
    url: str
    dead_url: str | None

    async def send(self, *bodies: str) -> None:
        for one in bodies:
            await self.aws.call("sqs", "send_message", QueueUrl=self.url, MessageBody=one)

    async def size(self) -> int:
        """Messages that wait, are in work, or were given up by who worked on them."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self.aws.call("sqs", "get_queue_attributes", QueueUrl=self.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    async def in_work(self) -> int:
        """Messages that somebody has received, and neither deleted nor given up."""
        name = "ApproximateNumberOfMessagesNotVisible"
        answer = await self.aws.call("sqs", "get_queue_attributes", QueueUrl=self.url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    async def is_empty(self) -> bool:
        # The emulator counts the two sorts one after the other; a message that comes back just then is in neither.
        return await self.size() == 0 and await self.size() == 0

    async def buried(self) -> list[tuple[str, str]]:
        """Body and reason of each message in the dead-letter queue, which is emptied."""
        found = []
        while answer := await self._receive():
            found += [(one["Body"], one["MessageAttributes"]["reason"]["StringValue"]) for one in answer]
        return found

    async def _receive(self) -> list[dict[str, Any]]:
        answer = await self.aws.call(
            "sqs",
            "receive_message",
            QueueUrl=self.dead_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


async def make_queue(aws: Aws, *, dead_letters: bool = True) -> Queue:
    name = unique("events")
    url = (await aws.call("sqs", "create_queue", QueueName=name))["QueueUrl"]
    if not dead_letters:
        return Queue(aws, url, None)
    dead_url = (await aws.call("sqs", "create_queue", QueueName=f"{name}-dead"))["QueueUrl"]
    answer = await aws.call("sqs", "get_queue_attributes", QueueUrl=dead_url, AttributeNames=["QueueArn"])
    policy = json.dumps({"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": "5"})
    await aws.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": policy})
    return Queue(aws, url, dead_url)


@dataclass
class Watched:
    """A channel in the database and what is known of it there."""

    sessions: Sessions
    id: UUID
    arn: str
    events: list[str] = field(default_factory=list)

    @classmethod
    async def of(cls, sessions: Sessions, username: str) -> "Watched":
        """The channel of a user who has registered."""
        async with sessions() as session:
            found = await session.execute(select(Channel.id, Channel.arn).where(Channel.name == username))
            key, arn = found.one()
        return cls(sessions, key, arn)

    @property
    def node_id(self) -> str:
        """Its id in the graph."""
        return global_id(Channel(id=self.id))

    def event(self, name: str, **details: Any) -> str:
        made = body(self.arn, name, **details)
        self.events.append(json.loads(made)["id"])
        return made

    def parsed(self, name: str, **details: Any) -> Event:
        return parse(self.event(name, **details))

    async def streams(self) -> list[tuple[str, str]]:
        """Each stream's id and state."""
        return [
            (row[0], row[1])
            for row in await self._rows(
                "SELECT ivs_stream_id, state FROM streams WHERE channel_id = :id ORDER BY ivs_stream_id", id=self.id
            )
        ]

    async def live(self) -> str | None:
        """The id of the stream that can be watched."""
        rows = await self._rows(
            "SELECT ivs_stream_id FROM streams JOIN channels ON live_stream_id = streams.id WHERE channels.id = :id",
            id=self.id,
        )
        return rows[0][0] if rows else None

    async def outcomes(self) -> list[str | None]:
        """What the journal says of each event that was made, in that order; null where it knows nothing."""
        rows = await self._rows(
            "SELECT event_id, outcome FROM received_events WHERE event_id = ANY(:ids)", ids=self.events
        )
        known = {row[0]: row[1] for row in rows}
        return [known.get(one) for one in self.events]

    async def changed_at(self) -> list[datetime]:
        """When the channel and its streams last changed."""
        rows = await self._rows(
            "SELECT updated_at FROM streams WHERE channel_id = :id"
            " UNION ALL SELECT updated_at FROM channels WHERE id = :id ORDER BY 1",
            id=self.id,
        )
        return [row[0] for row in rows]

    async def _rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.sessions() as session:
            return list((await session.execute(text(statement), values)).all())


@asynccontextmanager
async def refusing(sessions: Sessions, event_id: str) -> AsyncIterator[None]:
    """Let PostgreSQL refuse a value of the event. Nothing we know of gets this far, so it is a rule of the test."""
    rule = f"CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN IF NEW.event_id = '{event_id}' THEN\
        RAISE EXCEPTION 'not this one' USING ERRCODE = '22P05'; END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
    trigger = "CREATE TRIGGER refuse BEFORE INSERT ON received_events FOR EACH ROW EXECUTE FUNCTION refuse()"
    async with sessions() as session, session.begin():
        await session.execute(text(rule))
        await session.execute(text(trigger))
    try:
        yield
    finally:
        async with sessions() as session, session.begin():
            await session.execute(text("DROP FUNCTION refuse CASCADE"))


async def watch(sessions: Sessions) -> Watched:
    """A channel of a new user, READY."""
    async with sessions() as session, session.begin():
        channel = await factories.user(session)
    return Watched(sessions, channel.id, channel.arn or "")
