"""Events about stages: who publishes, what is copied to other stages, recorded or composed there."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ivs.events.envelope import MAX_ID, Envelope


class StageEventName(enum.StrEnum):
    """`detail.event_name` of stage updates that say who publishes on the stage."""

    PUBLISHED = "Participant Published"
    UNPUBLISHED = "Participant Unpublished"
    PUBLISH_ERROR = "Participant Publish Error"


class ParticipantUpdateName(enum.StrEnum):
    """`detail.event_name` of stage updates that change nothing about who publishes on the stage.

    Who is copied to another stage goes on as before; the copy publishes there like everybody else.
    """

    REPLICATION_START = "Participant Replication Start"
    REPLICATION_END = "Participant Replication End"
    TOKEN_EXCHANGED = "Token Exchanged"  # noqa: S105 - no password


class ParticipantRecordingName(enum.StrEnum):
    """`detail.event_name` of participants' recordings."""

    START = "Recording Start"
    END = "Recording End"
    START_FAILURE = "Recording Start Failure"
    END_FAILURE = "Recording End Failure"


class CompositionEventName(enum.StrEnum):
    """`detail.event_name` of composition state changes, of the whole or of one of its destinations."""

    SESSION_START = "Session Start"
    SESSION_END = "Session End"
    SESSION_FAILURE = "Session Failure"
    DESTINATION_START = "Destination Start"
    DESTINATION_END = "Destination End"
    DESTINATION_RECONNECTING = "Destination Reconnecting"
    DESTINATION_FAILURE = "Destination Failure"


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
class ParticipantEvent:
    """A participant of a stage was recorded or copied to another stage, or uses another token. Nothing depends on it.

    `error_code` is Amazon's reason for a failure.
    """

    envelope: Envelope
    body: dict[str, Any]
    stage_arn: str
    session_id: str
    participant_id: str
    name: ParticipantUpdateName | ParticipantRecordingName
    error_code: str | None


@dataclass(frozen=True, slots=True)
class CompositionEvent:
    """Something happened to a composition of a stage, or to one of its destinations. Nothing depends on it.

    `destination_id` is null where the event is about the whole, `error_code` Amazon's reason for a failure.
    """

    envelope: Envelope
    body: dict[str, Any]
    composition_arn: str
    stage_arn: str
    name: CompositionEventName
    destination_id: str | None
    error_code: str | None


def stage_event(envelope: Envelope, raw: dict[str, Any]) -> StageEvent | ParticipantEvent | None:
    """Return the event; null if it has a name that we do not know."""
    name = envelope.word("event_name", StageEventName)
    if name is None:
        return _participant_event(envelope, raw, envelope.word("event_name", ParticipantUpdateName))
    return StageEvent(
        envelope,
        raw,
        stage_arn=envelope.owner("stage"),
        session_id=envelope.text("session_id", most=MAX_ID),
        participant_id=envelope.text("participant_id", most=MAX_ID),
        user_id=envelope.optional("user_id"),
        name=name,
        at=envelope.moment("event_time_precise") or envelope.moment("event_time") or envelope.time,
        error_code=envelope.optional("error_code"),
    )


def participant_recording_event(envelope: Envelope, raw: dict[str, Any]) -> ParticipantEvent | None:
    """Return the event; null if it has a name that we do not know."""
    return _participant_event(envelope, raw, envelope.word("event_name", ParticipantRecordingName))


def _participant_event(
    envelope: Envelope, raw: dict[str, Any], name: ParticipantUpdateName | ParticipantRecordingName | None
) -> ParticipantEvent | None:
    if name is None:
        return None
    return ParticipantEvent(
        envelope,
        raw,
        stage_arn=envelope.owner("stage"),
        session_id=envelope.text("session_id", most=MAX_ID),
        participant_id=envelope.text("participant_id", most=MAX_ID),
        name=name,
        error_code=envelope.optional("error_code"),
    )


def composition_event(envelope: Envelope, raw: dict[str, Any]) -> CompositionEvent | None:
    """Return the event; null if it has a name that we do not know."""
    name = envelope.word("event_name", CompositionEventName)
    if name is None:
        return None
    return CompositionEvent(
        envelope,
        raw,
        composition_arn=envelope.owner("composition"),
        stage_arn=envelope.text("stage_arn"),
        name=name,
        # Not the event's own, which is the envelope's.
        destination_id=envelope.optional("id"),
        error_code=envelope.optional("error_code"),
    )
