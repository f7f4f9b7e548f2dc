"""EventBridge envelopes of Amazon IVS, as typed values. Pure; an unknown kind is a value, only nonsense is an error.

Source: IVS Low-Latency and Real-Time Streaming User Guides, "Using Amazon EventBridge".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ivs.events.envelope import MAX_ID, MAX_NAME, Envelope, EventMalformed, utc
from ivs.events.recordings import RecordingEvent, RecordingStatus, recording_event
from ivs.events.stages import (
    CompositionEvent,
    CompositionEventName,
    ParticipantEvent,
    ParticipantRecordingName,
    ParticipantUpdateName,
    StageEvent,
    StageEventName,
    composition_event,
    participant_recording_event,
    stage_event,
)
from ivs.events.streams import (
    AdBreakEvent,
    LimitEvent,
    StreamEvent,
    StreamEventName,
    ad_break_event,
    limit_event,
    stream_event,
)

__all__ = [
    "AdBreakEvent",
    "CompositionEvent",
    "CompositionEventName",
    "Envelope",
    "Event",
    "EventMalformed",
    "LimitEvent",
    "OtherEvent",
    "ParticipantEvent",
    "ParticipantRecordingName",
    "ParticipantUpdateName",
    "RecordingEvent",
    "RecordingStatus",
    "StageEvent",
    "StageEventName",
    "StreamEvent",
    "StreamEventName",
    "parse",
]


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event of a kind that nothing here depends on: journalled, acknowledged, counted."""

    envelope: Envelope
    body: dict[str, Any]


Event = (
    StreamEvent
    | AdBreakEvent
    | LimitEvent
    | RecordingEvent
    | StageEvent
    | ParticipantEvent
    | CompositionEvent
    | OtherEvent
)

# Amazon's own events have three levels. Beyond some hundred, encoders give up; PostgreSQL's parser too.
_MAX_DEPTH = 32
# The escape, but not the six characters of it after an escaped backslash.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_READERS: Final[Mapping[str, Callable[[Envelope, dict[str, Any]], Event | None]]] = {
    "IVS Stream State Change": stream_event,
    "IVS Stream Health Change": stream_event,
    "IVS Ad Break State Change": ad_break_event,
    "IVS Limit Breach": limit_event,
    "IVS Recording State Change": recording_event,
    "IVS Stage Update": stage_event,
    "IVS Participant Recording State Change": participant_recording_event,
    "IVS Composition State Change": composition_event,
}


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
    if not envelope.id or len(envelope.id) > MAX_ID:
        raise EventMalformed(f"the envelope's id must have 1 to {MAX_ID} characters")
    if len(envelope.resource or "") > MAX_NAME:
        raise EventMalformed(f"the first of resources must have at most {MAX_NAME} characters")
    envelope = msgspec.structs.replace(envelope, time=utc(envelope.time))
    read = _READERS.get(envelope.detail_type) if envelope.source == "aws.ivs" else None
    event = read(envelope, raw) if read else None
    return event or OtherEvent(envelope, raw)


def _deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        containers = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [child for container in containers for child in container]
        if not level:
            return False
    return True
