"""Who is on the stages, asked and not told, and the events that would have told it.

Every function raises what `Aws.call` raises. Source: IVS Real-Time Streaming API Reference. Amazon's list of the
participants of a session tells who has *ever* published; who publishes now, and since when, only their events tell.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, StageEventName, parse

_PAGE: Final = 100
_UNKNOWN: Final = frozenset({"ResourceNotFoundException", "ParamValidation", "ValidationException"})
_STOPS: Final = frozenset({"PUBLISH_STOPPED", "LEFT"})


async def active(aws: Aws) -> dict[str, str]:
    """Return the id of the session that goes on, by the ARN of its stage; of idle stages nothing."""
    stages = aws.pages("ivs-realtime", "list_stages", "stages", maxResults=_PAGE)
    return {stage["arn"]: stage["activeSessionId"] async for stage in stages if stage.get("activeSessionId")}


@dataclass(frozen=True, slots=True)
class Publisher:
    """Somebody who has published in a session at least once, and is or is not still there."""

    participant_id: str
    user_id: str | None
    is_connected: bool


async def publishers(aws: Aws, stage_arn: str, session_id: str) -> list[Publisher]:
    """Return all who have published in a session: not its viewers, of whom there may be ten thousand."""
    of_session = {"stageArn": stage_arn, "sessionId": session_id, "filterByPublished": True}
    pages = aws.pages("ivs-realtime", "list_participants", "participants", **of_session, maxResults=_PAGE)
    return [
        Publisher(one["participantId"], one.get("userId") or None, one.get("state") == "CONNECTED")
        async for one in pages
        if one.get("participantId")
    ]


@dataclass(frozen=True, slots=True)
class Publishing:
    """When a participant last began to publish and stopped; null where nothing is known, or nothing has stopped."""

    started_at: datetime | None = None
    stopped_at: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether Amazon knows of any publishing."""
        return self.started_at is not None or self.stopped_at is not None

    @property
    def goes_on(self) -> bool:
        """Whether the participant publishes now."""
        return self.started_at is not None and self.stopped_at is None


async def publishing(aws: Aws, stage_arn: str, session_id: str, participant_id: str) -> Publishing:
    """Return what a participant's events say; nothing of ids that Amazon cannot have given."""
    of_whom = {"stageArn": stage_arn, "sessionId": session_id, "participantId": participant_id}
    pages = aws.pages("ivs-realtime", "list_participant_events", "events", **of_whom, maxResults=_PAGE)
    try:
        events = [(one["eventTime"].astimezone(UTC), str(one.get("name"))) async for one in pages if "eventTime" in one]
    except AwsError as error:
        if error.code in _UNKNOWN:
            return Publishing()
        raise
    # The newest come first, and whole seconds tie: then the order of the list decides.
    events.reverse()
    events.sort(key=lambda event: event[0])
    return _replayed(events)


def _replayed(events: Iterable[tuple[datetime, str]]) -> Publishing:
    started_at = stopped_at = None
    for at, name in events:
        if name == "PUBLISH_STARTED":
            started_at, stopped_at = at, None
        elif name in _STOPS and stopped_at is None:
            # Who leaves has stopped before, or stops so.
            stopped_at = at
    return Publishing(started_at, stopped_at)


@dataclass(frozen=True, slots=True)
class Session:
    """What Amazon keeps of a session. `ended_at` is null while it goes on; all is, if nothing is kept."""

    is_known: bool
    ended_at: datetime | None = None


async def session(aws: Aws, stage_arn: str, session_id: str) -> Session:
    """Return what Amazon keeps of a session; nothing of an id that it cannot have given."""
    try:
        answer = await aws.call("ivs-realtime", "get_stage_session", stageArn=stage_arn, sessionId=session_id)
    except AwsError as error:
        if error.code in _UNKNOWN:
            return Session(is_known=False)
        raise
    ended_at = answer["stageSession"].get("endTime")
    return Session(is_known=True, ended_at=ended_at and ended_at.astimezone(UTC))


def event(
    stage_arn: str, session_id: str, participant_id: str, name: StageEventName, at: datetime, user_id: str | None
) -> Event:
    """Return the event that Amazon would have sent, with an id of ours: the same for the same participant and time."""
    _, _, _, region, account, _ = stage_arn.split(":", 5)
    moment, verb = at.astimezone(UTC), name.rpartition(" ")[2].lower()
    body: dict[str, Any] = {
        "version": "0",
        "id": f"reconciled:{session_id}:{participant_id}:{verb}:{moment:%Y%m%dT%H%M%S%fZ}",
        "detail-type": "IVS Stage Update",
        "source": "aws.ivs",
        "account": account,
        "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [stage_arn],
        "detail": {
            "session_id": session_id,
            "event_name": name.value,
            "event_time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "event_time_precise": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}",
            "participant_id": participant_id,
            **({"user_id": user_id} if user_id else {}),
        },
    }
    return parse(msgspec.json.encode(body))
