"""Chat rooms, what was said in them, and who may not enter."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry import UNSET

import models
from resolvers import chat_bans, chat_messages, chat_rooms, policy
from resolvers.cursors import Slice
from schema import fields
from schema.base import Node, parse_id, row_type, viewed
from schema.connection import Connection
from schema.enums import ProvisioningState
from schema.fields import After, Before, First, Last

if TYPE_CHECKING:
    from schema.stream import Stream
    from schema.user import User

OfStream = Annotated[
    strawberry.ID | None, strawberry.argument(description="Only messages that were sent during this stream.")
]


def _messages(
    stream_id: OfStream = UNSET, first: First = UNSET, after: After = UNSET, last: Last = UNSET, before: Before = UNSET
) -> Slice:
    key = parse_id(stream_id, argument="streamId", expected="Stream")[1] if stream_id else None
    return fields.part(first, after, last, before, stream=key)


@row_type(models.ChatMessage, description="What somebody said in a chat room.")
class ChatMessage(Node):
    """A message."""

    chat_room: Annotated["ChatRoom", strawberry.lazy("schema.chat")] | None = fields.row(
        chat_messages.ROOM, description="Room in which it was said."
    )
    stream: Annotated["Stream", strawberry.lazy("schema.stream")] | None = fields.row(
        chat_messages.STREAM, description="Stream during which it was sent; null if none was live."
    )
    ivs_message_id: str = strawberry.field(
        description="Id under which the room's socket showed the message, unique in the room; `chatMessageDelete` "
        "takes it."
    )
    content: str = strawberry.field(description="Text as it was delivered, 1 to 500 characters.")
    sent_at: datetime = strawberry.field(description="When it was sent.")
    offset_ms: int | None = fields.joined(
        chat_messages.STREAM,
        chat_messages.offset_ms,
        description="Milliseconds from the start of the stream to the message, for replay beside a recording; 0 if it "
        "came before, null without a stream.",
    )
    sent_by: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        chat_messages.SENDER, description="Who sent it; null for guests and for accounts that were deleted."
    )
    sender_name: str = strawberry.field(description="Name under which it was sent, whatever became of the account.")
    is_guest: bool = strawberry.field(description="Whether a guest sent it, who may have taken any name.")


@strawberry.type(description="Ban of a user from a chat room. Its owner sees it, nobody else.")
class ChatBan:
    """A ban; not a node, so that there is no other way to it than through the room."""

    chat_room: Annotated["ChatRoom", strawberry.lazy("schema.chat")] | None = fields.row(
        chat_bans.ROOM, description="Room that the user may not enter."
    )
    user: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        chat_bans.USER, description="Who may not enter it, whatever the account is called later."
    )
    reason: str | None = strawberry.field(description="Reason, which the user is told; null if none was given.")
    created_at: datetime = strawberry.field(description="When the user was banned.")


@row_type(models.ChatRoom, description="Chat room beside a user's channel.")
class ChatRoom(Node):
    """A chat room."""

    name: str = strawberry.field(description="Name of the room: its owner's.")
    owner: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        chat_rooms.OWNER, description="User whose room it is."
    )
    provisioning: ProvisioningState = strawberry.field(
        description="How far the room's creation on Amazon IVS Chat is; it can be entered when READY."
    )
    endpoint: str | None = viewed(
        chat_rooms.endpoint,
        public=True,
        description="Websocket address (wss) at which the room's chat is spoken, with a token of `chatTokenCreate` as "
        "its sub-protocol; null until READY.",
    )
    messages: Connection[ChatMessage] = fields.page(
        chat_rooms.MESSAGES,
        arguments=_messages,
        description="What was said and not deleted, in the order in which it was sent; the newest messages are the "
        "`last` ones, and come some seconds late. What is said while no stream is live is not kept, but for the "
        "minutes after one.",
    )
    bans: Connection[ChatBan] | None = fields.page(
        chat_rooms.BANS,
        allowed=policy.owns,
        description="Users who may not enter, latest ban first; null for everybody but the owner.",
    )
    viewer_is_banned: bool = fields.exists(chat_rooms.VIEWER_BAN, description="Whether the viewer may not enter.")
    created_at: datetime = strawberry.field(description="When the room was created.")
    updated_at: datetime = strawberry.field(description="When the room last changed.")
