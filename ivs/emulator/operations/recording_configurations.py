"""Recording configurations of Amazon IVS (facts b.2)."""

from ivs.emulator.errors import conflict
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

KIND = "recording-configuration"
SUMMARY = ("arn", "name", "destinationConfiguration", "state", "tags")


def create_recording_configuration(world: World, call: Call) -> Doc:
    """CreateRecordingConfiguration: ACTIVE at once, or after the `creating_seconds` that a test has set."""
    thumbnails = {"recordingMode": "INTERVAL", "targetIntervalSeconds": 60, "storage": ["SEQUENTIAL"]}
    body = {
        "name": "",
        "recordingReconnectWindowSeconds": 0,
        "renditionConfiguration": {"renditionSelection": "ALL", "renditions": []},
        **pick(
            call.params,
            "name",
            "destinationConfiguration",
            "recordingReconnectWindowSeconds",
            "renditionConfiguration",
        ),
        "thumbnailConfiguration": {**thumbnails, **call.params.get("thumbnailConfiguration", {})},
        "_activeAt": world.now() + world.settings.creating_seconds,
    }
    return {"recordingConfiguration": shown(world, world.create(call, "ivs", KIND, body))}


def get_recording_configuration(world: World, call: Call) -> Doc:
    """GetRecordingConfiguration."""
    return {"recordingConfiguration": shown(world, world.find(call, KIND, call.params["arn"]))}


def list_recording_configurations(world: World, call: Call) -> Doc:
    """ListRecordingConfigurations."""
    rows = world.store.rows(KIND, region=call.region)
    return page(world, call, "recordingConfigurations", rows, lambda doc: pick(shown(world, doc), *SUMMARY))


def delete_recording_configuration(world: World, call: Call) -> Doc:
    """DeleteRecordingConfiguration: refused while a channel uses it."""
    arn = world.find(call, KIND, call.params["arn"])["arn"]
    users = [c for c in world.store.all("channel", region=call.region) if c["recordingConfigurationArn"] == arn]
    if users:
        raise conflict(f"Recording configuration: {arn} is used by {len(users)} channel(s)", arn)
    world.store.delete(KIND, arn)
    return {}


def shown(world: World, doc: Doc) -> Doc:
    """A configuration as AWS answers it, with its present state."""
    return {**public(doc), "state": "CREATING" if doc["_activeAt"] > world.now() else "ACTIVE"}


OPERATIONS = {
    "CreateRecordingConfiguration": create_recording_configuration,
    "GetRecordingConfiguration": get_recording_configuration,
    "ListRecordingConfigurations": list_recording_configurations,
    "DeleteRecordingConfiguration": delete_recording_configuration,
}
