"""Messages and close codes of graphql-transport-ws. Source: PROTOCOL.md of graphql-ws."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from schema.faults import masked

PROTOCOL: Final = "graphql-transport-ws"
# The code with which uvicorn ends a socket whose message is larger than allowed. Source: RFC 6455, 7.4.1.
TOO_BIG: Final = 1009


class Close(Exception):
    """The socket must be closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def decoded(text: str | None) -> dict[str, Any]:
    """Return the message of a text frame; null is a binary one.

    Raises:
        Close: 4400 if it is no message.
    """
    try:
        message = msgspec.json.decode(text) if text is not None else None
    except (msgspec.DecodeError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Close(4400, "Invalid message: a JSON object with a type is needed")
    kind = message["type"]
    if kind in ("connection_init", "ping", "pong") and not isinstance(message.get("payload"), dict | None):
        raise Close(4400, f"Invalid message: the payload of {kind} must be an object")
    return message


def operation_id_of(message: Mapping[str, Any]) -> str:
    """Return the id of a subscribe or complete.

    Raises:
        Close: 4400 if it has none.
    """
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not operation_id:
        raise Close(4400, "Invalid message: the id must be a string that is not empty")
    return operation_id


def close_for(error: Exception, place: str) -> Close:
    """Return the close for what went wrong inside of us; clients try again after 1013, and give up after 4500."""
    code, message = masked(error, place)
    return Close(1013 if code == "UNAVAILABLE" else 4500, message)
