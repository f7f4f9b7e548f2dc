"""What Amazon IVS says is live, asked and not told, and the events that would have told it.

Every function raises what `Aws.call` raises. Source: IVS Low-Latency Streaming API Reference, ListStreams and
GetStreamSession.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, StreamEventName, parse

_PAGE = 100
# What `viewerCount` says when Amazon's own count took too long.
_NOT_COUNTED = -1
_UNKNOWN = frozenset({"ResourceNotFoundException", "ParamValidation", "ValidationException"})
_HEALTH = frozenset({StreamEventName.STARVATION_START, StreamEventName.STARVATION_END})


@dataclass(frozen=True, slots=True)
class LiveStream:
    """A stream that can be watched. `starving` and `views`, the number of present views, are null if not known."""

    channel_arn: str
    stream_id: str
    started_at: datetime
    starving: bool | None
    views: int | None


async def live_streams(aws: Aws) -> dict[tuple[str, str], LiveStream]:
    """Return all streams of the account that are live, by the ARN of their channel and their id."""
    found: dict[tuple[str, str], LiveStream] = {}
    async for item in aws.pages("ivs", "list_streams", "streams", maxResults=_PAGE):
        if item.get("state") == "LIVE" and item.get("streamId") and item.get("startTime"):
            health = {"STARVING": True, "HEALTHY": False}.get(item.get("health", ""))
            started_at, views = item["startTime"].astimezone(UTC), item.get("viewerCount", _NOT_COUNTED)
            stream = LiveStream(
                item["channelArn"], item["streamId"], started_at, health, None if views == _NOT_COUNTED else views
            )
            found[stream.channel_arn, stream.stream_id] = stream
    return found


@dataclass(frozen=True, slots=True)
class Session:
    """What Amazon keeps of a stream for 60 days; nothing but that it is not known, if nothing is kept.

    `started_at` is null for one that has not started, `ended_at` for one that goes on, and `bucket`, where the stream
    was to be recorded, for one that was not.
    """

    is_known: bool
    started_at: datetime | None = None
    ended_at: datetime | None = None
    bucket: str | None = None


async def session(aws: Aws, channel_arn: str, stream_id: str) -> Session:
    """Return what Amazon keeps of a stream; nothing of an id that it cannot have given."""
    try:
        answer = await aws.call("ivs", "get_stream_session", channelArn=channel_arn, streamId=stream_id)
    except AwsError as error:
        if error.code in _UNKNOWN:
            return Session(is_known=False)
        raise
    told = answer["streamSession"]
    started_at, ended_at = (moment and moment.astimezone(UTC) for moment in map(told.get, ("startTime", "endTime")))
    destination = told.get("recordingConfiguration", {}).get("destinationConfiguration", {})
    bucket = destination.get("s3", {}).get("bucketName")
    return Session(is_known=True, started_at=started_at, ended_at=ended_at, bucket=bucket)


def event(channel_arn: str, stream_id: str, name: StreamEventName, at: datetime) -> Event:
    """Return the event that Amazon would have sent, with an id of ours: the same for the same stream, name and time."""
    detail_type = "IVS Stream Health Change" if name in _HEALTH else "IVS Stream State Change"
    second = at.astimezone(UTC).replace(microsecond=0)
    _, _, _, region, account, _ = channel_arn.split(":", 5)
    body: dict[str, Any] = {
        "version": "0",
        "id": f"reconciled:{stream_id}:{name.replace(' ', '-')}:{second:%Y%m%dT%H%M%SZ}",
        "detail-type": detail_type,
        "source": "aws.ivs",
        "account": account,
        "time": f"{second:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [channel_arn],
        "detail": {"event_name": name.value, "stream_id": stream_id},
    }
    return parse(msgspec.json.encode(body))
