"""Stages of IVS Real-Time and the tokens to join them (facts b.4)."""

from ivs.emulator import gatherings
from ivs.emulator.errors import not_found
from ivs.emulator.identity import iso, name_of, new_id
from ivs.emulator.operations.messaging import check_attributes
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.tokens import issue
from ivs.emulator.world import Call, World

SUMMARY = ("arn", "name", "activeSessionId", "tags")
DEFAULT_MINUTES = 720


def create_stage(world: World, call: Call) -> Doc:
    """CreateStage, with as many tokens as `participantTokenConfigurations` asks for."""
    short = new_id()
    recording = call.params.get("autoParticipantRecordingConfiguration")
    _check_recording(recording)
    body = {
        "name": call.params.get("name", ""),
        "activeSessionId": "",
        "endpoints": {
            "events": f"wss://global.events.live-video.net/{short}",
            "whip": f"https://{short.lower()}.global-bm.whip.live-video.net",
            "rtmp": f"rtmp://{short.lower()}.global-contribute.live-video.net/app/",
            "rtmps": f"rtmps://{short.lower()}.global-contribute.live-video.net:443/app/",
        },
    }
    if recording is not None:
        body["autoParticipantRecordingConfiguration"] = recording
    stage = world.create(call, "ivs", "stage", body, name=short)
    wanted = call.params.get("participantTokenConfigurations", [])
    return {"stage": public(stage), "participantTokens": [_token(world, stage["arn"], one) for one in wanted]}


def get_stage(world: World, call: Call) -> Doc:
    """GetStage."""
    return {"stage": public(world.find(call, "stage", call.params["arn"]))}


def update_stage(world: World, call: Call) -> Doc:
    """UpdateStage."""
    stage = world.find(call, "stage", call.params["arn"])
    _check_recording(call.params.get("autoParticipantRecordingConfiguration"))
    stage.update(pick(call.params, "name", "autoParticipantRecordingConfiguration"))
    world.save("stage", stage)
    return {"stage": public(stage)}


def delete_stage(world: World, call: Call) -> Doc:
    """DeleteStage: disconnects everyone first."""
    stage = world.find(call, "stage", call.params["arn"])
    gatherings.end_session(world, stage)
    world.store.delete("stage", stage["arn"])
    return {}


def list_stages(world: World, call: Call) -> Doc:
    """ListStages."""
    rows = world.store.rows("stage", region=call.region)
    return page(world, call, "stages", rows, lambda stage: pick(stage, *SUMMARY), size=50)


def create_participant_token(world: World, call: Call) -> Doc:
    """CreateParticipantToken: IVS keeps no tokens, so this only signs one."""
    stage = world.find(call, "stage", call.params["stageArn"])
    return {"participantToken": _token(world, stage["arn"], call.params)}


def disconnect_participant(world: World, call: Call) -> Doc:
    """DisconnectParticipant: does not revoke the token, which can join again."""
    stage = world.find(call, "stage", call.params["stageArn"])
    participant = gatherings.connected(world, stage, call.params["participantId"])
    if participant is None:
        raise not_found(call.params["participantId"])
    gatherings.leave(world, stage, participant)
    return {}


def _token(world: World, stage_arn: str, wanted: Doc) -> Doc:
    attributes = wanted.get("attributes", {})
    check_attributes(attributes)
    participant, minutes = new_id(), wanted.get("duration", DEFAULT_MINUTES)
    # AWS's default is both capabilities, and a list without members counts as no list.
    capabilities = wanted.get("capabilities") or ["PUBLISH", "SUBSCRIBE"]
    expires = world.now() + 60 * minutes
    claims = {
        "kind": "stage",
        "jti": participant,
        "exp": expires,
        "resource": stage_arn,
        "topic": name_of(stage_arn),
        "user_id": wanted.get("userId", ""),
        "attributes": attributes,
        "capabilities": capabilities,
    }
    return {
        "participantId": participant,
        "token": issue(world, claims),
        "userId": wanted.get("userId", ""),
        "attributes": attributes,
        "duration": minutes,
        "capabilities": capabilities,
        "expirationTime": iso(expires),
    }


def _check_recording(recording: Doc | None) -> None:
    # Storage configurations are not emulated, so none exists.
    if recording is not None and recording["storageConfigurationArn"]:
        raise not_found(recording["storageConfigurationArn"])


OPERATIONS = {
    "CreateStage": create_stage,
    "GetStage": get_stage,
    "UpdateStage": update_stage,
    "DeleteStage": delete_stage,
    "ListStages": list_stages,
    "CreateParticipantToken": create_participant_token,
    "DisconnectParticipant": disconnect_participant,
}
