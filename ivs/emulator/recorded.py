"""The objects of a recording on moto's S3, as the guide "Auto-Record to Amazon S3" lists them (facts b.8)."""

import json
from typing import Any

from moto.backends import get_backend

from ivs.emulator.identity import iso_precise, region_of
from ivs.emulator.store import Doc
from ivs.emulator.world import World

RENDITIONS = (("160p30", 160, 284), ("720p60", 720, 1280))
# The smallest JPEG there is: one grey dot.
PICTURE = bytes.fromhex(
    "ffd8ffdb004300" + "01" * 64 + "ffc0000b080001000101011100ffc40014000100000000000000000000000000000009ffc4001410"
    "0100000000000000000000000000000000ffda0008010100003f0054dfffd9"
)


def begin(world: World, recording: Doc) -> None:
    """What is there when a recording begins."""
    _metadata(world, recording, "events/recording-started.json", "RECORDING_STARTED")


def finish(world: World, recording: Doc) -> None:
    """What is there when it has ended: playlists, pictures as configured, and the metadata that leads to them."""
    lines = [
        f"#EXT-X-STREAM-INF:BANDWIDTH={height * 1000},RESOLUTION={width}x{height}\n{path}/playlist.m3u8"
        for path, height, width in RENDITIONS
    ]
    for name in ("master.m3u8", "byte-range-multivariant.m3u8"):
        _put(world, recording, f"media/hls/{name}", _playlist(*lines))
    for path, _, _ in RENDITIONS:
        _put(world, recording, f"media/hls/{path}/playlist.m3u8", _playlist("#EXT-X-ENDLIST"))
    for path, name in _pictures(recording).values():
        _put(world, recording, f"{path}/{name}", PICTURE)
    _metadata(world, recording, "events/recording-ended.json", "RECORDING_ENDED", ended=True)


def fail(world: World, recording: Doc) -> None:
    """What is there when it has failed: part of the media, and no way to it."""
    _put(world, recording, "media/hls/160p30/playlist.m3u8", _playlist())
    _metadata(world, recording, "events/recording-failed.json", "RECORDING_ENDED_WITH_FAILURE", ended=True)


def _pictures(recording: Doc) -> dict[str, tuple[str, str]]:
    configured = recording["thumbnails"]
    if configured["recordingMode"] == "DISABLED":
        return {}
    places = {
        "SEQUENTIAL": ("thumbnails", "media/thumbnails", "thumb0.jpg"),
        "LATEST": ("latest_thumbnail", "media/latest_thumbnail", "thumb.jpg"),
    }
    return {member: (path, name) for kind, (member, path, name) in places.items() if kind in configured["storage"]}


def _metadata(world: World, recording: Doc, name: str, status: str, *, ended: bool = False) -> None:
    renditions = [
        {"path": path, "playlist": "playlist.m3u8", "resolution_height": height, "resolution_width": width}
        for path, height, width in RENDITIONS
    ]
    hls: dict[str, Any] = {
        "path": "media/hls",
        "playlist": "master.m3u8",
        "byte_range_playlist": "byte-range-multivariant.m3u8",
        "renditions": renditions,
    }
    times = {"recording_started_at": iso_precise(recording["startedAt"])}
    if ended:
        hls["duration_ms"] = recording["recordedMs"]
        times["recording_ended_at"] = iso_precise(world.now())
    pictures = {
        member: {"path": path, "resolution_height": 480, "resolution_width": 852}
        for member, (path, _) in _pictures(recording).items()
    }
    document = {
        "version": "v1",
        **times,
        "channel_arn": recording["channelArn"],
        "recording_status": status,
        "media": {"hls": hls, **pictures},
    }
    _put(world, recording, name, json.dumps(document).encode())


def _playlist(*lines: str) -> bytes:
    return "\n".join(["#EXTM3U", "#EXT-X-VERSION:4", *lines, ""]).encode()


def _put(world: World, recording: Doc, name: str, content: bytes) -> None:
    backend = get_backend("s3")[world.account]["aws"]
    bucket = recording["bucket"]
    # An operator would have made it before the recording configuration.
    if bucket not in backend.buckets:
        backend.create_bucket(bucket, region_of(recording["channelArn"]))
    stored = backend.put_object(bucket, f"{recording['prefix']}/{name}", content)
    from moto.s3.models import get_canned_acl  # noqa: PLC0415 - slow to load, and few need it

    # In place of a CDN, which would sign its requests.
    stored.set_acl(get_canned_acl("public-read"))
