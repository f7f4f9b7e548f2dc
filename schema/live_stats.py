"""The present audience of a live channel, for its owner."""

from datetime import datetime
from operator import attrgetter

import strawberry

from schema.analytics import ViewerShare
from schema.base import value
from schema.enums import StreamHealth
from schema.stream import Stream

_TOLD = "null if no viewer's player tells"


@strawberry.type(description="Audience of a channel at a moment, from the newest heartbeat of each viewer.")
class LiveStats:
    """Rows of `resolvers.live_stats.Stats`."""

    measured_at: datetime = strawberry.field(description="When it was measured.")
    stream: Stream | None = strawberry.field(description="Stream that is watched; null when offline.")
    health: StreamHealth | None = value(
        lambda stats: stats.stream.health if stats.stream else None,
        description="Whether the encoder's data arrives; null when offline.",
    )
    viewer_count: int = strawberry.field(description="Players that watch right now; 0 when offline.")
    peak_viewer_count: int = strawberry.field(description="Greatest number of players at once so far; 0 when offline.")
    joins: int = strawberry.field(description="Viewers who watch now and did not a minute ago.")
    leaves: int = strawberry.field(description="Viewers who watched a minute ago and do not now.")
    latency_seconds: float | None = strawberry.field(
        description=f"Average seconds from the camera to the viewer; {_TOLD}."
    )
    p95_latency_seconds: float | None = value(
        attrgetter("p95_latency_seconds"),
        description=f"Seconds from the camera that 95 % of the viewers do not exceed; {_TOLD}.",
    )
    buffer_seconds: float | None = strawberry.field(description=f"Average seconds of video in the buffer; {_TOLD}.")
    bitrate: float | None = strawberry.field(description=f"Average bit rate, in bit/s; {_TOLD}.")
    framerate: float | None = strawberry.field(description=f"Average frames per second; {_TOLD}.")
    chat_messages_per_minute: int = strawberry.field(
        description="Chat messages of the last 60 seconds that are kept already; 0 when offline."
    )
    qualities: list[ViewerShare] = strawberry.field(description="Viewers by rendition, greatest first, at most 20.")
