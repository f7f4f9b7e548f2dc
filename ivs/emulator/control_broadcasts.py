"""The control door's part for the broadcaster's side: encoders on channels, participants on stages."""

from collections.abc import Callable
from typing import Any

from ivs.emulator import broadcasts, gatherings, tokens
from ivs.emulator.errors import ControlError
from ivs.emulator.store import Doc
from ivs.emulator.world import World


def connect(world: World, body: Doc) -> Any:
    """POST broadcasts."""
    doc = broadcasts.connect(world, str(body.get("channelArn", "")))
    return {"streamId": doc["streamId"], "silenceSeconds": world.settings.silence_seconds}


def show(world: World, _body: Doc, stream_id: str) -> Any:
    """GET broadcasts/ID."""
    doc = world.store.get("stream", stream_id)
    if doc is None:
        raise ControlError(404, f"There is no broadcast {stream_id}.")
    return _shown(doc)


def start(world: World, _body: Doc, stream_id: str) -> Any:
    """POST broadcasts/ID/start."""
    doc = _running(world, stream_id)
    broadcasts.start(world, doc)
    return _shown(doc)


def health(world: World, body: Doc, stream_id: str) -> Any:
    """POST broadcasts/ID/health."""
    doc = _running(world, stream_id)
    broadcasts.set_health(world, doc, str(body.get("state", "")))
    return _shown(doc)


def viewers(world: World, body: Doc, stream_id: str) -> Any:
    """POST broadcasts/ID/viewers."""
    count = body.get("count")
    if not isinstance(count, int) or count < -1:
        raise ControlError(400, "count must be a whole number from 0, or -1 for AWS's time-out.")
    doc = _running(world, stream_id)
    broadcasts.set_viewers(world, doc, count)
    return _shown(doc)


def ingest(world: World, _body: Doc, stream_id: str) -> Any:
    """POST broadcasts/ID/ingest."""
    return _shown(_running(world, stream_id))


def end(world: World, _body: Doc, stream_id: str) -> Any:
    """POST broadcasts/ID/end."""
    doc = _running(world, stream_id)
    broadcasts.end(world, doc)
    return _shown(doc)


def join(world: World, body: Doc) -> Any:
    """POST stages/participants."""
    stage = gatherings.find_stage(world, str(body.get("stageArn", "")))
    publish = body.get("publish", True)
    user, participant, attributes = str(body.get("userId", "")), body.get("participantId"), body.get("attributes", {})
    if "token" in body:
        claims = tokens.check(world, body["token"], use=True)
        if claims["resource"] != stage["arn"] or (publish and "PUBLISH" not in claims["capabilities"]):
            raise ControlError(403, "The token does not allow this on this stage.")
        user, participant, attributes = claims["user_id"], claims["jti"], claims["attributes"]
    doc = gatherings.join(world, stage, user, participant, attributes)
    if publish:
        gatherings.publish(world, stage, doc)
    return {"participantId": doc["participantId"], "sessionId": stage["activeSessionId"]}


def take_part(world: World, body: Doc, participant_id: str, verb: str) -> Any:
    """POST stages/participants/ID/publish, .../unpublish, .../leave."""
    stage = gatherings.find_stage(world, str(body.get("stageArn", "")))
    doc = gatherings.connected(world, stage, participant_id)
    if doc is None:
        raise ControlError(404, f"Participant {participant_id} is not connected to {stage['arn']}.")
    if verb == "publish":
        gatherings.publish(world, stage, doc)
    elif verb == "unpublish":
        gatherings.unpublish(world, doc)
    else:
        gatherings.leave(world, stage, doc)
    return {"participantId": participant_id, "state": doc["state"]}


def _running(world: World, stream_id: str) -> Doc:
    doc = world.store.get("stream", stream_id)
    if doc is None:
        raise ControlError(404, f"There is no broadcast {stream_id}.")
    if doc["endTime"] is not None:
        raise ControlError(410, f"Broadcast {stream_id} has ended.")
    broadcasts.heard(world, doc)
    return doc


def _shown(doc: Doc) -> Doc:
    names = ("streamId", "channelArn", "startTime", "endTime", "health", "viewerCount")
    return {name: doc[name] for name in names}


_ID = r"broadcasts/(st-[a-zA-Z0-9]+)"

ACTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("POST", "broadcasts"): connect,
    ("GET", _ID): show,
    ("POST", f"{_ID}/start"): start,
    ("POST", f"{_ID}/health"): health,
    ("POST", f"{_ID}/viewers"): viewers,
    ("POST", f"{_ID}/ingest"): ingest,
    ("POST", f"{_ID}/end"): end,
    ("POST", "stages/participants"): join,
    ("POST", r"stages/participants/([a-zA-Z0-9-]+)/(publish|unpublish|leave)"): take_part,
}
