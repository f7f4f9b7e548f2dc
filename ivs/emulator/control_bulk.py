"""The control door's part for worlds that are made at once: the resources of many owners, and streams that run."""

from collections.abc import Callable
from typing import Any

from ivs.emulator import broadcasts, gatherings
from ivs.emulator.errors import AwsError, ControlError
from ivs.emulator.identity import new_id
from ivs.emulator.operations.channels import create_channel
from ivs.emulator.operations.rooms import create_room
from ivs.emulator.operations.stages import create_stage
from ivs.emulator.store import Doc, public
from ivs.emulator.world import Call, World


def create_owners(world: World, body: Doc) -> Any:
    """POST owners: a channel, a room and a stage for each, all of them or none.

    `channel` and `room` hold further members of CreateChannel and CreateRoom. With `live` {startTime*, health,
    viewerCount} the channel has been live since then; no event says so, and the stream goes on until it is stopped. The
    quotas of the region grow by what is made. `tokens` are participantTokenConfigurations of the stage. With `onStage`
    {since*, userId*, attributes} somebody has been publishing there since then, and so have those whose token's
    configuration has a `since`; no event says so. Answers what the three operations answer, streamId, and hostId: the
    participant of `onStage`.
    """
    region, owners = body.get("region"), body.get("owners")
    if not isinstance(region, str) or not isinstance(owners, list):
        raise ControlError(400, "region must be a text, and owners a list.")
    try:
        for kind in ("channel", "stream-key", "room", "stage"):
            world.raise_quota(kind, region, len(owners))
        world.raise_quota("stream", region, sum(bool(owner.get("live")) for owner in owners))
        return {"owners": [_owner(world, region, owner) for owner in owners]}
    except (AwsError, KeyError, AttributeError) as error:
        raise ControlError(400, f"The owners cannot be created: {error}.") from error


def _owner(world: World, region: str, owner: Doc) -> Doc:
    shared = {"name": owner["name"], "tags": owner.get("tags", {})}

    def call(service: str, operation: str, **more: Any) -> Call:
        return Call(service, operation, region, {**shared, **more})

    made = create_channel(world, call("ivs", "CreateChannel", **owner.get("channel", {})))
    room = create_room(world, call("ivschat", "CreateRoom", **owner.get("room", {})))
    tokens = owner.get("tokens", [])
    staged = create_stage(world, call("ivs-realtime", "CreateStage", participantTokenConfigurations=tokens))
    live, stream_id = owner.get("live"), None
    if live:
        health, viewers = str(live.get("health", "HEALTHY")), int(live.get("viewerCount", 0))
        stream_id = broadcasts.carry_on(world, made["channel"], live["startTime"], health, viewers)["streamId"]
    host_id = _gather(world, staged, tokens, owner["onStage"]) if owner.get("onStage") else None
    return {**made, **staged, "room": room, "streamId": stream_id, "hostId": host_id}


def _gather(world: World, staged: Doc, tokens: list[Doc], host: Doc) -> str:
    stage, host_id = gatherings.find_stage(world, staged["stage"]["arn"]), new_id()
    gatherings.carry_on(world, stage, host["since"])
    staged["stage"] = public(stage)
    gatherings.seat(world, stage, host["userId"], host_id, host.get("attributes", {}), host["since"])
    for wanted, made in zip(tokens, staged["participantTokens"], strict=True):
        if wanted.get("since"):
            ids = made["userId"], made["participantId"]
            gatherings.seat(world, stage, *ids, made["attributes"], wanted["since"])
    return host_id


ACTIONS: dict[tuple[str, str], Callable[..., Any]] = {("POST", "owners"): create_owners}
