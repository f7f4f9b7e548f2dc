"""Analytics of a stream."""

from datetime import datetime

import strawberry

from resolvers.analytics import MOST_SHARES, Share
from resolvers.buckets import SHORTEST_BUCKET
from schema.base import value


@strawberry.type(description="Value of a series in one bucket of time.")
class TimePoint:
    starts_at: datetime = strawberry.field(description="Where the bucket begins, a whole minute of UTC.")
    value: float = strawberry.field(description="Value in the bucket; 0 if nobody watched, wrote, or told it.")


def _fraction(share: Share) -> float:
    return share.viewers / share.total


@strawberry.type(name="Share", description="Part of the viewers with one value. Who changed counts for each value.")
class ViewerShare:
    """What of the viewers a value has."""

    name: str = strawberry.field(description="The value, as the players, or their user agents, told it.")
    viewers: int = strawberry.field(description="Distinct viewers that had it.")
    fraction: float = value(_fraction, description="These of all viewers, told or not, from 0 to 1.")


_SHARES = f"at most {MOST_SHARES}, greatest first"


@strawberry.type(
    description="What heartbeats and chat say of a range of a stream. A viewer is one player from `playbackStart` on; "
    "an average is over heartbeats, so that who watched longer counts for more."
)
class StreamAnalytics:
    bucket_seconds: int = strawberry.field(
        description=f"Length of a bucket, {SHORTEST_BUCKET} seconds or a multiple of it."
    )
    viewers: list[TimePoint] = strawberry.field(description="Distinct viewers in each bucket.")
    chat_messages: list[TimePoint] = strawberry.field(description="Chat messages sent in each bucket.")
    latency_seconds: list[TimePoint] = strawberry.field(description="Average seconds from the camera to the viewer.")
    buffer_seconds: list[TimePoint] = strawberry.field(description="Average seconds of video in the buffer.")
    bitrate: list[TimePoint] = strawberry.field(description="Average bit rate, in bit/s.")
    framerate: list[TimePoint] = strawberry.field(description="Average frames per second.")
    browsers: list[ViewerShare] = strawberry.field(description=f"Viewers by browser, {_SHARES}.")
    operating_systems: list[ViewerShare] = strawberry.field(description=f"Viewers by operating system, {_SHARES}.")
    qualities: list[ViewerShare] = strawberry.field(description=f"Viewers by rendition, {_SHARES}.")
    peak_viewers: int = strawberry.field(
        description="Greatest number of viewers at once, each present for the time after a heartbeat in which it "
        "counts as current."
    )
    unique_viewers: int = strawberry.field(description="Distinct viewers in the whole range.")
    watch_time_seconds: int = strawberry.field(
        description="Seconds watched by all viewers together: each heartbeat stands for the time until the viewer's "
        "next, at most the heartbeat interval, and for none after the stream's end."
    )
