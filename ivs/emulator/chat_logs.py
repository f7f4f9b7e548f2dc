"""The chat logs of rooms on moto's CloudWatch Logs (facts c.1), and their reading as AWS answers it.

moto's FilterLogEvents knows no prefix of log streams, and no page that is empty and yet not the last.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moto.backends import get_backend

from ivs.emulator.identity import iso, iso_precise, name_of, new_id, region_of
from ivs.emulator.store import Doc
from ivs.emulator.world import World

READ: Final = "FilterLogEvents"
VERSION: Final = "1.0"
# Before the mark of the page that follows an empty one.
_EMPTY: Final = "after-an-empty-page:"


def message(world: World, room: Doc, sender: Doc, content: str, request_id: str) -> str:
    """Logs what somebody said in a room; answers the message's id."""
    said = {"Type": "MESSAGE", "Attributes": None, "Content": content, "Sender": sender}
    return _log(world, room, {**said, "RequestId": request_id})


def event(world: World, room: Doc, name: str, attributes: Mapping[str, str]) -> str:
    """Logs an event that everybody in the room gets; answers its id."""
    return _log(world, room, {"Type": "EVENT", "EventName": name, "Attributes": attributes, "RequestId": ""})


def _log(world: World, room: Doc, payload: Doc) -> str:
    at, message_id = world.now(), new_id()
    # Nanoseconds without the zeros at their end.
    precise = f"{iso(at)[:-1]}.{int(at % 1 * 1_000_000_000):09d}".rstrip("0").rstrip(".") + "Z"
    record = {
        "event_timestamp": iso_precise(at),
        "type": payload["Type"],
        "payload": {**payload, "Id": message_id, "SendTime": precise},
        "version": VERSION,
    }
    entry = {"timestamp": int(at * 1000), "message": json.dumps(record)}
    for arn in room.get("loggingConfigurationIdentifiers", []):
        destination = world.store.get("logging-configuration", arn)
        group = (destination or {}).get("destinationConfiguration", {}).get("cloudWatchLogs", {}).get("logGroupName")
        if group:
            _put(world, region_of(room["arn"]), group, f"aws/IVSChatLogs/{VERSION}/room_{name_of(room['arn'])}", entry)
    return message_id


def _put(world: World, region: str, group: str, stream: str, entry: Doc) -> None:
    backend = get_backend("logs")[world.account][region]
    # An operator would have made it before the logging configuration.
    if group not in backend.groups:
        backend.create_log_group(group, {})
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)
    backend.put_log_events(group, stream, [entry])


def asked(world: World, region: str, params: Mapping[str, Any]) -> Doc:
    """The members of FilterLogEvents as moto understands them."""
    known = dict(params)
    token = str(known.pop("nextToken", None) or "").removeprefix(_EMPTY)
    if token:
        known["nextToken"] = token
    prefix = known.pop("logStreamNamePrefix", None)
    if prefix is not None:
        group = get_backend("logs")[world.account][region].groups.get(str(known.get("logGroupName")))
        names = [name for name in (group.streams if group else ()) if name.startswith(prefix)]
        # None at all would mean every log stream.
        known["logStreamNames"] = names or [prefix]
    return known


def empty_page(params: Mapping[str, Any]) -> Doc:
    """A page without events, after which the page comes that was asked for."""
    token = str(params.get("nextToken") or "").removeprefix(_EMPTY)
    return {"events": [], "nextToken": f"{_EMPTY}{token}", "searchedLogStreams": []}
