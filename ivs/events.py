"""EventBridge envelopes of Amazon IVS, as typed values. Pure; an unknown kind is a value, only nonsense is an error.

Source: IVS Low-Latency and Real-Time Streaming User Guides, "Using Amazon EventBridge".
"""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec


class EventMalformed(Exception):
    """The body is not an EventBridge envelope, or lacks what its detail-type promises; the text says what."""


class StreamEventName(enum.StrEnum):
    """`detail.event_name` of stream state and health changes."""

    SESSION_CREATED = "Session Created"
    STREAM_START = "Stream Start"
    STREAM_END = "Stream End"
    SESSION_ENDED = "Session Ended"
    STREAM_FAILURE = "Stream Failure"
    STREAM_TAKEOVER = "Stream Takeover"
    STREAM_TAKEOVER_FAILURE = "Stream Takeover Failure"
    STARVATION_START = "Starvation Start"
    STARVATION_END = "Starvation End"


class RecordingStatus(enum.StrEnum):
    """`detail.recording_status`: recordings have no event_name."""

    START = "Recording Start"
    END = "Recording End"
    START_FAILURE = "Recording Start Failure"
    END_FAILURE = "Recording End Failure"


class StageEventName(enum.StrEnum):
    """`detail.event_name` of stage updates that say something about a participant.

    There are others: of replication, whose copies publish like everybody else, and of exchanged tokens.
    """

    PUBLISHED = "Participant Published"
    UNPUBLISHED = "Participant Unpublished"
    PUBLISH_ERROR = "Participant Publish Error"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What EventBridge puts round every event; fields we do not use may be absent and others may be added."""

    id: str
    detail_type: str = msgspec.field(name="detail-type")
    source: str
    time: datetime
    resources: list[str] = []
    detail: dict[str, Any] = {}

    @property
    def resource(self) -> str | None:
        """First resource, without the stray blanks that published samples carry."""
        return self.resources[0].strip() or None if self.resources else None


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something happened to one stream of one channel. `body` is the envelope as it came."""

    envelope: Envelope
    body: dict[str, Any]
    channel_arn: str
    stream_id: str
    name: StreamEventName
    code: str | None
    reason: str | None

    @property
    def at(self) -> datetime:
        """When it happened, to the second."""
        return self.envelope.time


@dataclass(frozen=True, slots=True)
class RecordingEvent:
    """Something happened to the recording of one or, with a reconnect window, several streams of one channel.

    Attributes:
        stream_id: The stream at that moment; at the end the last one.
        session_id: AWS's id of the recording; null if the event lacks it, and then it tells of no recording.
        stream_ids: All streams that the event names, oldest first.
        prefix: Where its objects are in the bucket; null when nothing was recorded.
        duration_ms: How much was recorded, 0 until the end.
    """

    envelope: Envelope
    body: dict[str, Any]
    channel_arn: str
    stream_id: str
    status: RecordingStatus
    session_id: str | None
    stream_ids: tuple[str, ...]
    reason: str | None
    bucket: str | None
    prefix: str | None
    duration_ms: int

    @property
    def at(self) -> datetime:
        """When it happened, to the second."""
        return self.envelope.time


@dataclass(frozen=True, slots=True)
class LimitEvent:
    """A limit of Amazon's was exceeded: by the ingest of one channel or, without an ARN, by the whole account."""

    envelope: Envelope
    body: dict[str, Any]
    channel_arn: str | None
    stream_id: str | None
    limit: str


@dataclass(frozen=True, slots=True)
class StageEvent:
    """Something happened to one participant of one session of one stage. `body` is the envelope as it came.

    `at` is when it happened, as finely as the event tells; `user_id` is what the participant's token said.
    """

    envelope: Envelope
    body: dict[str, Any]
    stage_arn: str
    session_id: str
    participant_id: str
    user_id: str | None
    name: StageEventName
    at: datetime
    error_code: str | None


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event of a kind that nothing here depends on: journalled, acknowledged, counted."""

    envelope: Envelope
    body: dict[str, Any]


Event = StreamEvent | RecordingEvent | LimitEvent | StageEvent | OtherEvent

_STAGE_DETAIL_TYPE = "IVS Stage Update"
_MAX_ID = 128
# What ends in an index of PostgreSQL must fit one: Amazon's ARNs and stream ids have at most 128 characters.
_MAX_NAME = 512
_MAX_TEXT = 1024
# AWS merges at most 20 streams into one recording.
_MAX_STREAMS = 100
_MAX_DURATION_MS = 2**31 - 1
# Amazon's own events have three levels. Beyond some hundred, encoders give up; PostgreSQL's parser too.
_MAX_DEPTH = 32
# The escape, but not the six characters of it after an escaped backslash.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def parse(body: bytes | str) -> Event:
    """Return the typed event of one EventBridge envelope in JSON.

    Raises:
        EventMalformed: Not JSON, not an envelope, or without the fields that its detail-type always has.
    """
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        envelope = msgspec.convert(raw, Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventMalformed(f"not an EventBridge envelope: {error}") from error
    text = body if isinstance(body, str) else body.decode()
    if "u0000" in text and _NUL.search(text):
        raise EventMalformed("text with a NUL character, which PostgreSQL cannot keep")
    if _deeper(raw, _MAX_DEPTH):
        raise EventMalformed(f"nested more than {_MAX_DEPTH} levels deep")
    if not envelope.id or len(envelope.id) > _MAX_ID:
        raise EventMalformed(f"the envelope's id must have 1 to {_MAX_ID} characters")
    if len(envelope.resource or "") > _MAX_NAME:
        raise EventMalformed(f"the first of resources must have at most {_MAX_NAME} characters")
    envelope = msgspec.structs.replace(envelope, time=_utc(envelope.time))
    read = _READERS.get(envelope.detail_type) if envelope.source == "aws.ivs" else None
    event = read(envelope, raw) if read else None
    return event or OtherEvent(envelope, raw)


def _stream_event(envelope: Envelope, raw: dict[str, Any]) -> Event | None:
    try:
        name = StreamEventName(envelope.detail.get("event_name", ""))
    except ValueError:
        # AWS adds event names; a new one must not poison the queue.
        return None
    return StreamEvent(
        envelope,
        raw,
        channel_arn=_resource(envelope),
        stream_id=_text(envelope, "stream_id"),
        name=name,
        code=_optional(envelope, "code"),
        reason=_optional(envelope, "reason"),
    )


def _recording_event(envelope: Envelope, raw: dict[str, Any]) -> Event | None:
    try:
        status = RecordingStatus(envelope.detail.get("recording_status", ""))
    except ValueError:
        return None
    stream_id = _text(envelope, "stream_id")
    return RecordingEvent(
        envelope,
        raw,
        channel_arn=_resource(envelope),
        stream_id=stream_id,
        status=status,
        session_id=_name(envelope.detail.get("recording_session_id")),
        stream_ids=_stream_ids(envelope, stream_id),
        reason=_optional(envelope, "recording_status_reason"),
        bucket=_name(envelope.detail.get("recording_s3_bucket_name")),
        prefix=_prefix(envelope.detail.get("recording_s3_key_prefix")),
        duration_ms=_duration(envelope.detail.get("recording_duration_ms")),
    )


def _limit_event(envelope: Envelope, raw: dict[str, Any]) -> Event | None:
    limit = _name(envelope.detail.get("limit_name"))
    if limit is None:
        return None
    return LimitEvent(envelope, raw, envelope.resource, _name(envelope.detail.get("stream_id")), limit)


def _stage_event(envelope: Envelope, raw: dict[str, Any]) -> Event | None:
    try:
        name = StageEventName(envelope.detail.get("event_name", ""))
    except ValueError:
        return None
    return StageEvent(
        envelope,
        raw,
        stage_arn=_resource(envelope),
        session_id=_text(envelope, "session_id", most=_MAX_ID),
        participant_id=_text(envelope, "participant_id", most=_MAX_ID),
        user_id=_optional(envelope, "user_id"),
        name=name,
        at=_moment(envelope, "event_time_precise") or _moment(envelope, "event_time") or envelope.time,
        error_code=_optional(envelope, "error_code"),
    )


def _moment(envelope: Envelope, name: str) -> datetime | None:
    """Return a time of the detail; null if it is absent, as in older deliveries, or not readable."""
    try:
        return _utc(msgspec.convert(envelope.detail.get(name), datetime))
    except (msgspec.ValidationError, EventMalformed):
        return None


_READERS: Final[Mapping[str, Callable[[Envelope, dict[str, Any]], Event | None]]] = {
    "IVS Stream State Change": _stream_event,
    "IVS Stream Health Change": _stream_event,
    "IVS Recording State Change": _recording_event,
    "IVS Limit Breach": _limit_event,
    _STAGE_DETAIL_TYPE: _stage_event,
}


def _utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise EventMalformed(f"the time {time.isoformat()} lies outside the calendar") from error


def _deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        containers = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [child for container in containers for child in container]
        if not level:
            return False
    return True


def _resource(envelope: Envelope) -> str:
    if envelope.resource is None:
        owner = "stage" if envelope.detail_type == _STAGE_DETAIL_TYPE else "channel"
        raise EventMalformed(f"{envelope.detail_type!r} without the {owner}'s ARN in resources")
    return envelope.resource


def _text(envelope: Envelope, name: str, *, most: int = _MAX_NAME) -> str:
    value = envelope.detail.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise EventMalformed(f"{envelope.detail_type!r} with detail.{name} = {value!r:.80}")
    return value.strip()


def _optional(envelope: Envelope, name: str) -> str | None:
    value = envelope.detail.get(name)
    return value[:_MAX_TEXT] if isinstance(value, str) and value else None


def _name(value: Any) -> str | None:
    """Return a text that may be absent, and that an index can hold."""
    return value.strip() or None if isinstance(value, str) and len(value) <= _MAX_NAME else None


def _prefix(value: Any) -> str | None:
    name = _name(value)
    return name.strip("/") or None if name else None


def _stream_ids(envelope: Envelope, stream_id: str) -> tuple[str, ...]:
    listed = envelope.detail.get("recording_session_stream_ids")
    names = [_name(one) for one in listed[:_MAX_STREAMS]] if isinstance(listed, list) else []
    return tuple(dict.fromkeys([*(name for name in names if name), stream_id]))


def _duration(value: Any) -> int:
    return min(max(int(value), 0), _MAX_DURATION_MS) if isinstance(value, int | float) else 0
