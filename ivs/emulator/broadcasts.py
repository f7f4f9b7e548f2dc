"""The life of a broadcast, as Amazon IVS lives it (facts a.2, a.4).

An encoder connects (Session Created), video comes out (Stream Start), now and then it starves, at last it ends (Stream
End, Session Ended). Documents of kind `stream`, keyed by stream id, below their channel's ARN.
"""

from collections.abc import Iterator
from typing import Any

from ivs.emulator import recordings
from ivs.emulator.errors import ControlError, ToldRefusalError
from ivs.emulator.identity import iso, region_of, stream_id
from ivs.emulator.journal import remember
from ivs.emulator.store import Doc, public
from ivs.emulator.world import World

STATE = "IVS Stream State Change"
HEALTH = "IVS Stream Health Change"

INGEST: dict[str, Any] = {
    "video": {
        "avcProfile": "High",
        "avcLevel": "4.2",
        "codec": "avc1.64002A",
        "encoder": "StreamCat simulated encoder",
        "targetBitrate": 6_000_000,
        "targetFramerate": 60,
        "videoHeight": 1080,
        "videoWidth": 1920,
    },
    "audio": {"channels": 2, "codec": "mp4a.40.2", "sampleRate": 48_000, "targetBitrate": 160_000},
}


def active(world: World, channel_arn: str) -> Doc | None:
    """The channel's broadcast whose encoder is connected, live or not yet."""
    return next(iter(running(world, parent=channel_arn)), None)


def live(world: World, channel_arn: str) -> Doc | None:
    """The channel's broadcast that viewers can watch."""
    doc = active(world, channel_arn)
    return doc if doc is not None and doc["startTime"] is not None else None


def running(world: World, *, region: str | None = None, parent: str | None = None) -> list[Doc]:
    """All broadcasts whose encoder is connected, of a region or a channel, oldest first."""
    return [doc for _, doc in running_rows(world, region=region, parent=parent)]


def running_rows(world: World, *, region: str | None = None, parent: str | None = None) -> Iterator[tuple[int, Doc]]:
    """As `running`, with sequence numbers for paging."""
    # Marks of their own, because the sweeper asks often and ended broadcasts are kept for ever.
    for seq, mark in world.store.rows("running", region=region, parent=parent):
        doc = world.store.get("stream", mark["streamId"])
        if doc is not None:
            yield seq, doc


def of_channel(world: World, channel_arn: str) -> list[Doc]:
    """All broadcasts of a channel, oldest first."""
    return world.store.all("stream", parent=channel_arn)


def connect(world: World, channel_arn: str) -> Doc:
    """An encoder connects to a channel with its stream key: Session Created.

    Raises:
        ControlError: no such channel (404), no stream key (403), already broadcasting (409).
        ToldRefusalError: the account's quota of broadcasts is used up (429); a Limit Breach event tells it too.
    """
    channel = world.store.get("channel", channel_arn)
    if channel is None:
        raise ControlError(404, f"There is no channel {channel_arn}.")
    if not world.store.all("stream-key", parent=channel_arn):
        raise ControlError(403, f"Channel {channel_arn} has no stream key, so no encoder can connect.")
    if active(world, channel_arn) is not None:
        raise ControlError(409, f"Channel {channel_arn} is already broadcasting.")
    region = region_of(channel_arn)
    limit = world.quota("stream", region)
    if limit is not None and world.store.count("running", region) >= limit:
        detail = {
            "limit_name": "Concurrent Broadcasts",
            "limit_value": limit,
            "exceeded_by": 1,
            "limit_unit": "active streams",
        }
        world.emit("IVS Limit Breach", [], detail, region)
        raise ToldRefusalError(429, f"The account already has {limit} concurrent broadcasts.")
    doc = _opened(world, channel)
    _tell(world, doc, STATE, "Session Created")
    return doc


def carry_on(world: World, channel: Doc, start_time: str, health: str, viewers: int) -> Doc:
    """A broadcast that has been live for a while: nothing is told of it, and its encoder never falls silent."""
    doc = _opened(world, channel)
    doc.update(startTime=start_time, health=health, viewerCount=viewers, _lasting=True)
    _keep(world, doc)
    return doc


def _opened(world: World, channel: Doc) -> Doc:
    arn = channel["arn"]
    doc: Doc = {
        "streamId": stream_id(),
        "channelArn": arn,
        "startTime": None,
        "endTime": None,
        "health": "UNKNOWN",
        "viewerCount": 0,
        "channel": public(channel),
        "truncatedEvents": [],
        "_heard": world.now(),
    }
    world.store.put("running", doc["streamId"], {"streamId": doc["streamId"]}, region=region_of(arn), parent=arn)
    return doc


def start(world: World, doc: Doc) -> None:
    """Video comes out: Stream Start, and Recording Start when the channel records.

    Raises:
        ControlError: it has started already (409).
    """
    if doc["startTime"] is not None:
        raise ControlError(409, "The broadcast has started already.")
    doc.update(startTime=iso(world.now()), health="HEALTHY")
    _tell(world, doc, STATE, "Stream Start")
    recordings.start(world, doc)


def set_health(world: World, doc: Doc, health: str) -> None:
    """The encoder's data stops or comes back: Starvation Start or Starvation End, once per change.

    Raises:
        ControlError: not started (409), or a state other than HEALTHY and STARVING (400).
    """
    if health not in ("HEALTHY", "STARVING"):
        raise ControlError(400, "state must be HEALTHY or STARVING.")
    if doc["startTime"] is None:
        raise ControlError(409, "The broadcast has not started.")
    if doc["health"] != health:
        doc["health"] = health
        _tell(world, doc, HEALTH, "Starvation Start" if health == "STARVING" else "Starvation End")


def set_viewers(world: World, doc: Doc, count: int) -> None:
    """How many views AWS counts from now on."""
    doc["viewerCount"] = count
    _keep(world, doc)


def heard(world: World, doc: Doc) -> None:
    """The encoder sent something."""
    doc["_heard"] = world.now()
    _keep(world, doc)


def end(world: World, doc: Doc) -> None:
    """The broadcast is over: Stream End (if it had started), Session Ended, and in time Recording End."""
    started = doc["startTime"] is not None
    doc["endTime"] = iso(world.now())
    world.store.delete("running", doc["streamId"])
    if started:
        _tell(world, doc, STATE, "Stream End")
    _tell(world, doc, STATE, "Session Ended")
    if started:
        recordings.stop(world, doc)


def sweep(world: World) -> None:
    """Ends broadcasts whose encoder went silent, as AWS does: Starvation Start first, never a Starvation End."""
    for doc in running(world):
        if not doc.get("_lasting") and world.now() - doc["_heard"] > world.settings.silence_seconds:
            if doc["startTime"] is not None:
                set_health(world, doc, "STARVING")
            end(world, doc)
    recordings.sweep(world)


def resume(world: World) -> None:
    """After a restart: running encoders get the full silence again to find us."""
    for doc in running(world):
        heard(world, doc)


def _tell(world: World, doc: Doc, kind: str, name: str) -> None:
    remember(world, doc, kind, name)
    _keep(world, doc)
    detail = {"event_name": name, "channel_name": doc["channel"].get("name", ""), "stream_id": doc["streamId"]}
    world.emit(kind, [doc["channelArn"]], detail, region_of(doc["channelArn"]))


def _keep(world: World, doc: Doc) -> None:
    arn = doc["channelArn"]
    world.store.put("stream", doc["streamId"], doc, region=region_of(arn), parent=arn)
