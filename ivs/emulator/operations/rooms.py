"""Rooms of IVS Chat (facts b.3). Answers are flat: no member wraps the room."""

from ivs.emulator.identity import iso_precise, new_id
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

SETTABLE = (
    "name",
    "maximumMessageRatePerSecond",
    "maximumMessageLength",
    "messageReviewHandler",
    "loggingConfigurationIdentifiers",
)
SUMMARY = (
    "arn",
    "id",
    "name",
    "messageReviewHandler",
    "createTime",
    "updateTime",
    "tags",
    "loggingConfigurationIdentifiers",
)


def create_room(world: World, call: Call) -> Doc:
    """CreateRoom."""
    _check_logging(world, call)
    short, now = new_id(), iso_precise(world.now())
    body = {
        "id": short,
        "name": "",
        "maximumMessageRatePerSecond": 10,
        "maximumMessageLength": 500,
        **pick(call.params, *SETTABLE),
        "createTime": now,
        "updateTime": now,
    }
    return public(world.create(call, "ivschat", "room", _with_fallback(body), name=short))


def get_room(world: World, call: Call) -> Doc:
    """GetRoom."""
    return public(world.find(call, "room", call.params["identifier"]))


def update_room(world: World, call: Call) -> Doc:
    """UpdateRoom: members that are given overwrite, also the whole list of logging configurations."""
    room = world.find(call, "room", call.params["identifier"])
    _check_logging(world, call)
    room.update(pick(call.params, *SETTABLE), updateTime=iso_precise(world.now()))
    world.save("room", _with_fallback(room))
    return pick(public(room), *SETTABLE, "arn", "id", "createTime", "updateTime", "tags")


def delete_room(world: World, call: Call) -> Doc:
    """DeleteRoom."""
    world.store.delete("room", world.find(call, "room", call.params["identifier"])["arn"])
    return {}


def list_rooms(world: World, call: Call) -> Doc:
    """ListRooms: every filter that is given must hold."""
    wanted = call.params
    if "loggingConfigurationIdentifier" in wanted:
        world.find(call, "logging-configuration", wanted["loggingConfigurationIdentifier"])
    rows = ((seq, room) for seq, room in world.store.rows("room", region=call.region) if _matches(room, wanted))
    return page(world, call, "rooms", rows, lambda room: pick(room, *SUMMARY), size=50)


def _matches(room: Doc, wanted: Doc) -> bool:
    logging = wanted.get("loggingConfigurationIdentifier")
    return (
        wanted.get("name") in (None, room["name"])
        and wanted.get("messageReviewHandlerUri") in (None, room.get("messageReviewHandler", {}).get("uri", ""))
        and (logging is None or logging in room.get("loggingConfigurationIdentifiers", []))
    )


def _check_logging(world: World, call: Call) -> None:
    for arn in call.params.get("loggingConfigurationIdentifiers", []):
        world.find(call, "logging-configuration", arn)


def _with_fallback(room: Doc) -> Doc:
    handler = room.get("messageReviewHandler")
    if handler is not None:
        room["messageReviewHandler"] = {"fallbackResult": "ALLOW", **handler}
    return room


OPERATIONS = {
    "CreateRoom": create_room,
    "GetRoom": get_room,
    "UpdateRoom": update_room,
    "DeleteRoom": delete_room,
    "ListRooms": list_rooms,
}
