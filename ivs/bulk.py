"""The resources of many users at once, on the emulator alone: AWS has nothing like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp

from ivs.encoder import EncoderError, open_door
from ivs.resources import Owner, Resource, channel_of
from ivs.stage_tokens import Ticket

# Owners in one request: few enough that others wait for the emulator no longer than a moment.
_BATCH: Final = 250


@dataclass(frozen=True, slots=True)
class OnAir:
    """A stream that is live already."""

    started_at: datetime
    starving: bool
    viewers: int


@dataclass(frozen=True, slots=True)
class Guest:
    """A user who is invited to a stage for so many minutes, and since when on it, null for who has not come."""

    user_id: str
    username: str
    minutes: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one user shall have; `channel` and `room` hold further members of CreateChannel and CreateRoom.

    `on_stage_since` is null for owners whose stages nobody is on.
    """

    owner: Owner
    channel: dict[str, str]
    live: OnAir | None
    guests: Sequence[Guest] = ()
    on_stage_since: datetime | None = None
    room: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holding:
    """What one user has now; `ivs_stream_id` is null if nothing is live.

    `tickets` are those of the guests, in their order; session and host are null if nobody is on the stage.
    """

    channel: Resource
    room: Resource
    stage: Resource
    ivs_stream_id: str | None
    tickets: Sequence[Ticket]
    session_id: str | None
    host_id: str | None


async def create(emulator_url: str, wanted: Sequence[Wanted], *, region: str) -> list[Holding]:
    """Create the resources of all, and return them in the same order.

    Raises:
        EncoderError: The emulator does not answer, or refuses.
    """
    made: list[Holding] = []
    async with open_door(emulator_url) as post:
        for start in range(0, len(wanted), _BATCH):
            owners = [_asked(one) for one in wanted[start : start + _BATCH]]
            try:
                answer = await post("owners", {"region": region, "owners": owners})
            except aiohttp.ClientResponseError as error:
                raise EncoderError(f"The emulator refused to create resources: {error.message}") from error
            made += map(_holding, answer["owners"])
    return made


def _asked(one: Wanted) -> dict[str, Any]:
    asked: dict[str, Any] = {"name": one.owner.resource_name, "tags": one.owner.tags}
    asked |= {"channel": one.channel, "room": one.room}
    asked["tokens"] = [
        {
            **_publisher(guest.user_id, guest.username, guest.since),
            "duration": guest.minutes,
            "capabilities": ["PUBLISH", "SUBSCRIBE"],
        }
        for guest in one.guests
    ]
    if one.on_stage_since is not None:
        asked["onStage"] = _publisher(one.owner.user_id.hex, one.owner.username, one.on_stage_since)
    if one.live is not None:
        asked["live"] = {
            "startTime": _iso(one.live.started_at),
            "health": "STARVING" if one.live.starving else "HEALTHY",
            "viewerCount": one.live.viewers,
        }
    return asked


def _publisher(user_id: str, username: str, since: datetime | None) -> dict[str, Any]:
    return {"userId": user_id, "attributes": {"username": username}, "since": _iso(since) if since else None}


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _ticket(made: dict[str, Any]) -> Ticket:
    return Ticket(made["token"], made["participantId"], datetime.fromisoformat(made["expirationTime"]))


def _holding(answer: dict[str, Any]) -> Holding:
    return Holding(
        channel_of(answer["channel"], answer["streamKey"]),
        Resource(answer["room"]["arn"]),
        Resource(answer["stage"]["arn"]),
        answer["streamId"],
        [_ticket(made) for made in answer["participantTokens"]],
        answer["stage"]["activeSessionId"] or None,
        answer["hostId"],
    )
