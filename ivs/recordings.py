"""What Amazon IVS has written to S3 of a recording: its metadata, and the end of all its objects.

Source: IVS Low-Latency Streaming User Guide, "Auto-Record to Amazon S3", "JSON Metadata Files". The guide forbids to
assume paths: what is found here was named by the recording's metadata, or listed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from ivs.client import Aws
from ivs.errors import AwsError, Terminal

STARTED: Final = "events/recording-started.json"
ENDED: Final = "events/recording-ended.json"
FAILED: Final = "events/recording-failed.json"
# Code of the error that says so of metadata.
UNEXPECTED: Final = "MetadataUnexpected"

_MOST_BYTES: Final = 1_000_000
# S3 takes at most so many keys in one DeleteObjects.
_BATCH: Final = 1000
_LONGEST_KEY: Final = 1024
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket"})
_BELOW_CHANNEL: Final = ("year", "month", "day", "hours", "minutes", "recording id")
_PICTURES: Final = (".jpg", ".jpeg", ".png")


class _Place(msgspec.Struct, frozen=True):
    path: str


class _Hls(msgspec.Struct, frozen=True):
    path: str
    playlist: str
    duration_ms: float = 0


class _Media(msgspec.Struct, frozen=True):
    hls: _Hls
    thumbnails: _Place | None = None
    latest_thumbnail: _Place | None = None


class _Document(msgspec.Struct, frozen=True):
    media: _Media
    recording_started_at: datetime | None = None
    recording_ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What `recording-ended.json` tells. Keys are whole S3 keys; no thumbnail key where there is no thumbnail."""

    playlist_key: str
    thumbnail_key: str | None
    duration_ms: int
    started_at: datetime | None
    ended_at: datetime | None


async def metadata(aws: Aws, bucket: str, prefix: str) -> Metadata | None:
    """Return the metadata of a recording that has ended; null while there is none.

    Raises:
        Retryable: As `Aws.call`.
        Terminal: As `Aws.call`, and when the metadata is not what Amazon documents.
    """
    text = await read(aws, bucket, f"{prefix}/{ENDED}")
    if text is None:
        return None
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unexpected(str(error)) from error
    media = document.media
    named = media.latest_thumbnail or media.thumbnails
    return Metadata(
        playlist_key=_joined(prefix, media.hls.path, media.hls.playlist),
        thumbnail_key=await _picture(aws, bucket, _joined(prefix, named.path)) if named else None,
        duration_ms=max(0, min(int(media.hls.duration_ms), 2**31 - 1)),
        started_at=utc(document.recording_started_at),
        ended_at=utc(document.recording_ended_at),
    )


async def failed(aws: Aws, bucket: str, prefix: str) -> bool:
    """Tell whether Amazon wrote that the recording failed; see `metadata` for what it raises."""
    return await read(aws, bucket, f"{prefix}/{FAILED}") is not None


async def delete_objects(aws: Aws, bucket: str, prefix: str, *, channel_arn: str) -> int:
    """Delete all objects of one recording of the channel; return how many this call has deleted.

    May be repeated after any failure: it lists what is left.

    Raises:
        Retryable: As `Aws.call`, and when S3 did not delete an object.
        Terminal: As `Aws.call`, and when the prefix is not the channel's.
    """
    if not belongs(prefix, channel_arn):
        raise Terminal("ForeignPrefix", "s3.delete_objects", f"{prefix!r} is no recording of {channel_arn}")
    count = 0
    while True:
        try:
            # With the slash, or a recording whose id begins with this one's would be meant too.
            answer = await aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=_BATCH)
        except AwsError as error:
            if error.code in _MISSING:
                return count
            raise
        keys = [str(item["Key"]) for item in answer.get("Contents", [])]
        if not keys:
            return count
        listed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        refused = (await aws.call("s3", "delete_objects", Bucket=bucket, Delete=listed)).get("Errors", [])
        if refused:
            first = refused[0]
            raise Terminal(str(first.get("Code")), "s3.delete_objects", f"{len(refused)} objects: {first.get('Key')}")
        count += len(keys)


def belongs(prefix: str, channel_arn: str) -> bool:
    """Tell whether the prefix is that of one recording of the channel, and not of several or of another's.

    Amazon's are `ivs/v1/<account>/<channel id>/<year>/<month>/<day>/<hours>/<minutes>/<recording id>`.
    """
    channel_id = channel_arn.rpartition("/")[2]
    parts = prefix.split("/")
    return bool(channel_id) and all(parts) and ".." not in parts and channel_id in parts[: -len(_BELOW_CHANNEL)]


async def read(aws: Aws, bucket: str, key: str) -> bytes | None:
    """Return a small object; null if there is none. Raises what `Aws.call` raises."""
    try:
        return await aws.content("s3", "get_object", most=_MOST_BYTES, Bucket=bucket, Key=key)
    except AwsError as error:
        if error.code in _MISSING:
            return None
        raise


async def _picture(aws: Aws, bucket: str, folder: str) -> str | None:
    answer = await aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=f"{folder}/", MaxKeys=10)
    keys = (str(item["Key"]) for item in answer.get("Contents", []))
    return next((key for key in keys if key.lower().endswith(_PICTURES)), None)


def _joined(*parts: str) -> str:
    steps = [step for part in parts for step in part.split("/") if step]
    key = "/".join(steps)
    if len(steps) <= len(parts[0].split("/")) or ".." in steps or len(key) > _LONGEST_KEY or not key.isprintable():
        raise unexpected(f"the path {'/'.join(parts[1:])!r:.200}")
    return key


def utc(time: datetime | None) -> datetime | None:
    """Return a time of the metadata in UTC, which it is meant to be in if it does not say."""
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def unexpected(what: str) -> Terminal:
    """Return the error that says in what the metadata are not as documented."""
    return Terminal(UNEXPECTED, "s3.get_object", f"a recording's metadata is not as documented: {what}")
