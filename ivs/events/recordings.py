"""Events about the recordings of a channel's streams."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ivs.events.envelope import Envelope, name_of, prefix

# AWS merges at most 20 streams into one recording.
_MAX_STREAMS: Final = 100


class RecordingStatus(enum.StrEnum):
    """`detail.recording_status`: recordings have no event_name."""

    START = "Recording Start"
    END = "Recording End"
    START_FAILURE = "Recording Start Failure"
    END_FAILURE = "Recording End Failure"


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


def recording_event(envelope: Envelope, raw: dict[str, Any]) -> RecordingEvent | None:
    """Return the event; null if it has a status that we do not know."""
    status = envelope.word("recording_status", RecordingStatus)
    if status is None:
        return None
    stream_id = envelope.text("stream_id")
    return RecordingEvent(
        envelope,
        raw,
        channel_arn=envelope.owner("channel"),
        stream_id=stream_id,
        status=status,
        session_id=name_of(envelope.detail.get("recording_session_id")),
        stream_ids=_stream_ids(envelope, stream_id),
        reason=envelope.optional("recording_status_reason"),
        bucket=name_of(envelope.detail.get("recording_s3_bucket_name")),
        prefix=prefix(envelope.detail.get("recording_s3_key_prefix")),
        duration_ms=envelope.duration_ms("recording_duration_ms"),
    )


def _stream_ids(envelope: Envelope, stream_id: str) -> tuple[str, ...]:
    listed = envelope.detail.get("recording_session_stream_ids")
    names = [name_of(one) for one in listed[:_MAX_STREAMS]] if isinstance(listed, list) else []
    return tuple(dict.fromkeys([*(name for name in names if name), stream_id]))
