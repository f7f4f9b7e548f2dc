"""Recording of broadcasts to S3: the events, the objects and the merging of reconnects (facts a.2, b.8).

A recording is an entity of its own: with a reconnect window one recording spans several broadcasts and ends once, after
the window, for the last of them.
"""

from datetime import UTC, datetime

from ivs.emulator import recorded
from ivs.emulator.identity import name_of, new_id, region_of
from ivs.emulator.journal import remember
from ivs.emulator.store import Doc
from ivs.emulator.world import World

KIND = "IVS Recording State Change"
OUTCOMES = ("ended", "empty", "start-failure", "end-failure")


def start(world: World, stream: Doc) -> None:
    """Recording Start for a broadcast whose channel records, unless an open recording takes it up (no event then)."""
    configuration = world.store.get("recording-configuration", stream["channel"].get("recordingConfigurationArn", ""))
    if configuration is None:
        return
    channel = stream["channelArn"]
    kept = next((doc for doc in world.store.all("recording", parent=channel) if doc["closesAt"] is not None), None)
    if kept is not None and kept["configuration"] == configuration["arn"]:
        kept["streams"].append(stream["streamId"])
        kept.update(closesAt=None, runningSince=world.now())
        _keep(world, kept)
        return
    recording: Doc = {
        "id": new_id(16),
        "channelArn": channel,
        "channelName": stream["channel"].get("name", ""),
        "configuration": configuration["arn"],
        "bucket": configuration["destinationConfiguration"]["s3"]["bucketName"],
        "prefix": _prefix(world, channel),
        "window": configuration.get("recordingReconnectWindowSeconds", 0),
        "thumbnails": configuration["thumbnailConfiguration"],
        "streams": [stream["streamId"]],
        "startedAt": world.now(),
        "runningSince": world.now(),
        "recordedMs": 0,
        "closesAt": None,
    }
    if world.settings.recording_outcome == "start-failure":
        _tell(world, {**recording, "prefix": ""}, "Recording Start Failure", "ValidationException")
        return
    _keep(world, recording)
    recorded.begin(world, recording)
    _tell(world, recording, "Recording Start")


def stop(world: World, stream: Doc) -> None:
    """The broadcast ended: Recording End now, or when the reconnect window has passed."""
    for recording in world.store.all("recording", parent=stream["channelArn"]):
        if recording["closesAt"] is None and recording["streams"][-1] == stream["streamId"]:
            recording["recordedMs"] += int((world.now() - recording["runningSince"]) * 1000)
            recording["closesAt"] = world.now() + recording["window"]
            _keep(world, recording)
    sweep(world)


def sweep(world: World) -> None:
    """Recording End for every recording whose window has passed."""
    for recording in world.store.all("recording"):
        if recording["closesAt"] is not None and recording["closesAt"] <= world.now():
            world.store.delete("recording", recording["id"])
            _close(world, recording)


def due(world: World, at: float) -> list[float]:
    """The moments until then at which a window will have passed, in their order."""
    closing = (recording["closesAt"] for recording in world.store.all("recording"))
    return sorted({moment for moment in closing if moment is not None and world.now() < moment <= at})


def _close(world: World, recording: Doc) -> None:
    outcome = world.settings.recording_outcome
    if outcome == "end-failure":
        recorded.fail(world, recording)
        _tell(world, recording, "Recording End Failure", "InternalServerException")
        return
    if outcome == "empty":
        recording["recordedMs"] = 0
    recorded.finish(world, recording)
    _tell(world, recording, "Recording End")


def _tell(world: World, recording: Doc, status: str, reason: str = "") -> None:
    last = recording["streams"][-1]
    detail = {
        "channel_name": recording["channelName"],
        "stream_id": last,
        "recording_status": status,
        "recording_status_reason": reason,
        "recording_s3_bucket_name": recording["bucket"],
        "recording_s3_key_prefix": recording["prefix"],
        "recording_duration_ms": recording["recordedMs"],
        "recording_session_id": recording["id"],
    }
    if status == "Recording End":
        detail["recording_session_stream_ids"] = recording["streams"]
    channel = recording["channelArn"]
    stream = world.store.get("stream", last)
    if stream is not None:
        remember(world, stream, KIND, status)
        world.store.put("stream", last, stream, region=region_of(channel), parent=channel)
    world.emit(KIND, [channel], detail, region_of(channel))


def _prefix(world: World, channel: str) -> str:
    at = datetime.fromtimestamp(world.now(), UTC)
    # Not zero-padded, as in the guide's example.
    moment = f"{at.year}/{at.month}/{at.day}/{at.hour}/{at.minute}"
    return f"ivs/v1/{world.account}/{name_of(channel)}/{moment}/{new_id()}"


def _keep(world: World, recording: Doc) -> None:
    channel = recording["channelArn"]
    world.store.put("recording", recording["id"], recording, region=region_of(channel), parent=channel)
