"""Recordings that S3 holds and no event has told of, and the events that would have told of them.

A recording lies below `ivs/v1/<account>/<channel id>/<year>/<month>/<day>/<hours>/<minutes>/`, which is when it began,
in UTC and with or without leading zeros. What lies there is listed and never guessed.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ivs import recordings
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, RecordingStatus, parse

# Amazon merges no more than that into one recording.
LONGEST: Final = timedelta(hours=48)
_LEVELS: Final = ("year", "month", "day", "hours", "minutes")
# In the order in which they count.
_TOLD_BY: Final = (
    (recordings.ENDED, RecordingStatus.END),
    (recordings.FAILED, RecordingStatus.END_FAILURE),
    (recordings.STARTED, RecordingStatus.START),
)


class _Hls(msgspec.Struct, frozen=True):
    duration_ms: float = 0


class _Media(msgspec.Struct, frozen=True):
    hls: _Hls = _Hls()


class _Document(msgspec.Struct, frozen=True):
    recording_started_at: datetime | None = None
    recording_ended_at: datetime | None = None
    media: _Media = _Media()


@dataclass(frozen=True, slots=True)
class Found:
    """A recording on S3. `ended_at` is null while it goes on, or if nobody will ever say how it ended."""

    bucket: str
    prefix: str
    status: RecordingStatus
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int


async def found(aws: Aws, bucket: str, channel_arn: str, *, since: datetime, until: datetime) -> AsyncIterator[Found]:
    """Yield the channel's recordings that began between the two minutes, the newest first.

    Raises:
        Retryable: As `Aws.call`.
        Terminal: As `Aws.call`, and when metadata is not what Amazon documents.
    """
    account, channel_id = channel_arn.split(":")[4], channel_arn.rpartition("/")[2]
    async for minute, prefixes in _minutes(aws, bucket, f"ivs/v1/{account}/{channel_id}/", (), since, until):
        # Their names are no order.
        read = [await _read(aws, bucket, prefix, minute) for prefix in prefixes]
        for recording in sorted(filter(None, read), key=lambda one: one.started_at, reverse=True):
            yield recording


async def _minutes(
    aws: Aws, bucket: str, folder: str, at: tuple[int, ...], since: datetime, until: datetime
) -> AsyncIterator[tuple[datetime, list[str]]]:
    """Yield the minutes in which recordings began, the latest first, with the prefixes of those."""
    names = await _folders(aws, bucket, folder)
    if len(at) == len(_LEVELS):
        minute = _minute(at)
        if minute is not None:
            yield minute, [f"{folder}{name}" for name in names]
        return
    first, last = (_levels(one)[: len(at) + 1] for one in (since, until))
    inside = [(number, name) for name in names if name.isdecimal() and first <= (*at, number := int(name)) <= last]
    for number, name in sorted(inside, reverse=True):
        async for minutes in _minutes(aws, bucket, f"{folder}{name}/", (*at, number), since, until):
            yield minutes


def _minute(at: tuple[int, ...]) -> datetime | None:
    year, month, day, hour, minute = at
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None


def _levels(moment: datetime) -> tuple[int, ...]:
    utc = moment.astimezone(UTC)
    return utc.year, utc.month, utc.day, utc.hour, utc.minute


async def _folders(aws: Aws, bucket: str, folder: str) -> list[str]:
    """Return the names of what lies directly in a folder; nothing if there is no such bucket."""
    names: list[str] = []
    token: dict[str, Any] = {}
    while True:
        try:
            answer = await aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=folder, Delimiter="/", **token)
        except AwsError as error:
            if error.code == "NoSuchBucket":
                return []
            raise
        names += [str(one["Prefix"])[len(folder) : -1] for one in answer.get("CommonPrefixes", [])]
        if not answer.get("IsTruncated"):
            return names
        token = {"ContinuationToken": answer["NextContinuationToken"]}


async def _read(aws: Aws, bucket: str, prefix: str, minute: datetime) -> Found | None:
    for name, status in _TOLD_BY:
        text = await recordings.read(aws, bucket, f"{prefix}/{name}")
        if text is not None:
            return _of(bucket, prefix, status, text, minute)
    return None


def _of(bucket: str, prefix: str, status: RecordingStatus, text: bytes, minute: datetime) -> Found:
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise recordings.unexpected(str(error)) from error
    duration_ms = max(0, int(document.media.hls.duration_ms))
    started_at, ended_at = recordings.utc(document.recording_started_at), recordings.utc(document.recording_ended_at)
    started_at = started_at or minute
    if status is not RecordingStatus.START and ended_at is None:
        ended_at = started_at + timedelta(milliseconds=duration_ms)
    return Found(bucket, prefix, status, started_at, ended_at, duration_ms)


def event(channel_arn: str, stream_ids: Sequence[str], recording: Found, *, session_id: str) -> Event:
    """Return the event that Amazon would have sent last of a recording of these streams, oldest first.

    Its id is ours, and `session_id` stands for that of Amazon, which S3 does not tell.
    """
    _, _, _, region, account, _ = channel_arn.split(":", 5)
    name = recording.prefix.rpartition("/")[2]
    at = recording.ended_at or recording.started_at
    body: dict[str, Any] = {
        "version": "0",
        "id": f"reconciled:{name[:32]}:{stream_ids[-1][:40]}:{recording.status.replace(' ', '-')}",
        "detail-type": "IVS Recording State Change",
        "source": "aws.ivs",
        "account": account,
        "time": at,
        "region": region,
        "resources": [channel_arn],
        "detail": {
            "stream_id": stream_ids[-1],
            "recording_status": recording.status.value,
            "recording_s3_bucket_name": recording.bucket,
            "recording_s3_key_prefix": recording.prefix,
            "recording_duration_ms": recording.duration_ms,
            "recording_session_id": session_id,
            "recording_session_stream_ids": list(stream_ids),
        },
    }
    return parse(msgspec.json.encode(body))
