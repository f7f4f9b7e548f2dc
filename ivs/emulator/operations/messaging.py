"""Chat tokens and what the server side may do in a room (facts b.3). The emulator has no chat socket.

What reaches everybody in a room is written to its log, if it has one.
"""

from collections.abc import Mapping

from ivs.emulator import chat_logs
from ivs.emulator.errors import constraint
from ivs.emulator.identity import iso_precise, new_id
from ivs.emulator.store import Doc
from ivs.emulator.tokens import issue
from ivs.emulator.world import Call, World

ATTRIBUTES_BYTES = 1024
TOKEN_SECONDS = 60
SESSION_MINUTES = 60


def create_chat_token(world: World, call: Call) -> Doc:
    """CreateChatToken: a token that must be used within a minute, for a session of up to three hours."""
    room = world.find(call, "room", call.params["roomIdentifier"])
    check_attributes(call.params.get("attributes", {}))
    now = world.now()
    expires = now + TOKEN_SECONDS
    session_ends = now + 60 * call.params.get("sessionDurationInMinutes", SESSION_MINUTES)
    claims = {
        "kind": "chat",
        "jti": new_id(20),
        "exp": expires,
        "resource": room["arn"],
        "user_id": call.params["userId"],
        "capabilities": call.params.get("capabilities", []),
        "attributes": call.params.get("attributes", {}),
        "session_exp": session_ends,
    }
    return {
        "token": issue(world, claims),
        "tokenExpirationTime": iso_precise(expires),
        "sessionExpirationTime": iso_precise(session_ends),
    }


def send_event(world: World, call: Call) -> Doc:
    """SendEvent: an application event for everyone in the room."""
    check_attributes(call.params.get("attributes", {}))
    return _told(world, call, call.params["eventName"], call.params.get("attributes", {}))


def delete_message(world: World, call: Call) -> Doc:
    """DeleteMessage: tells clients to hide a message; IVS keeps no history to delete from."""
    # The second name of the same is the deprecated one.
    names = {"MessageId": call.params["id"], "MessageID": call.params["id"]}
    return _told(world, call, "aws:DELETE_MESSAGE", {**names, **_reason(call)})


def disconnect_user(world: World, call: Call) -> Doc:
    """DisconnectUser: closes the user's connections; not a ban."""
    _told(world, call, "aws:DISCONNECT_USER", {"UserId": call.params["userId"], **_reason(call)})
    return {}


def check_attributes(attributes: dict[str, str]) -> None:
    """Attributes may have 1 KB in all.

    Raises:
        AwsError: ValidationException.
    """
    size = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    if size > ATTRIBUTES_BYTES:
        raise constraint("attributes", f"Member must have length less than or equal to {ATTRIBUTES_BYTES} bytes in all")


def _told(world: World, call: Call, name: str, attributes: Mapping[str, str]) -> Doc:
    room = world.find(call, "room", call.params["roomIdentifier"])
    return {"id": chat_logs.event(world, room, name, attributes)}


def _reason(call: Call) -> dict[str, str]:
    return {"Reason": call.params["reason"]} if "reason" in call.params else {}


OPERATIONS = {
    "CreateChatToken": create_chat_token,
    "SendEvent": send_event,
    "DeleteMessage": delete_message,
    "DisconnectUser": disconnect_user,
}
