"""Channels of Amazon IVS (facts b.2)."""

from typing import Any

from ivs.emulator import broadcasts
from ivs.emulator.errors import conflict, constraint, not_found
from ivs.emulator.identity import new_id
from ivs.emulator.operations.batches import batch
from ivs.emulator.operations.stream_keys import add_key
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

SUMMARY = (
    "arn",
    "authorized",
    "insecureIngest",
    "latencyMode",
    "name",
    "playbackRestrictionPolicyArn",
    "preset",
    "recordingConfigurationArn",
    "tags",
    "type",
)
SETTABLE = (
    "authorized",
    "containerFormat",
    "insecureIngest",
    "latencyMode",
    "multitrackInputConfiguration",
    "name",
    "playbackRestrictionPolicyArn",
    "preset",
    "recordingConfigurationArn",
    "type",
)
DEFAULTS: dict[str, Any] = {
    "authorized": False,
    "containerFormat": "TS",
    "insecureIngest": False,
    "latencyMode": "LOW",
    "multitrackInputConfiguration": {"enabled": False},
    "name": "",
    "playbackRestrictionPolicyArn": "",
    "preset": "",
    "recordingConfigurationArn": "",
    "type": "STANDARD",
}
FILTERS = {
    "filterByName": "name",
    "filterByRecordingConfigurationArn": "recordingConfigurationArn",
    "filterByPlaybackRestrictionPolicyArn": "playbackRestrictionPolicyArn",
}


def create_channel(world: World, call: Call) -> Doc:
    """CreateChannel: a channel and its stream key."""
    body = {**DEFAULTS, **pick(call.params, *SETTABLE)}
    _check(world, call, body)
    edge, short = new_id().lower(), new_id()
    body["ingestEndpoint"] = f"{edge}.global-contribute.live-video.net"
    body["srt"] = {"endpoint": f"{edge}.srt.live-video.net", "passphrase": new_id(32)}
    body["playbackUrl"] = (
        f"https://{edge}.{call.region}.playback.live-video.net/api/video/v1/"
        f"{call.region}.{world.account}.channel.{short}.m3u8"
    )
    channel = world.create(call, "ivs", "channel", body, name=short)
    return {"channel": public(channel), "streamKey": public(add_key(world, call, channel["arn"], {}))}


def get_channel(world: World, call: Call) -> Doc:
    """GetChannel."""
    return {"channel": public(world.find(call, "channel", call.params["arn"]))}


def batch_get_channel(world: World, call: Call) -> Doc:
    """BatchGetChannel: what exists, and an error for each ARN that does not."""
    return batch(world, call, "channel", "channels")


def list_channels(world: World, call: Call) -> Doc:
    """ListChannels, with at most one filter."""
    chosen = [name for name in FILTERS if name in call.params]
    if len(chosen) > 1:
        raise constraint(chosen[1], f"It must not be given together with {chosen[0]}")
    rows = world.store.rows("channel", region=call.region)
    for name in chosen:
        rows = (row for row in rows if row[1][FILTERS[name]] == call.params[name])
    return page(world, call, "channels", rows, lambda doc: pick(doc, *SUMMARY))


def update_channel(world: World, call: Call) -> Doc:
    """UpdateChannel: refused while an encoder is connected."""
    channel = _idle(world, call, "updated")
    channel.update(pick(call.params, *SETTABLE))
    _check(world, call, channel)
    world.save("channel", channel)
    return {"channel": public(channel)}


def delete_channel(world: World, call: Call) -> Doc:
    """DeleteChannel: refused while an encoder is connected; takes the stream key with it."""
    channel = _idle(world, call, "deleted")
    for key in world.store.all("stream-key", parent=channel["arn"]):
        world.store.delete("stream-key", key["arn"])
    world.store.delete("channel", channel["arn"])
    return {}


def _idle(world: World, call: Call, verb: str) -> Doc:
    channel = world.find(call, "channel", call.params["arn"])
    if broadcasts.active(world, channel["arn"]) is not None:
        raise conflict(f"Channel: {channel['arn']} is live and cannot be {verb}", channel["arn"])
    return channel


def _check(world: World, call: Call, body: Doc) -> None:
    advanced = body["type"] in ("ADVANCED_SD", "ADVANCED_HD")
    if advanced:
        body["preset"] = body["preset"] or "HIGHER_BANDWIDTH_DELIVERY"
    elif call.params.get("preset"):
        raise constraint("preset", "It may only be set for the types ADVANCED_SD and ADVANCED_HD")
    else:
        body["preset"] = ""
    multitrack = body["multitrackInputConfiguration"].get("enabled", False)
    if multitrack and (body["type"] != "STANDARD" or body["containerFormat"] != "FRAGMENTED_MP4"):
        raise constraint("multitrackInputConfiguration", "It needs type STANDARD and containerFormat FRAGMENTED_MP4")
    if body["playbackRestrictionPolicyArn"]:
        raise not_found(body["playbackRestrictionPolicyArn"])
    if body["recordingConfigurationArn"]:
        recording = world.find(call, "recording-configuration", body["recordingConfigurationArn"])
        if recording["_activeAt"] > world.now():
            raise constraint("recordingConfigurationArn", "The configuration must be ACTIVE")


OPERATIONS = {
    "CreateChannel": create_channel,
    "GetChannel": get_channel,
    "BatchGetChannel": batch_get_channel,
    "ListChannels": list_channels,
    "UpdateChannel": update_channel,
    "DeleteChannel": delete_channel,
}
