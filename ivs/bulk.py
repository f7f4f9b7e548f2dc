"""The resources of many users at once, on the emulator alone: AWS has nothing like it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp

from ivs.encoder import EncoderError, open_door
from ivs.resources import Owner, Resource, channel_of

# Owners in one request: few enough that others wait for the emulator no longer than a moment.
_BATCH: Final = 250


@dataclass(frozen=True, slots=True)
class OnAir:
    """A stream that is live already."""

    started_at: datetime
    starving: bool
    viewers: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one user shall have; `channel` holds further members of CreateChannel."""

    owner: Owner
    channel: dict[str, str]
    live: OnAir | None


@dataclass(frozen=True, slots=True)
class Holding:
    """What one user has now; `ivs_stream_id` is null if nothing is live."""

    channel: Resource
    room: Resource
    stage: Resource
    ivs_stream_id: str | None


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
    asked: dict[str, Any] = {"name": one.owner.resource_name, "tags": one.owner.tags, "channel": one.channel}
    if one.live is not None:
        asked["live"] = {
            "startTime": one.live.started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "health": "STARVING" if one.live.starving else "HEALTHY",
            "viewerCount": one.live.viewers,
        }
    return asked


def _holding(answer: dict[str, Any]) -> Holding:
    return Holding(
        channel_of(answer["channel"], answer["streamKey"]),
        Resource(answer["room"]["arn"]),
        Resource(answer["stage"]["arn"]),
        answer["streamId"],
    )
