"""Viewers' players, through the front door; and streams and heartbeats written straight into the database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models import Channel, ChatRoom, Metric, Stream, chat, stream
from models.metric import add_partition, heartbeat_id
from models.stream import Evidence
from schema.base import parse_id
from server.runtime import Runtime
from tests.client import Client

START = """
mutation Start($channelId: ID!) {
  playbackStart(input: { channelId: $channelId }) {
    channel { id } playbackUrl viewerToken viewerTokenExpiresAt heartbeatIntervalSeconds
    errors { __typename ... on UserError { message path } ... on TooManyAttempts { retryAfterSeconds } }
  }
}
"""
PUBLISH = """
mutation Publish($input: MetricsPublishInput!) {
  metricsPublish(input: $input) {
    accepted
    errors {
      __typename ... on UserError { message path }
      ... on TooManyAttempts { retryAfterSeconds } ... on Overloaded { retryAfterSeconds }
    }
  }
}
"""


def new_key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP384R1())


def pem(key: EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def beat(**readings: Any) -> dict[str, Any]:
    """A heartbeat that no other is."""
    return {"id": str(uuid4()), **readings}


@dataclass(frozen=True)
class Player:
    """Somebody's player of a channel."""

    client: Client
    token: str
    url: str

    @classmethod
    async def start(cls, client: Client, channel_id: str, *, token: str | None = None) -> "Player":
        payload = (await client.data(START, {"channelId": channel_id}, token=token))["playbackStart"]
        assert payload["errors"] == [], payload
        return cls(client, payload["viewerToken"], payload["playbackUrl"])

    async def send(self, *beats: Mapping[str, Any], client: Client | None = None) -> dict[str, Any]:
        """Send heartbeats; return the payload, whatever it says."""
        variables = {"input": {"viewerToken": self.token, "heartbeats": list(beats)}}
        payload: dict[str, Any] = (await (client or self.client).data(PUBLISH, variables))["metricsPublish"]
        return payload

    async def beats(self, *beats: Mapping[str, Any]) -> None:
        """Send heartbeats that must be taken."""
        assert await self.send(*beats) == {"accepted": len(beats), "errors": []}


async def broadcast(
    runtime: Runtime,
    channel_id: str,
    started_at: datetime,
    ended_at: datetime | None = None,
    *,
    name: str | None = None,
) -> Stream:
    """A stream on a channel that is known by its global id, without Amazon; repeated by name, it is corrected."""
    _, key = parse_id(channel_id, argument="id")
    services = runtime.services
    async with services.publisher.transaction() as transaction:
        session = transaction.session
        channel = (await session.execute(select(Channel).where(Channel.id == key).with_for_update())).scalar_one()
        sightings = {"started_at": started_at} | ({"stream_ended_at": ended_at} if ended_at else {})
        ivs_stream_id = name or f"st-{uuid4().hex[:23]}"
        await stream.record(session, {channel.id: [Evidence(ivs_stream_id, started_at, sightings)]})
        await stream.refresh_live(session, [key])
        transaction.channel_changed(key)
        found = select(Stream).where(Stream.channel_id == key, Stream.ivs_stream_id == ivs_stream_id)
        return (await session.execute(found)).scalar_one()


@dataclass(frozen=True)
class Written:
    """A heartbeat as a row."""

    viewing: UUID
    at: datetime
    readings: Mapping[str, Any]


async def write(session: AsyncSession, row: Stream, beats: Iterable[Written], *, began: datetime | None = None) -> None:
    """Write heartbeats of viewings that began with the stream, or when told."""
    assert row.started_at is not None
    owner = (await session.execute(select(Channel.user_id).where(Channel.id == row.channel_id))).scalar_one()
    began = began or row.started_at
    await add_partition(session, began.astimezone(UTC).date())
    session.add_all(
        Metric(
            id=heartbeat_id(one.viewing, uuid4(), began),
            viewing_started_at=began,
            viewing_id=one.viewing,
            stream_id=row.id,
            user_id=owner,
            sent_at=one.at,
            created_at=max(one.at, began),
            **one.readings,
        )
        for one in beats
    )
    await session.flush()


async def say(session: AsyncSession, row: Stream, *moments: datetime) -> None:
    """Let the streamer write in the chat at these moments, before which the stream had begun."""
    found = select(ChatRoom).join(Channel, Channel.user_id == ChatRoom.user_id).where(Channel.id == row.channel_id)
    room = (await session.execute(found)).scalar_one()
    said = [chat.Said(uuid4().hex[:12], "hello", room.name, moment, room.user_id) for moment in moments]
    assert await chat.keep(session, room.id, said) == len(moments)


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)
