"""What players tell of themselves."""

import dataclasses
from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import UNSET

from resolvers import heartbeats
from resolvers.errors import Refused
from resolvers.heartbeats import MOST, NUMBERS, TEXTS, Heartbeat
from schema.base import Info, secret
from schema.errors import (
    NotLive,
    NumberInvalid,
    Overloaded,
    TextInvalid,
    TooManyAttempts,
    ViewerTokenInvalid,
    members,
)

MetricsPublishError = Annotated[
    ViewerTokenInvalid | NumberInvalid | TextInvalid | NotLive | TooManyAttempts | Overloaded,
    strawberry.union("MetricsPublishError", description="Why heartbeats were refused."),
]


def _told(column: str, what: str, otherwise: str = "") -> Any:
    limit = f"at most {TEXTS[column]} characters" if column in TEXTS else f"0 to {NUMBERS[column]:,}"
    return strawberry.field(default=UNSET, description=f"{what}; {limit}.{otherwise}")


_READ = " Read from the request's user agent if null or absent."


@strawberry.input(description="State of a player at a moment. What is absent or null is not known.")
class HeartbeatInput:
    id: str = strawberry.field(
        description="UUID that the player makes anew for each heartbeat; what is sent twice counts once."
    )
    sent_at: datetime | None = strawberry.field(
        default=UNSET,
        description="When the player was in this state, by its clock; moved to within the viewing and the stream. Now "
        "if absent, as is best unless the heartbeat was kept: the viewer is present for some time after it.",
    )
    browser_name: str | None = _told("browser_name", "Name of the browser or application", _READ)
    browser_version: str | None = _told(
        "browser_version", "Version of the browser or application", " Read from the user agent if the name is."
    )
    os: str | None = _told("os", "Operating system", _READ)
    is_mobile: bool | None = strawberry.field(default=UNSET, description="Whether the device is a mobile one.")
    time_zone: str | None = _told("time_zone", "Time zone, as in Europe/Berlin")
    available_resolution: str | None = _told("available_resolution", "Size of the screen, as in 1920x1080")
    current_resolution: str | None = _told("current_resolution", "Size of the picture, as in 1280x720")
    quality: str | None = _told("quality", "Name of the rendition, as in 720p60")
    codecs: str | None = _told("codecs", "Codecs of the rendition")
    bitrate: int | None = _told("bitrate", "Bit rate of the rendition, in bit/s")
    framerate: float | None = _told("framerate", "Frames per second")
    latency_seconds: float | None = _told("latency_seconds", "Seconds from the camera to the viewer")
    buffer_seconds: float | None = _told("buffer_seconds", "Seconds of video in the player's buffer")


@strawberry.input(description="Heartbeats of one player.")
class MetricsPublishInput:
    viewer_token: str = secret(description="Token of `playbackStart`.")
    heartbeats: list[HeartbeatInput] = strawberry.field(
        description=f"1 to {MOST} heartbeats: usually one, more after a time without network."
    )


@strawberry.type(description="Outcome of heartbeats: all are stored for good, or none and errors.")
class MetricsPublishPayload:
    accepted: int | None = strawberry.field(
        default=None,
        description="Heartbeats that are stored, by this request or by the same one before; null if there are errors.",
    )
    errors: list[MetricsPublishError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Mutations of metrics.")
class MetricsMutations:
    """Mutations of metrics."""

    @strawberry.mutation(
        description="Store heartbeats of a player, as it sends them once per heartbeat interval. Answers when they are "
        "stored for good; the same request can be sent again without counting twice."
    )
    async def metrics_publish(
        self, info: Info, input: Annotated[MetricsPublishInput, strawberry.argument(description="What to store.")]
    ) -> MetricsPublishPayload:
        beats = [_heartbeat(beat) for beat in input.heartbeats]
        try:
            accepted = await heartbeats.publish(info.context, input.viewer_token, beats)
        except Refused as refused:
            return MetricsPublishPayload(errors=members(refused))
        return MetricsPublishPayload(accepted=accepted)


_READINGS = tuple(field.name for field in dataclasses.fields(HeartbeatInput) if field.name not in ("id", "sent_at"))


def _heartbeat(sent: HeartbeatInput) -> Heartbeat:
    readings = {name: value for name in _READINGS if (value := getattr(sent, name)) is not UNSET}
    return Heartbeat(sent.id, None if sent.sent_at is UNSET else sent.sent_at, readings)
