"""Streams."""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry import UNSET
from strawberry.utils.str_converters import to_snake_case

import models
from resolvers import analytics, metrics, policy, recordings, streams
from resolvers.buckets import SHORTEST_BUCKET
from resolvers.cursors import Slice
from resolvers.errors import bad_input
from schema import fields
from schema.analytics import StreamAnalytics
from schema.base import Info, Node, may_see, row_type, selected, typed, value
from schema.category import Category
from schema.chat import ChatMessage
from schema.connection import Connection
from schema.enums import StreamHealth, StreamState
from schema.fields import After, Before, First, Last
from schema.metric import Metric
from schema.recording import Recording
from schema.stream_event import StreamEvent

if TYPE_CHECKING:
    from schema.channel import Channel


def _viewer_count(stream: models.Stream) -> int | None:
    return stream.viewer_count if stream.state is StreamState.LIVE else None


def _concurrent_views(stream: models.Stream) -> int | None:
    return stream.concurrent_views if stream.state is StreamState.LIVE else None


async def _analytics(
    root: Any,
    info: Info,
    from_: Annotated[
        datetime | None,
        strawberry.argument(
            name="from",
            description="Where the first bucket begins, the stream's start if absent; rounded down to a minute.",
        ),
    ] = UNSET,
    to: Annotated[
        datetime | None,
        strawberry.argument(
            description="Where the range ends, rounded up to a minute; the stream's end, or now while it is live, if "
            "absent."
        ),
    ] = UNSET,
    bucket_seconds: Annotated[
        int | None,
        strawberry.argument(
            description=f"Length of a bucket, {SHORTEST_BUCKET} seconds or a multiple of it; if absent, the shortest "
            "with which the range does not have too many."
        ),
    ] = UNSET,
) -> StreamAnalytics | None:
    if not may_see(info, policy.broadcast, root):
        return None
    given: list[Any] = [None if argument is UNSET else argument for argument in (from_, to, bucket_seconds)]
    wanted = {to_snake_case(name) for name in selected(info)}
    found = await analytics.of_stream(info.context, root, *given, wanted=wanted)
    return None if found is None else typed(StreamAnalytics, found)


FromOffset = Annotated[
    int | None,
    strawberry.argument(
        description="Milliseconds from the stream's start, not negative: only messages that were sent then or later."
    ),
]


def _chat_messages(
    from_offset_ms: FromOffset = UNSET,
    first: First = UNSET,
    after: After = UNSET,
    last: Last = UNSET,
    before: Before = UNSET,
) -> Slice:
    if from_offset_ms and from_offset_ms < 0:
        raise bad_input(f"`fromOffsetMs` is {from_offset_ms}; it must not be negative.")
    # What came before the start has offset 0.
    return fields.part(first, after, last, before, from_offset=from_offset_ms or None)


def _of_recording(function: Callable[[Any], Any], *, description: str) -> Any:
    return fields.joined(streams.RECORDING, lambda _stream, recording: function(recording), description=description)


@row_type(models.Stream, description="One broadcast on a channel, from the encoder's connection to its end.")
class Stream(Node):
    """A stream."""

    channel: Annotated["Channel", strawberry.lazy("schema.channel")] | None = fields.row(
        streams.CHANNEL, description="Channel on which it is, or was, seen."
    )
    title: str = strawberry.field(
        description="Title that the channel had when the stream started, or that its owner has given the stream since."
    )
    category: Category | None = fields.row(
        streams.CATEGORY,
        description="Category that the channel had when the stream started, or that its owner has given the "
        "stream since; null if none.",
    )
    state: StreamState = strawberry.field(description="How far the stream is.")
    health: StreamHealth | None = strawberry.field(description="Whether data arrives; null unless LIVE.")
    started_at: datetime | None = strawberry.field(description="When viewers could first watch; null before.")
    ended_at: datetime | None = strawberry.field(description="When viewers could last watch; null until then.")
    viewer_count: int | None = value(
        _viewer_count, description="Players that watch right now, counted as the channel's; null unless LIVE."
    )
    concurrent_views: int | None = value(
        _concurrent_views,
        description="Views that go on right now by Amazon's own count: each tab and each application is one, whether "
        "or not it sends heartbeats. One that begins counts within 15 seconds, one that ends for up to a minute more. "
        "Null while Amazon has not counted, and unless LIVE.",
    )
    peak_viewer_count: int = strawberry.field(description="Greatest number of players that watched at once.")
    metrics: Connection[Metric] | None = fields.page(
        metrics.OF_STREAM,
        allowed=policy.broadcast,
        description="Heartbeats of players, newest first; null for all but the channel's owner.",
    )
    analytics: StreamAnalytics | None = strawberry.field(
        resolver=_analytics,
        metadata={"allowed": policy.broadcast},
        description="What heartbeats and chat say of a range of the stream; null for all but the channel's owner, and "
        "before the stream's start.",
    )
    recording: Recording | None = fields.row(
        streams.RECORDING,
        description="What was recorded of it, perhaps with streams before and after it; null if it is not recorded, "
        "or its recording was deleted.",
    )
    recording_started_at: datetime | None = _of_recording(
        attrgetter("started_at"), description="When its recording began; null without `recording`."
    )
    recording_ended_at: datetime | None = _of_recording(
        attrgetter("ended_at"), description="When its recording was over; null until then."
    )
    recording_duration_ms: int | None = _of_recording(
        attrgetter("duration_ms"), description="Milliseconds of its whole recording; null until that is over."
    )
    recording_path: str | None = _of_recording(
        recordings.path,
        description="Folder of the recording's files below the address of all recordings; null unless it is READY.",
    )
    events: Connection[StreamEvent] | None = fields.page(
        streams.EVENTS,
        allowed=policy.broadcast,
        description="What Amazon told about the stream, oldest first. What got lost and was found by comparing stands "
        "here too, until it arrives after all. Events of streams that are long over are not kept. Null for all but the "
        "channel's owner.",
    )
    chat_messages: Connection[ChatMessage] = fields.page(
        streams.CHAT_MESSAGES,
        arguments=_chat_messages,
        description="What was said in the chat during the stream and not deleted, in the order in which it was sent; "
        "the newest comes some seconds late.",
    )
