"""What an event says about streams, recordings and participants. Pure; `models` makes rows of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ivs.events import (
    AdBreakEvent,
    Event,
    LimitEvent,
    RecordingEvent,
    RecordingStatus,
    StageEvent,
    StageEventName,
    StreamEvent,
    StreamEventName,
)
from models.place import RecordingEvidence
from models.stage import Sighting
from models.stream import Evidence

ChannelEvent = StreamEvent | AdBreakEvent | RecordingEvent | LimitEvent
CHANNEL_EVENTS: Final = (StreamEvent, AdBreakEvent, RecordingEvent, LimitEvent)

# Column of evidence that an event's time feeds. Takeovers change neither start nor end: the original stream goes on.
_STREAM_SIGHTING: Final = {
    StreamEventName.SESSION_CREATED: "session_created_at",
    StreamEventName.STREAM_START: "started_at",
    StreamEventName.STREAM_END: "stream_ended_at",
    StreamEventName.SESSION_ENDED: "session_ended_at",
    StreamEventName.STREAM_FAILURE: "failed_at",
    StreamEventName.STARVATION_START: "starved_at",
    StreamEventName.STARVATION_END: "recovered_at",
}
_RECORDING_SIGHTING: Final = {
    RecordingStatus.START: "started_at",
    RecordingStatus.END: "over_at",
    RecordingStatus.START_FAILURE: "start_failed_at",
    RecordingStatus.END_FAILURE: "end_failed_at",
}
_PARTICIPANT_SIGHTING: Final = {
    StageEventName.PUBLISHED: "published_at",
    StageEventName.UNPUBLISHED: "unpublished_at",
}


def of_streams(event: ChannelEvent) -> Iterator[Evidence]:
    """Yield what the event says about streams; nothing if it says nothing about their state."""
    if isinstance(event, StreamEvent):
        yield from _of_stream(event)
    elif isinstance(event, RecordingEvent):
        over = {"recording_over_at": event.at} if event.status is RecordingStatus.END else {}
        last = len(event.stream_ids) - 1
        for index, stream_id in enumerate(event.stream_ids):
            # Whoever hears of these streams only now still lists them in Amazon's order: oldest first.
            yield Evidence(stream_id, event.at - timedelta(microseconds=last - index), over)


def _of_stream(event: StreamEvent) -> Iterator[Evidence]:
    column = _STREAM_SIGHTING.get(event.name)
    if column is None:
        return
    sightings: dict[str, datetime | str] = {column: event.at}
    if event.name is StreamEventName.SESSION_ENDED and event.code:
        sightings["session_end_code"] = event.code
    if event.name is StreamEventName.STREAM_FAILURE and event.reason:
        sightings["failure_reason"] = event.reason
    yield Evidence(event.stream_id, event.at, sightings)


def of_recordings(event: ChannelEvent) -> Iterator[RecordingEvidence]:
    """Yield what the event says about a recording, if it names one."""
    if not isinstance(event, RecordingEvent) or event.session_id is None:
        return
    sightings: dict[str, Any] = {_RECORDING_SIGHTING[event.status]: event.at}
    if event.bucket and event.prefix:
        sightings |= {"bucket": event.bucket, "prefix": event.prefix}
    if event.status in (RecordingStatus.END, RecordingStatus.END_FAILURE):
        sightings["duration_ms"] = event.duration_ms
    if event.status in (RecordingStatus.START_FAILURE, RecordingStatus.END_FAILURE) and event.reason:
        sightings["failure_reason"] = event.reason
    yield RecordingEvidence(event.session_id, event.stream_ids, sightings)


def of_participants(event: Event) -> Iterator[Sighting]:
    """Yield what the event says about a participant of a stage; nothing if it says nothing of who is on stage."""
    column = _PARTICIPANT_SIGHTING.get(event.name) if isinstance(event, StageEvent) else None
    if isinstance(event, StageEvent) and column is not None:
        yield Sighting(event.session_id, event.participant_id, user_id=_user_id(event.user_id), **{column: event.at})


def _user_id(value: str | None) -> UUID | None:
    """Return the user whom our token named; guests and other applications' participants are nobody here."""
    try:
        return UUID(value) if value else None
    except ValueError:
        return None
