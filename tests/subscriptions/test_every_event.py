"""Every event that Amazon documents, and every oddity of a published one, through both doors and into the graph.

The fixtures in `events/` are written from the field lists of the guides; `EXPECTED` says of each what becomes of it.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from ivs.client import Aws
from models import Channel, Session, Stage, Stream, uuid7
from schema.base import global_id
from server.runtime import Resolved
from tests import factories
from tests.accounts import sql
from tests.cases import crossed
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.registration import fresh_database
from tests.subscriptions.queues import Queue, make_queue
from tests.subscriptions.test_https_door import deliver
from tests.waiting import eventually

FOLDER = Path(__file__).parent / "events"
# What the fixtures say in place of the test's own.
EVENT, CHANNEL = "01234567-0123-0123-0123-012345678901", "arn:aws:ivs:us-east-1:123456789012:channel/AbCdEf1H2j3K"
STAGE = "arn:aws:ivs:us-east-1:123456789012:stage/AbCdEf1H2j3K"
SHOWN = """
query($channel: ID!, $stage: ID!) {
  channel(by: {id: $channel}) { isLive }
  stage(by: {id: $stage}) { participants { participantId publishedAt } }
}
"""
STREAM = """
query($id: ID!) {
  node(id: $id) {
    ... on Stream {
      state health startedAt endedAt
      recording { state durationMs streams { id } }
      events { nodes { type name code message } }
    }
  }
}
"""
SECRET = "n" * 40
AT, EARLIER = "2026-06-23T20:12:36+00:00", "2026-06-23T20:12:35+00:00"


@dataclass(frozen=True)
class Told:
    """What becomes of an event of a channel whose encoder has just connected.

    Streams as state, health, start, end and recording; events as type, code and sentence; participants with the time
    since when they publish.
    """

    outcome: str
    streams: tuple[Any, ...] = (("STARTING", None, None, None, None),)
    event: tuple[str, str | None, str] | None = None
    on_stage: tuple[tuple[str, str], ...] = ()

    @property
    def is_live(self) -> bool:
        return self.streams[0][0] == "LIVE"


def applied(
    kind: str,
    message: str,
    code: str | None = None,
    *,
    state: str = "STARTING",
    start: str | None = None,
    end: str | None = None,
    recording: tuple[str, int | None, int] | None = None,
    more: tuple[Any, ...] = (),
) -> Told:
    """Return what becomes of an event that its stream's timeline shows."""
    health = "HEALTHY" if state == "LIVE" else None
    return Told("APPLIED", ((state, health, start, end, recording), *more), (kind, code, message))


def refused(code: str, why: str) -> Told:
    return applied("SESSION_ENDED", f"Amazon refused the encoder: {why}", code, state="FAILED")


def not_taken_over(code: str, why: str) -> Told:
    return applied("STREAM_TAKEOVER_FAILURE", f"Another encoder was refused to take over{why}", code)


def breached(limit: str, figures: str) -> Told:
    exceeds = f"{limit} exceeds Amazon's limit: at most {figures} more were sent."
    return applied("LIMIT_BREACH", f"{exceeds} The encoder will probably be disconnected.")


def over(duration_ms: int, state: str = "READY", *, streams: int = 1) -> Told:
    recording = (state, duration_ms, streams)
    ended = ("ENDED", None, None, AT, recording)
    return applied(
        "RECORDING_END",
        "The recording is complete.",
        state="ENDED",
        end=AT,
        recording=recording,
        more=(ended,) * (streams - 1),
    )


def on_stage(since: str) -> Told:
    return Told("APPLIED", on_stage=(("xYz1c2d3e4f", since),))


STARTED = applied("STREAM_START", "The stream can be watched.", state="LIVE", start=AT)
RECORDS = applied("RECORDING_START", "The stream is being recorded.", recording=("RECORDING", None, 1))
NOT_RECORDED = "The stream could not be recorded; it is not affected itself."
IGNORED, UNMATCHED = Told("IGNORED"), Told("UNMATCHED")
EXPECTED = {
    "stream-session-created": applied("SESSION_CREATED", "The encoder has connected."),
    "stream-start": STARTED,
    "stream-end": applied("STREAM_END", "The stream is over for viewers.", state="ENDED", end=AT),
    "stream-session-ended": applied("SESSION_ENDED", "The encoder has disconnected.", state="FAILED"),
    "stream-session-ended-MultitrackInputNotAllowed": refused(
        "MultitrackInputNotAllowed", "the channel does not take multitrack video."
    ),
    "stream-session-ended-MultitrackInputRequired": refused(
        "MultitrackInputRequired", "the channel takes nothing but multitrack video."
    ),
    "stream-session-ended-InvalidGetClientConfigurationStreamKey": refused(
        "InvalidGetClientConfigurationStreamKey",
        "multitrack video needs the stream key that Amazon configured the encoder with.",
    ),
    "stream-session-ended-GetClientConfigurationStreamKeyRequired": refused(
        "GetClientConfigurationStreamKeyRequired",
        "multitrack video needs a stream key that Amazon configures the encoder with.",
    ),
    "stream-session-ended-InvalidMultitrackInputTrackCount": refused(
        "InvalidMultitrackInputTrackCount", "it sends a wrong number of tracks."
    ),
    "stream-session-ended-InvalidMultitrackInputVideoTrackMediaProperties": refused(
        "InvalidMultitrackInputVideoTrackMediaProperties", "its video tracks are not as they were configured."
    ),
    "stream-failure": applied(
        "STREAM_FAILURE",
        "Amazon could not process the stream. It says: Transcode capacity exceeded. Please try again.",
        state="FAILED",
    ),
    "stream-takeover": applied("STREAM_TAKEOVER", "Another encoder has taken over; the stream goes on."),
    "stream-takeover-failure-StreamTakeoverMediaMismatch": not_taken_over(
        "StreamTakeoverMediaMismatch", ", because it sends other media."
    ),
    "stream-takeover-failure-StreamTakeoverInvalidPriority": not_taken_over(
        "StreamTakeoverInvalidPriority", ", because its priority is not higher."
    ),
    "stream-takeover-failure-StreamTakeoverLimitBreached": not_taken_over(
        "StreamTakeoverLimitBreached", ": the stream was taken over too often."
    ),
    "health-starvation-start": applied(
        "STARVATION_START", "No data arrives from the encoder; viewers see a frozen picture."
    ),
    "health-starvation-end": applied("STARVATION_END", "Data arrives from the encoder again."),
    "limit-ingest-bitrate": breached("Ingest Bitrate", "8,500,000 bits per second, 1,500,000"),
    "limit-ingest-resolution-total": breached("Ingest Resolution", "2,073,600 total pixels, 1,000"),
    "limit-ingest-resolution-edge": breached("Ingest Resolution", "1,920 pixels per edge, 640"),
    "limit-account-broadcasts": IGNORED,
    "limit-account-viewers": IGNORED,
    "ad-break-inserted": applied("AD_BREAK_INSERTED", "A break of 30 seconds for advertisements was inserted."),
    "ad-break-inserted-bare": applied("AD_BREAK_INSERTED", "A break for advertisements was inserted."),
    "recording-start": RECORDS,
    "recording-start-with-streams": RECORDS,
    "recording-end": over(99_370_264),
    "recording-end-merged": over(99_370_264, streams=2),
    "recording-end-of-no-length": over(0, "FAILED"),
    "recording-end-without-session": applied("RECORDING_END", "The recording is complete.", state="ENDED", end=AT),
    "recording-start-failure": applied(
        "RECORDING_START_FAILURE", NOT_RECORDED, "ValidationException", recording=("FAILED", None, 1)
    ),
    "recording-start-failure-without-session": applied("RECORDING_START_FAILURE", NOT_RECORDED, "ValidationException"),
    "recording-end-failure": applied(
        "RECORDING_END_FAILURE",
        "The recording failed and is not offered.",
        "InternalServerException",
        recording=("FAILED", 99_370_264, 1),
    ),
    "stage-published": on_stage("2026-06-23T20:12:35.250000+00:00"),
    "stage-published-without-times": on_stage(AT),
    "stage-published-nanoseconds": on_stage("2026-06-23T20:12:35.123457+00:00"),
    "stage-published-replica": on_stage("2026-06-23T20:12:35.250000+00:00"),
    "stage-unpublished": Told("APPLIED"),
    "stage-publish-error": Told("APPLIED"),
    "stage-replication-start": IGNORED,
    "stage-replication-end": IGNORED,
    "stage-token-exchanged": IGNORED,
    "participant-recording-start": IGNORED,
    "participant-recording-end": IGNORED,
    "participant-recording-end-merged": IGNORED,
    "participant-recording-start-failure": IGNORED,
    "participant-recording-end-failure": IGNORED,
    "composition-session-start": IGNORED,
    "composition-session-end": IGNORED,
    "composition-session-failure": IGNORED,
    "composition-session-failure-before-2026": IGNORED,
    "composition-destination-start": IGNORED,
    "composition-destination-end": IGNORED,
    "composition-destination-reconnecting": IGNORED,
    "composition-destination-failure": IGNORED,
    "oddity-elsewhere": STARTED,
    "oddity-blank-after-arn": STARTED,
    "oddity-malformed-arn": UNMATCHED,
    "oddity-channel-name-empty": STARTED,
    "oddity-replayed": STARTED,
    "oddity-new-fields": STARTED,
    "oddity-few-fields": STARTED,
    "other-channel": UNMATCHED,
    "other-event-name": IGNORED,
    "other-publisher-recording": IGNORED,
    "other-detail-type": IGNORED,
    "other-source": IGNORED,
    "cloudtrail-ivs": IGNORED,
    "cloudtrail-ivschat": IGNORED,
}
NO_ARN = "'{}' without the {}'s ARN in resources".format
STATE, RECORDING, STAGES = "IVS Stream State Change", "IVS Recording State Change", "IVS Stage Update"
PARTICIPANT, COMPOSITION = "IVS Participant Recording State Change", "IVS Composition State Change"
MALFORMED = {
    "stream-without-resource": NO_ARN(STATE, "channel"),
    "stream-without-stream-id": f"'{STATE}' with detail.stream_id = None",
    "health-with-a-number-for-stream-id": "'IVS Stream Health Change' with detail.stream_id = 5",
    "limit-with-null-for-resource": "not an EventBridge envelope: Expected `str`, got `null` - at `$.resources[0]`",
    "ad-break-without-resource": NO_ARN("IVS Ad Break State Change", "channel"),
    "ad-break-without-stream-id": "'IVS Ad Break State Change' with detail.stream_id = None",
    "recording-without-resource": NO_ARN(RECORDING, "channel"),
    "recording-without-stream-id": f"'{RECORDING}' with detail.stream_id = None",
    "stage-without-resource": NO_ARN(STAGES, "stage"),
    "stage-without-session-id": f"'{STAGES}' with detail.session_id = None",
    "stage-without-participant-id": f"'{STAGES}' with detail.participant_id = None",
    "replication-without-participant-id": f"'{STAGES}' with detail.participant_id = None",
    "token-exchange-without-resource": NO_ARN(STAGES, "stage"),
    "participant-recording-without-resource": NO_ARN(PARTICIPANT, "stage"),
    "participant-recording-without-session-id": f"'{PARTICIPANT}' with detail.session_id = None",
    "composition-without-resource": NO_ARN(COMPOSITION, "composition"),
    "composition-without-stage-arn": f"'{COMPOSITION}' with detail.stage_arn = None",
    "cloudtrail-without-detail": "not an EventBridge envelope: Expected `object`, got `null` - at `$.detail`",
    "without-id": "not an EventBridge envelope: Object missing required field `id`",
    "with-another-time": "not an EventBridge envelope: Invalid RFC3339 encoded datetime - at `$.time`",
}


@dataclass(frozen=True)
class Doors:
    """A server with both doors, on a database of its own."""

    running: Running
    queue: Queue

    async def send(self, door: str, body: str) -> None:
        """Let an envelope arrive; return when it is in the journal."""
        if door == "https":
            assert await deliver(self.running, body, SECRET) == (204, None)
            return
        await self.queue.send(body)
        await eventually(partial(self._journalled, json.loads(body)["id"]), "the event is in the journal")

    async def _journalled(self, event_id: str) -> bool:
        journal = "SELECT 1 FROM received_events WHERE event_id = :id"
        return await sql(self.running.runtime, journal, id=event_id) != []

    async def reason(self, body: str) -> str:
        """Wait for an envelope in the dead-letter queue; return why it is there."""
        found: list[str] = []

        async def there() -> bool:
            # Other tests' envelopes come again.
            found.extend(reason for buried, reason in await self.queue.buried() if buried == body)
            return found != []

        await eventually(there, "the envelope is buried")
        return found[0]


@pytest.fixture(scope="module")
async def doors(start_server: StartServer, resolved: Resolved, aws: Aws) -> AsyncIterator[Doors]:
    queue = await make_queue(aws)
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url, events_queue_url=queue.url)
        # What the recordings hold is not there.
        async with start_server(
            resolved=here, events_https_secrets=(SECRET,), recordings_interval_seconds=300.0
        ) as running:
            yield Doors(running, queue)


@dataclass(frozen=True)
class Owner:
    """A channel with its stage, and what its owner sees of them."""

    running: Running
    client: Client
    channel: Channel
    stage: Stage
    token: str

    @classmethod
    async def make(cls, running: Running, client: Client) -> "Owner":
        token = uuid4().hex
        async with running.runtime.services.sessions() as session, session.begin():
            channel = await factories.user(session)
            stage = (await session.execute(select(Stage).where(Stage.user_id == channel.user_id))).scalar_one()
            session.add(
                Session(
                    id=uuid7(),
                    user_id=channel.user_id,
                    token_hash=hashlib.sha256(token.encode()).digest(),
                    expires_at=datetime.now(UTC) + timedelta(hours=1),
                )
            )
        return cls(running, client, channel, stage, token)

    def envelope(self, fixture: Path) -> str:
        """Return the fixture with the ARNs of the test's own, and an id that no other event has."""
        own = {EVENT: str(uuid4()), CHANNEL: self.channel.arn or "", STAGE: self.stage.arn or ""}
        text = fixture.read_text()
        for theirs, ours in own.items():
            text = text.replace(theirs, ours)
        return text

    async def told(self, outcome: str) -> Told:
        """Return what is seen of everything but the encoder's first connection."""
        ids = {"channel": global_id(self.channel), "stage": global_id(self.stage)}
        found = await self.client.data(SHOWN, ids, token=self.token)
        streams = [await self._stream(key) for key in await self._stream_ids()]
        events = [event for stream in streams for event in stream["events"]["nodes"]]
        assert events.pop(0)["type"] == "SESSION_CREATED"
        (event,) = [(one["type"], one["code"], one["message"]) for one in events] or [None]
        participants = found["stage"]["participants"]
        told = Told(
            outcome,
            tuple(_stream(one) for one in streams),
            event,
            tuple((one["participantId"], one["publishedAt"]) for one in participants),
        )
        assert found["channel"]["isLive"] is told.is_live
        return told

    async def _stream_ids(self) -> list[str]:
        """Return the channel's streams, newest first; the graph lists none that never started."""
        newest = select(Stream).where(Stream.channel_id == self.channel.id)
        async with self.running.runtime.services.sessions() as session:
            rows = await session.scalars(newest.order_by(Stream.first_seen_at.desc()))
            return [global_id(row) for row in rows]

    async def _stream(self, key: str) -> dict[str, Any]:
        node: dict[str, Any] = (await self.client.data(STREAM, {"id": key}, token=self.token))["node"]
        return node


def _stream(node: dict[str, Any]) -> tuple[Any, ...]:
    recording = node["recording"]
    shown = recording and (recording["state"], recording["durationMs"], len(recording["streams"]))
    return node["state"], node["health"], node["startedAt"], node["endedAt"], shown


@pytest.fixture
async def owner(doors: Doors) -> AsyncIterator[Owner]:
    client = Client(doors.running.url)
    yield await Owner.make(doors.running, client)
    await client.aclose()


def test_of_every_fixture_it_is_known_what_becomes_of_it() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EXPECTED)
    assert {path.stem for path in (FOLDER / "malformed").glob("*.json")} == set(MALFORMED)


@pytest.mark.parametrize(("name", "door"), crossed(list(EXPECTED), ["sqs", "https"]))
async def test_every_documented_event_has_its_exact_effect(doors: Doors, owner: Owner, name: str, door: str) -> None:
    connected = json.loads(owner.envelope(FOLDER / "stream-session-created.json"))
    await doors.send("https", json.dumps({**connected, "time": "2026-06-23T20:12:26Z"}))
    body = owner.envelope(FOLDER / f"{name}.json")
    whole = json.loads(body)

    await doors.send(door, body)

    rows = await sql(
        doors.running.runtime,
        "SELECT door, outcome, detail_type, resource, channel_id, body FROM received_events WHERE event_id = :id",
        id=whole["id"],
    )
    expected = EXPECTED[name]
    resource = whole["resources"][0].strip() if whole["resources"] else None
    of_channel = expected.outcome == "APPLIED" and resource == owner.channel.arn
    shown = (door, expected.outcome, whole["detail-type"], resource, owner.channel.id if of_channel else None, whole)
    assert [tuple(row) for row in rows] == [shown]
    assert await owner.told(rows[0].outcome) == expected
    # Delivered again, it changes nothing.
    await doors.send("https", body)
    assert await owner.told(rows[0].outcome) == expected


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_lacks_what_its_kind_always_has_is_kept_with_the_reason(
    doors: Doors, owner: Owner, name: str
) -> None:
    body = owner.envelope(FOLDER / "malformed" / f"{name}.json")
    journal = "SELECT count(*) FROM received_events"
    before = await sql(doors.running.runtime, journal)

    assert await deliver(doors.running, body, SECRET) == (400, MALFORMED[name])
    await doors.queue.send(body)

    assert await doors.reason(body) == MALFORMED[name]
    assert await sql(doors.running.runtime, journal) == before
