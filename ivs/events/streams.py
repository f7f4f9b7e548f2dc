"""Events about one stream of a channel: its state and health, breaks for advertisements, limits of its ingest."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ivs.events.envelope import Envelope, name_of


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


_AD_BREAK_INSERTED: Final = "Ad Break Inserted"


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
class AdBreakEvent:
    """A break for advertisements was put into one stream of one channel."""

    envelope: Envelope
    body: dict[str, Any]
    channel_arn: str
    stream_id: str


@dataclass(frozen=True, slots=True)
class LimitEvent:
    """A limit of Amazon's was exceeded: by the ingest of one channel or, without an ARN, by the whole account."""

    envelope: Envelope
    body: dict[str, Any]
    channel_arn: str | None
    stream_id: str | None
    limit: str


def stream_event(envelope: Envelope, raw: dict[str, Any]) -> StreamEvent | None:
    """Return the event; null if it has a name that we do not know."""
    name = envelope.word("event_name", StreamEventName)
    if name is None:
        return None
    return StreamEvent(
        envelope,
        raw,
        channel_arn=envelope.owner("channel"),
        stream_id=envelope.text("stream_id"),
        name=name,
        code=envelope.optional("code"),
        reason=envelope.optional("reason"),
    )


def ad_break_event(envelope: Envelope, raw: dict[str, Any]) -> AdBreakEvent | None:
    """Return the event; null if it has a name that we do not know."""
    if envelope.detail.get("event_name") != _AD_BREAK_INSERTED:
        return None
    return AdBreakEvent(envelope, raw, envelope.owner("channel"), envelope.text("stream_id"))


def limit_event(envelope: Envelope, raw: dict[str, Any]) -> LimitEvent | None:
    """Return the event; null if it names no limit."""
    limit = name_of(envelope.detail.get("limit_name"))
    if limit is None:
        return None
    return LimitEvent(envelope, raw, envelope.resource, name_of(envelope.detail.get("stream_id")), limit)
