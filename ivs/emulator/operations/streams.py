"""Streams and stream sessions of Amazon IVS, and timed metadata (facts a.5, b.2, b.7)."""

from ivs.emulator import broadcasts
from ivs.emulator.errors import constraint, not_found, offline
from ivs.emulator.operations.recording_configurations import shown
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick
from ivs.emulator.world import Call, World

METADATA_BYTES = 1024
SESSION_SUMMARY = ("streamId", "startTime", "endTime")
SUMMARY = ("channelArn", "streamId", "startTime", "health", "viewerCount")


def get_stream(world: World, call: Call) -> Doc:
    """GetStream: the live stream, or ChannelNotBroadcasting."""
    channel = world.find(call, "channel", call.params["channelArn"])
    doc = broadcasts.live(world, channel["arn"])
    if doc is None:
        raise offline(channel["arn"])
    return {"stream": {**_summary(doc), "playbackUrl": channel["playbackUrl"]}}


def list_streams(world: World, call: Call) -> Doc:
    """ListStreams: all live streams of the account, of one health if asked."""
    health = call.params.get("filterBy", {}).get("health")
    rows = (
        (seq, doc)
        for seq, doc in broadcasts.running_rows(world, region=call.region)
        if doc["startTime"] is not None and health in (None, doc["health"])
    )
    return page(world, call, "streams", rows, _summary)


def list_stream_sessions(world: World, call: Call) -> Doc:
    """ListStreamSessions: newest first; also for a channel that was deleted."""
    arn = call.params["channelArn"]
    rows = list(world.store.rows("stream", parent=arn))
    if not rows:
        world.find(call, "channel", arn)
    return page(world, call, "streamSessions", rows, _session_summary, newest_first=True)


def get_stream_session(world: World, call: Call) -> Doc:
    """GetStreamSession: one session, by default the newest, with its events and what the encoder sent."""
    arn = call.params["channelArn"]
    wanted = call.params.get("streamId")
    docs = [doc for doc in broadcasts.of_channel(world, arn) if wanted in (None, doc["streamId"])]
    if not docs:
        raise not_found(wanted or arn)
    doc = docs[-1]
    session = {name: doc[name] for name in SESSION_SUMMARY if doc[name] is not None}
    session |= pick(doc, "channel", "truncatedEvents")
    session["ingestConfiguration"] = broadcasts.INGEST
    recording = world.store.get("recording-configuration", doc["channel"].get("recordingConfigurationArn", ""))
    if recording is not None:
        session["recordingConfiguration"] = shown(world, recording)
    return {"streamSession": session}


def stop_stream(world: World, call: Call) -> Doc:
    """StopStream: disconnects the encoder."""
    channel = world.find(call, "channel", call.params["channelArn"])
    doc = broadcasts.active(world, channel["arn"])
    if doc is None:
        raise offline(channel["arn"])
    broadcasts.end(world, doc)
    return {}


def put_metadata(world: World, call: Call) -> Doc:
    """PutMetadata: at most 1 KB into a live stream. The emulator has no player, so nobody sees it."""
    channel = world.find(call, "channel", call.params["channelArn"])
    if len(call.params["metadata"].encode()) > METADATA_BYTES:
        raise constraint("metadata", f"Member must have length less than or equal to {METADATA_BYTES} bytes")
    if broadcasts.live(world, channel["arn"]) is None:
        raise offline(channel["arn"])
    return {}


def _summary(doc: Doc) -> Doc:
    return {**pick(doc, *SUMMARY), "state": "LIVE"}


def _session_summary(doc: Doc) -> Doc:
    times = {name: doc[name] for name in SESSION_SUMMARY if doc[name] is not None}
    return {**times, "hasErrorEvent": any("Failure" in event["name"] for event in doc["truncatedEvents"])}


OPERATIONS = {
    "GetStream": get_stream,
    "ListStreams": list_streams,
    "ListStreamSessions": list_stream_sessions,
    "GetStreamSession": get_stream_session,
    "StopStream": stop_stream,
    "PutMetadata": put_metadata,
}
