"""What players tell of themselves: checked, then handed to the intake."""

import ipaddress
import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from resolvers import texts
from resolvers.context import Context
from resolvers.errors import (
    NotLive,
    NumberInvalid,
    Overloaded,
    Problem,
    Refused,
    TooManyAttempts,
    ViewerTokenInvalid,
    bad_input,
)
from subscriptions import metrics
from subscriptions.heartbeats import Beat, Submission

MOST: Final = 20
LONGEST_USER_AGENT: Final = 512

# Characters of each text, and the greatest value of each number.
TEXTS: Final[Mapping[str, int]] = {
    "browser_name": 50,
    "browser_version": 50,
    "os": 50,
    "time_zone": 64,
    "available_resolution": 32,
    "current_resolution": 32,
    "quality": 32,
    "codecs": 100,
}
NUMBERS: Final[Mapping[str, float]] = {
    "bitrate": 1_000_000_000,
    "framerate": 1000,
    "latency_seconds": 3600,
    "buffer_seconds": 3600,
}


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat as its player sent it; `readings` by column, null or absent where it says nothing."""

    id: str
    sent_at: datetime | None
    readings: Mapping[str, Any]


async def publish(ctx: Context, viewer_token: str, heartbeats: Sequence[Heartbeat]) -> int:
    """Store heartbeats, all or none; return how many are there now, of this request or of the same one before.

    Raises:
        Refused: ViewerTokenInvalid, NumberInvalid, TextInvalid, NotLive, TooManyAttempts or Overloaded.
        RequestError: BAD_INPUT for none or too many heartbeats, or for an id that is no UUID.
    """
    if not 1 <= len(heartbeats) <= MOST:
        raise bad_input(f"`heartbeats` has {len(heartbeats)} items; it must have 1 to {MOST}.")
    ids = [_client_id(index, heartbeat) for index, heartbeat in enumerate(heartbeats)]
    viewing = ctx.services.viewer_tokens.read(viewer_token)
    problems: list[Problem] = []
    if viewing is None:
        problems.append(
            ViewerTokenInvalid(
                message="The viewer token is not valid, or not any more; start playback again.",
                path=["input", "viewerToken"],
            )
        )
    for index, heartbeat in enumerate(heartbeats):
        problems.extend(_faults(heartbeat.readings, index))
    if viewing is None or problems:
        raise Refused(*problems)
    now = datetime.now(UTC)
    user_agent = _user_agent(ctx.user_agent)
    software = ctx.services.user_agents.read(user_agent or "")
    beats = [
        Beat(client_id, heartbeat.sent_at or now, software.complete(heartbeat.readings))
        for client_id, heartbeat in zip(ids, heartbeats, strict=True)
    ]
    origin = {"ip": kept_address(ctx.address, ctx.services.playback.address), "user_agent": user_agent}
    submission = Submission(viewing.id, viewing.started_at, viewing.channel_id, beats, origin)
    try:
        outcome = await ctx.services.intake.submit(submission)
    except metrics.Overloaded as error:
        message = f"The server cannot take more right now; try again in {error.retry_after} seconds."
        raise Refused(Overloaded(message=message, retry_after_seconds=error.retry_after)) from error
    if outcome.wait > 0:
        seconds = math.ceil(outcome.wait)
        message = f"The heartbeat comes too early; send it again in {seconds} seconds."
        raise Refused(TooManyAttempts(message=message, retry_after_seconds=seconds))
    if outcome.homeless:
        raise Refused(*(_homeless(index) for index in outcome.homeless))
    return outcome.stored + outcome.doubled


def kept_address(address: str, how: Literal["full", "truncated", "none"]) -> str | None:
    """Return what is kept of a viewer's address: all, its network of 256 (IPv6: its /48), or nothing."""
    try:
        one, two, three, four = socket.inet_pton(socket.AF_INET, address)
    except OSError:
        return _kept_address(address, how)
    return {"full": f"{one}.{two}.{three}.{four}", "truncated": f"{one}.{two}.{three}.0/24", "none": None}[how]


def _kept_address(address: str, how: Literal["full", "truncated", "none"]) -> str | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if how == "none":
        return None
    if parsed.version == 6 and parsed.ipv4_mapped is not None:  # noqa: PLR2004 - the version's number is its name
        parsed = parsed.ipv4_mapped
    if how == "full":
        return str(parsed)
    if isinstance(parsed, ipaddress.IPv4Address):
        return f"{str(parsed).rpartition('.')[0]}.0/24"
    return str(ipaddress.ip_network((parsed, 48), strict=False))


def _user_agent(sent: str | None) -> str | None:
    """Return the header as it can be kept: it is the browser's, nobody could correct it."""
    return sent.replace("\0", "")[:LONGEST_USER_AGENT] if sent else None


def _client_id(index: int, heartbeat: Heartbeat) -> UUID:
    try:
        return UUID(heartbeat.id)
    except ValueError as error:
        raise bad_input(f"`input.heartbeats[{index}].id` must be a UUID, new for each heartbeat.") from error


def _faults(readings: Mapping[str, Any], index: int) -> list[Problem]:
    faults: list[Problem] = []
    for column, value in readings.items():
        if value is None:
            continue
        if (most := TEXTS.get(column)) is not None:
            if texts.fault(value, "The text", least=1, most=most) is not None:
                faults += texts.problems(value, "The text", _place(index, column), least=1, most=most)
        elif (greatest := NUMBERS.get(column)) is not None and not 0 <= value <= greatest:
            # NaN is within no bounds.
            message = f"The number must be from 0 to {greatest:,}."
            faults.append(NumberInvalid(message=message, path=_place(index, column)))
    return faults


def _place(index: int, column: str) -> list[str]:
    return ["input", "heartbeats", str(index), _camel(column)]


def _homeless(index: int) -> Problem:
    return NotLive(
        message="The channel had no stream then, or one that has been over for too long.",
        path=["input", "heartbeats", str(index)],
    )


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
