"""Chat rooms: reads, and whose they are."""

import re
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement

from models import ChatBan, ChatMessage, ChatRoom, User
from models.paging import Order
from resolvers import chat_messages, policy
from resolvers.context import Context
from resolvers.errors import NotReady, Refused, RequestError, unauthenticated
from resolvers.reads import Page, Row


def _of_stream(_room_id: ColumnElement[Any], stream_id: UUID) -> ColumnElement[bool]:
    return ChatMessage.stream_id == stream_id


BY_ID = Row(ChatRoom, ChatRoom.id)
OWNER = Row(User, User.id, by="user_id")
VIEWER_BAN = Row(ChatBan, ChatBan.chat_room_id, viewer=ChatBan.user_id)
MESSAGES = Page(ChatMessage, chat_messages.SENT, key=ChatMessage.chat_room_id, narrowings={"stream": _of_stream})
BANS = Page(ChatBan, Order("banned", (ChatBan.id,), descending=True), key=ChatBan.chat_room_id)

_REGION = re.compile("arn:aws[a-z-]*:ivschat:([a-z0-9-]+):")


def endpoint(ctx: Context, room: ChatRoom) -> str | None:
    """Return where the room's chat is spoken; null until the room is ready."""
    if room.arn is None or ctx.services.chat_rules.endpoint is not None:
        return ctx.services.chat_rules.endpoint if room.arn else None
    region = _REGION.match(room.arn)
    return f"wss://edge.ivschat.{region[1]}.amazonaws.com" if region else None


async def managed(ctx: Context, room_id: UUID) -> ChatRoom:
    """Return a room that the viewer owns.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' and for unknown rooms.
    """
    if ctx.viewer is None:
        raise unauthenticated()
    room: ChatRoom | None = await ctx.reads.row(BY_ID, room_id)
    if room is None or not policy.owns(ctx.viewer, room):
        raise RequestError("FORBIDDEN", "The chat room is not yours.")
    return room


def ready_arn(room: ChatRoom) -> str:
    """Return the ARN of a room that Amazon has created.

    Raises:
        Refused: NotReady.
    """
    if room.arn is None:
        message = "Amazon has not created the chat room yet; try again when its `provisioning` is READY."
        raise Refused(NotReady(message=message, path=["input", "chatRoomId"]))
    return room.arn
