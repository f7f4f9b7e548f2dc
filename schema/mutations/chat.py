"""What the owner of a chat room does in it."""

import re
from typing import Annotated, Final
from uuid import UUID

import strawberry

from models.chat import LONGEST_REASON
from resolvers import chat_bans, chat_events, chat_moderation
from resolvers.errors import Refused, bad_input
from schema.base import Info, parse_id, typed
from schema.chat import ChatBan, ChatRoom
from schema.errors import (
    AmazonUnavailable,
    ChatSelfBan,
    NotFound,
    NotReady,
    TextInvalid,
    TooManyAttempts,
    members,
)
from subscriptions.bans import is_guest, sender_id

# Source: IVS Chat API reference, DeleteMessage, `id`.
_MESSAGE_ID: Final = re.compile("[a-zA-Z0-9]{12}")
_ACCOUNT: Final = re.compile("[0-9a-f]{32}")

_ROOM = "Id of the chat room, which must be the viewer's."
_USER = "Id of the user, or what the room's socket shows as the sender's `UserId`"
_OTHERS = "UNAUTHENTICATED for guests, FORBIDDEN for all but the room's owner."

ChatMessageDeleteError = Annotated[
    TextInvalid | NotReady | TooManyAttempts | AmazonUnavailable,
    strawberry.union("ChatMessageDeleteError", description="Why a message was not deleted."),
]
ChatUserDisconnectError = Annotated[
    TextInvalid | NotReady | TooManyAttempts | AmazonUnavailable,
    strawberry.union("ChatUserDisconnectError", description="Why a user was not disconnected."),
]
ChatUserBanError = Annotated[
    TextInvalid | ChatSelfBan | NotFound | TooManyAttempts | AmazonUnavailable,
    strawberry.union("ChatUserBanError", description="Why a user was not banned, or not disconnected."),
]
ChatUserUnbanError = Annotated[
    TooManyAttempts, strawberry.union("ChatUserUnbanError", description="Why a user was not let in again.")
]
ChatEventSendError = Annotated[
    TextInvalid | NotReady | TooManyAttempts | AmazonUnavailable,
    strawberry.union("ChatEventSendError", description="Why an event was not sent."),
]


@strawberry.input(description="Which message to hide from everybody.")
class ChatMessageDeleteInput:
    chat_room_id: strawberry.ID = strawberry.field(description=_ROOM)
    ivs_message_id: str = strawberry.field(
        description="Id under which the room's socket showed the message, 12 letters and digits; also "
        "`ChatMessage.ivsMessageId`."
    )
    reason: str | None = strawberry.field(
        default=None, description=f"Reason, which everybody in the room is told; 1 to {LONGEST_REASON} characters."
    )


@strawberry.input(description="Whose connections to close.")
class ChatUserDisconnectInput:
    chat_room_id: strawberry.ID = strawberry.field(description=_ROOM)
    user_id: strawberry.ID = strawberry.field(description=f"{_USER}, a guest's too.")
    reason: str | None = strawberry.field(
        default=None, description=f"Reason, which the user is told; 1 to {LONGEST_REASON} characters."
    )


@strawberry.input(description="Who shall not enter any more.")
class ChatUserBanInput:
    chat_room_id: strawberry.ID = strawberry.field(description=_ROOM)
    user_id: strawberry.ID = strawberry.field(description=f"{_USER}; guests have no account that could be banned.")
    reason: str | None = strawberry.field(
        default=None, description=f"Reason, which the user is told; 1 to {LONGEST_REASON} characters."
    )


@strawberry.input(description="Who may enter again.")
class ChatUserUnbanInput:
    chat_room_id: strawberry.ID = strawberry.field(description=_ROOM)
    user_id: strawberry.ID = strawberry.field(description="Id of the user.")


@strawberry.input(description="Named value of an event.")
class ChatEventAttributeInput:
    key: str = strawberry.field(description="Name, not empty, once per event.")
    value: str = strawberry.field(description="Value.")


@strawberry.input(description="Event for everybody in a chat room.")
class ChatEventSendInput:
    chat_room_id: strawberry.ID = strawberry.field(description=_ROOM)
    event_name: str = strawberry.field(
        description=f"Name, 1 to {chat_events.LONGEST_NAME} characters; those that begin with `aws:` are Amazon's."
    )
    attributes: list[ChatEventAttributeInput] = strawberry.field(
        default_factory=list,
        description=f"Details; keys and values have at most {chat_events.MOST_ATTRIBUTE_BYTES} bytes of UTF-8 in all.",
    )


@strawberry.type(description="Outcome of a deletion.")
class ChatMessageDeletePayload:
    chat_room: ChatRoom | None = strawberry.field(default=None, description="The room; null if there are errors.")
    errors: list[ChatMessageDeleteError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Outcome of a disconnection.")
class ChatUserDisconnectPayload:
    chat_room: ChatRoom | None = strawberry.field(default=None, description="The room; null if there are errors.")
    errors: list[ChatUserDisconnectError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Outcome of a ban.")
class ChatUserBanPayload:
    ban: ChatBan | None = strawberry.field(
        default=None, description="The ban; null if there are errors, even if it stands: see AmazonUnavailable."
    )
    errors: list[ChatUserBanError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Outcome of a ban's end.")
class ChatUserUnbanPayload:
    chat_room: ChatRoom | None = strawberry.field(default=None, description="The room; null if there are errors.")
    errors: list[ChatUserUnbanError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.type(description="Outcome of an event.")
class ChatEventSendPayload:
    event_id: str | None = strawberry.field(
        default=None, description="Id under which the room's socket shows the event; null if there are errors."
    )
    errors: list[ChatEventSendError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Mutations of chat rooms.")
class ChatMutations:
    """What the owner of a chat room does in it."""

    @strawberry.mutation(
        description="Hide a message from everybody, and from `messages`. It need not be there yet: a message comes a "
        f"while after it was said. May be repeated. {_OTHERS}"
    )
    async def chat_message_delete(
        self, info: Info, input: Annotated[ChatMessageDeleteInput, strawberry.argument(description="Which message.")]
    ) -> ChatMessageDeletePayload:
        room_id = _room(input.chat_room_id)
        if not _MESSAGE_ID.fullmatch(input.ivs_message_id):
            raise bad_input("`input.ivsMessageId` is no message's id: it has 12 letters and digits.")
        try:
            room = await chat_moderation.delete_message(info.context, room_id, input.ivs_message_id, input.reason)
        except Refused as refused:
            return ChatMessageDeletePayload(errors=members(refused))
        info.context.renew()
        return ChatMessageDeletePayload(chat_room=typed(ChatRoom, room))

    @strawberry.mutation(
        description="Close all of somebody's connections; nothing keeps that person from entering again. It is no "
        f"failure if there are none. May be repeated. {_OTHERS}"
    )
    async def chat_user_disconnect(
        self, info: Info, input: Annotated[ChatUserDisconnectInput, strawberry.argument(description="Whom.")]
    ) -> ChatUserDisconnectPayload:
        room_id = _room(input.chat_room_id)
        sender = input.user_id if is_guest(input.user_id) else sender_id(_user(input.user_id))
        try:
            room = await chat_moderation.disconnect(info.context, room_id, sender, input.reason)
        except Refused as refused:
            return ChatUserDisconnectPayload(errors=members(refused))
        return ChatUserDisconnectPayload(chat_room=typed(ChatRoom, room))

    @strawberry.mutation(
        description="Keep a user out of the room: no new token, and the connections are closed, those too that begin "
        "with a token from before. With AmazonUnavailable the ban stands, and sending the same mutation again "
        f"disconnects. May be repeated. {_OTHERS}"
    )
    async def chat_user_ban(
        self, info: Info, input: Annotated[ChatUserBanInput, strawberry.argument(description="Whom.")]
    ) -> ChatUserBanPayload:
        room_id, user_id = _room(input.chat_room_id), _user(input.user_id)
        try:
            ban = await chat_bans.ban(info.context, room_id, user_id, input.reason)
        except Refused as refused:
            return ChatUserBanPayload(errors=members(refused))
        info.context.renew()
        return ChatUserBanPayload(ban=typed(ChatBan, ban))

    @strawberry.mutation(description=f"Let a banned user in again; done if there is no ban. May be repeated. {_OTHERS}")
    async def chat_user_unban(
        self, info: Info, input: Annotated[ChatUserUnbanInput, strawberry.argument(description="Whom.")]
    ) -> ChatUserUnbanPayload:
        room_id, user_id = _room(input.chat_room_id), _user(input.user_id)
        try:
            room = await chat_bans.unban(info.context, room_id, user_id)
        except Refused as refused:
            return ChatUserUnbanPayload(errors=members(refused))
        info.context.renew()
        return ChatUserUnbanPayload(chat_room=typed(ChatRoom, room))

    @strawberry.mutation(
        description="Send an event to everybody in the room. Each call sends one: repeat it only if it matters less "
        f"that it comes twice than that it does not come. {_OTHERS}"
    )
    async def chat_event_send(
        self, info: Info, input: Annotated[ChatEventSendInput, strawberry.argument(description="Which event.")]
    ) -> ChatEventSendPayload:
        attributes = [(each.key, each.value) for each in input.attributes]
        try:
            event_id = await chat_events.send(info.context, _room(input.chat_room_id), input.event_name, attributes)
        except Refused as refused:
            return ChatEventSendPayload(errors=members(refused))
        return ChatEventSendPayload(event_id=event_id)


def _room(value: str) -> UUID:
    return parse_id(value, argument="input.chatRoomId", expected="ChatRoom")[1]


def _user(value: str) -> UUID:
    """Return the key of a user, named by a global id or as Amazon names senders."""
    if _ACCOUNT.fullmatch(value):
        return UUID(hex=value)
    return parse_id(value, argument="input.userId", expected="User")[1]
