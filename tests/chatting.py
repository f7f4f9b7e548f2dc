"""What tests about chat do again and again: documents, a room with its owner, and what Amazon was asked."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schema.base import parse_id
from server.runtime import Runtime
from tests.accounts import sql
from tests.client import Client, Registered
from tests.conftest import Emulator

ERRORS = """
errors {
  __typename ... on UserError { message path }
  ... on TooManyAttempts { retryAfterSeconds } ... on AmazonUnavailable { retryAfterSeconds }
}
"""
TOKEN = f"""
mutation Token($input: ChatTokenCreateInput!) {{
  chatTokenCreate(input: $input) {{
    token tokenExpiresAt sessionExpiresAt capabilities chatRoom {{ id endpoint viewerIsBanned }}
    {ERRORS.replace("... on TooMany", "... on ChatBanned { reason } ... on TooMany")}
  }}
}}
"""
DELETE = f"""
mutation Delete($input: ChatMessageDeleteInput!) {{
  chatMessageDelete(input: $input) {{ chatRoom {{ id messages {{ nodes {{ content }} }} }} {ERRORS} }}
}}
"""
DISCONNECT = f"""
mutation Disconnect($input: ChatUserDisconnectInput!) {{
  chatUserDisconnect(input: $input) {{ chatRoom {{ id }} {ERRORS} }}
}}
"""
BAN = f"""
mutation Ban($input: ChatUserBanInput!) {{
  chatUserBan(input: $input) {{ ban {{ user {{ username }} chatRoom {{ id }} reason createdAt }} {ERRORS} }}
}}
"""
UNBAN = """
mutation Unban($input: ChatUserUnbanInput!) {
  chatUserUnban(input: $input) {
    chatRoom { bans { nodes { reason } } } errors { __typename ... on UserError { path } }
  }
}
"""
EVENT = f"""
mutation Event($input: ChatEventSendInput!) {{ chatEventSend(input: $input) {{ eventId {ERRORS} }} }}
"""
BANS = """
query Bans($id: ID!) { node(id: $id) { ... on ChatRoom {
  viewerIsBanned bans { nodes { user { username } reason chatRoom { id } } }
} } }
"""


@dataclass(frozen=True)
class Room:
    """A room that is READY on the emulated account."""

    owner: Registered
    id: str
    key: UUID
    arn: str


async def open_room(client: Client, runtime: Runtime) -> Room:
    """Register somebody; return that person's room."""
    owner = await client.register()
    room_id = owner.payload["user"]["chatRoom"]["id"]
    _, key = parse_id(room_id, argument="id", expected="ChatRoom")
    ((arn,),) = await sql(runtime, "SELECT arn FROM chat_rooms WHERE id = :id", id=key)
    return Room(owner, room_id, key, arn)


def key_of(user: Registered) -> UUID:
    """Return the key of a user's row."""
    return parse_id(user.id, argument="id", expected="User")[1]


async def asked(emulator: Emulator, room: Room, operation: str) -> list[dict[str, Any]]:
    """Return the parameters of the calls about the room, without the room itself."""
    calls = [call["params"] for call in await emulator.calls(operation)]
    mine = [call for call in calls if call.get("roomIdentifier") == room.arn]
    return [{name: value for name, value in call.items() if name != "roomIdentifier"} for call in mine]


async def send(client: Client, document: str, token: str | None, **fields: Any) -> dict[str, Any]:
    """Send a mutation that is executed; return its payload."""
    (payload,) = (await client.data(document, {"input": fields}, token=token)).values()
    found: dict[str, Any] = payload
    return found


def told(payload: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    """Return types and paths of a payload's errors."""
    return [(error["__typename"], error["path"]) for error in payload["errors"]]
