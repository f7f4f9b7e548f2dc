"""Heartbeats of players, as their owner sees them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from resolvers import metrics
from schema import fields
from schema.base import Node, row_type

if TYPE_CHECKING:
    from schema.stream import Stream


@row_type(
    models.Metric,
    description="One heartbeat of one viewer's player. Null is whatever neither the player told nor, of browser and "
    "system, its user agent.",
)
class Metric(Node):
    """A heartbeat. Only lists and lookups of the channel's owner have any, so nothing here is restricted again."""

    stream: Annotated["Stream", strawberry.lazy("schema.stream")] | None = fields.row(
        metrics.STREAM, description="Stream that was watched."
    )
    sent_at: datetime = strawberry.field(description="When it was sent, by the player's clock, within the stream.")
    created_at: datetime = strawberry.field(description="When it came in.")
    ip: str | None = strawberry.field(
        description="Address of the viewer, or only its network, or null, as the operators have set."
    )
    user_agent: str | None = strawberry.field(description="User agent of the request.")
    browser_name: str | None = strawberry.field(description="Name of the browser or application.")
    browser_version: str | None = strawberry.field(description="Version of the browser or application.")
    os: str | None = strawberry.field(description="Operating system.")
    is_mobile: bool | None = strawberry.field(description="Whether the device is a mobile one.")
    time_zone: str | None = strawberry.field(description="Time zone, as in Europe/Berlin.")
    available_resolution: str | None = strawberry.field(description="Size of the screen, as in 1920x1080.")
    current_resolution: str | None = strawberry.field(description="Size of the picture, as in 1280x720.")
    quality: str | None = strawberry.field(description="Name of the rendition, as in 720p60.")
    codecs: str | None = strawberry.field(description="Codecs of the rendition.")
    bitrate: int | None = strawberry.field(description="Bit rate of the rendition, in bit/s.")
    framerate: float | None = strawberry.field(description="Frames per second.")
    latency_seconds: float | None = strawberry.field(description="Seconds from the camera to the viewer.")
    buffer_seconds: float | None = strawberry.field(description="Seconds of video in the player's buffer.")
