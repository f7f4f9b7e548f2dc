"""Logging configurations of IVS Chat (facts b.3). The emulator writes those of CloudWatch Logs."""

from ivs.emulator.errors import conflict, constraint
from ivs.emulator.identity import iso_precise, new_id
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

KIND = "logging-configuration"


def create_logging_configuration(world: World, call: Call) -> Doc:
    """CreateLoggingConfiguration: ACTIVE at once."""
    _check(call)
    short, now = new_id(), iso_precise(world.now())
    body = {
        "id": short,
        "name": "",
        "state": "ACTIVE",
        **pick(call.params, "name", "destinationConfiguration"),
        "createTime": now,
        "updateTime": now,
    }
    return public(world.create(call, "ivschat", KIND, body, name=short))


def get_logging_configuration(world: World, call: Call) -> Doc:
    """GetLoggingConfiguration."""
    return public(world.find(call, KIND, call.params["identifier"]))


def list_logging_configurations(world: World, call: Call) -> Doc:
    """ListLoggingConfigurations."""
    rows = world.store.rows(KIND, region=call.region)
    return page(world, call, "loggingConfigurations", rows, public, size=50)


def update_logging_configuration(world: World, call: Call) -> Doc:
    """UpdateLoggingConfiguration."""
    doc = world.find(call, KIND, call.params["identifier"])
    _check(call)
    doc.update(pick(call.params, "name", "destinationConfiguration"), updateTime=iso_precise(world.now()))
    world.save(KIND, doc)
    return public(doc)


def delete_logging_configuration(world: World, call: Call) -> Doc:
    """DeleteLoggingConfiguration: refused while a room uses it."""
    arn = world.find(call, KIND, call.params["identifier"])["arn"]
    rooms = world.store.all("room", region=call.region)
    if any(arn in room.get("loggingConfigurationIdentifiers", []) for room in rooms):
        raise conflict(f"Logging configuration: {arn} is used by a room", arn)
    world.store.delete(KIND, arn)
    return {}


def _check(call: Call) -> None:
    destination = call.params.get("destinationConfiguration")
    if destination is not None and len(destination) != 1:
        raise constraint("destinationConfiguration", "Member must have one of s3, cloudWatchLogs and firehose")


OPERATIONS = {
    "CreateLoggingConfiguration": create_logging_configuration,
    "GetLoggingConfiguration": get_logging_configuration,
    "ListLoggingConfigurations": list_logging_configurations,
    "UpdateLoggingConfiguration": update_logging_configuration,
    "DeleteLoggingConfiguration": delete_logging_configuration,
}
