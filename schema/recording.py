"""Recordings."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from resolvers import recordings
from schema import fields
from schema.base import Node, row_type, viewed
from schema.enums import RecordingState

if TYPE_CHECKING:
    from schema.channel import Channel
    from schema.stream import Stream


@row_type(models.Recording, description="What was recorded of one stream, or of several that followed each other soon.")
class Recording(Node):
    """A recording."""

    channel: Annotated["Channel", strawberry.lazy("schema.channel")] | None = fields.row(
        recordings.CHANNEL, description="Channel of which it is."
    )
    streams: list[Annotated["Stream", strawberry.lazy("schema.stream")]] = fields.rows(
        recordings.STREAMS,
        most=recordings.MOST_STREAMS,
        description="Streams that are in it, oldest first; Amazon puts at most 20 into one.",
    )
    state: RecordingState = strawberry.field(description="How far the recording is.")
    playback_url: str | None = viewed(
        recordings.playback_url,
        public=True,
        description="HLS address (.m3u8) of the recording; null unless READY, and for some seconds after that.",
    )
    thumbnail_url: str | None = viewed(
        recordings.thumbnail_url,
        public=True,
        description="Address of a picture of it; null like `playbackUrl`, and if there is none.",
    )
    duration_ms: int | None = strawberry.field(description="Milliseconds that were recorded; null until it is over.")
    started_at: datetime | None = strawberry.field(description="When the recording began; null if nobody told.")
    ended_at: datetime | None = strawberry.field(
        description="When the recording was over, a while after its last stream; null until then."
    )
