"""The control door's part for those who chat: there is no socket, so what they say comes in here."""

from collections.abc import Callable
from typing import Any

from ivs.emulator import chat_logs, tokens
from ivs.emulator.errors import ControlError
from ivs.emulator.store import Doc
from ivs.emulator.world import World


def say(world: World, body: Doc) -> Any:
    """POST chat/messages: somebody who is in the room, or comes in with a token for this alone, says something."""
    arn, sender = body.get("roomArn"), {"UserId": body.get("userId"), "Attributes": body.get("attributes", {})}
    if "token" in body:
        claims = tokens.check(world, str(body["token"]), use=True)
        if claims["kind"] != "chat" or "SEND_MESSAGE" not in claims["capabilities"]:
            raise ControlError(403, "The token does not allow to say anything.")
        arn, sender = claims["resource"], {"UserId": claims["user_id"], "Attributes": claims["attributes"]}
    room = world.store.get("room", str(arn))
    if room is None:
        raise ControlError(404, f"There is no room {arn}.")
    content = body.get("content")
    if not isinstance(content, str) or not 1 <= len(content) <= room["maximumMessageLength"]:
        raise ControlError(400, f"content must be a text of 1 to {room['maximumMessageLength']} characters.")
    if not isinstance(sender["UserId"], str) or not sender["UserId"]:
        raise ControlError(400, "Without a token, userId must say who it is.")
    return {"messageId": chat_logs.message(world, room, sender, content, str(body.get("requestId", "")))}


ACTIONS: dict[tuple[str, str], Callable[..., Any]] = {("POST", "chat/messages"): say}
