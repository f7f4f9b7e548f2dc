"""What is done in rooms of IVS Chat. Every function raises what `Aws.call` raises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ivs.client import Aws
from ivs.errors import AwsError

# Source: IVS Chat API reference, CreateChatToken, `tokenExpirationTime`: about a minute, and some time on the way.
TOKEN_LIFETIME: Final = 75.0


@dataclass(frozen=True, slots=True)
class ChatToken:
    """Opens one connection to a room, which must begin before `expires_at` and lasts until `session_expires_at`."""

    value: str = field(repr=False)
    expires_at: datetime
    session_expires_at: datetime


async def create_token(
    aws: Aws,
    room_arn: str,
    *,
    user_id: str,
    capabilities: Sequence[Any],
    attributes: Mapping[str, str],
    session_minutes: int,
) -> ChatToken:
    """Return a new token."""
    answer = await aws.call(
        "ivschat",
        "create_chat_token",
        roomIdentifier=room_arn,
        userId=user_id,
        capabilities=list(capabilities),
        attributes=dict(attributes),
        sessionDurationInMinutes=session_minutes,
    )
    return ChatToken(answer["token"], answer["tokenExpirationTime"], answer["sessionExpirationTime"])


async def delete_message(aws: Aws, room_arn: str, message_id: str, reason: str | None) -> None:
    """Tell everybody in the room to hide a message, also one that is hidden already."""
    await aws.call("ivschat", "delete_message", roomIdentifier=room_arn, id=message_id, **_reason(reason))


async def disconnect(aws: Aws, room_arn: str, user_id: str, reason: str | None) -> None:
    """Close all of a user's connections to the room; it is no failure if there are none."""
    try:
        await aws.call("ivschat", "disconnect_user", roomIdentifier=room_arn, userId=user_id, **_reason(reason))
    except AwsError as error:
        if error.code != "ResourceNotFoundException":
            raise


async def send_event(aws: Aws, room_arn: str, name: str, attributes: Mapping[str, str]) -> str:
    """Send an event to everybody in the room; return its id."""
    answer = await aws.call(
        "ivschat", "send_event", once=True, roomIdentifier=room_arn, eventName=name, attributes=dict(attributes)
    )
    return str(answer["id"])


def _reason(reason: str | None) -> dict[str, Any]:
    return {"reason": reason} if reason else {}
