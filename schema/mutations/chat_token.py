"""The way into a chat room."""

from datetime import datetime
from typing import Annotated

import strawberry

from resolvers import chat_tokens
from resolvers.errors import Refused
from schema.base import Info, parse_id, secret, typed
from schema.chat import ChatRoom
from schema.enums import ChatCapability
from schema.errors import AmazonUnavailable, ChatBanned, NotFound, NotReady, TextInvalid, TooManyAttempts, members

ChatTokenCreateError = Annotated[
    NotFound | TextInvalid | ChatBanned | NotReady | TooManyAttempts | AmazonUnavailable,
    strawberry.union("ChatTokenCreateError", description="Why nobody was admitted."),
]


@strawberry.input(description="Which chat room to enter.")
class ChatTokenCreateInput:
    chat_room_id: strawberry.ID = strawberry.field(description="Id of the chat room.")
    guest_name: str | None = strawberry.field(
        default=None,
        description="Name to show beside a guest's messages, "
        f"1 to {chat_tokens.LONGEST_GUEST_NAME} characters without blanks round it; `Guest` if absent. "
        "Signed-in users have theirs.",
    )


@strawberry.type(description="Way into a chat room, or errors.")
class ChatTokenCreatePayload:
    chat_room: ChatRoom | None = strawberry.field(
        default=None, description="The room, whose `endpoint` takes the token; null if there are errors."
    )
    token: str | None = secret(
        default=None, description="Secret for one connection, which a second one needs anew; null if there are errors."
    )
    token_expires_at: datetime | None = strawberry.field(
        default=None, description="When the connection must have begun, about a minute from now; null with errors."
    )
    session_expires_at: datetime | None = strawberry.field(
        default=None, description="When Amazon ends the connection; null if there are errors."
    )
    capabilities: list[ChatCapability] | None = strawberry.field(
        default=None, description="What the viewer may do besides reading; null if there are errors."
    )
    errors: list[ChatTokenCreateError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Mutations that open chat rooms.")
class ChatTokenMutations:
    """The way into a chat room."""

    @strawberry.mutation(
        description="Admit the viewer to a chat room: owners moderate, signed-in users write, guests do what the "
        "service allows them. One token opens one connection. UNAUTHENTICATED for guests where they may not even read."
    )
    async def chat_token_create(
        self, info: Info, input: Annotated[ChatTokenCreateInput, strawberry.argument(description="Which room.")]
    ) -> ChatTokenCreatePayload:
        _, room_id = parse_id(input.chat_room_id, argument="input.chatRoomId", expected="ChatRoom")
        try:
            admitted = await chat_tokens.create(info.context, room_id, input.guest_name)
        except Refused as refused:
            return ChatTokenCreatePayload(errors=members(refused))
        return ChatTokenCreatePayload(
            chat_room=typed(ChatRoom, admitted.room),
            token=admitted.token,
            token_expires_at=admitted.expires_at,
            session_expires_at=admitted.session_expires_at,
            capabilities=[ChatCapability(each) for each in admitted.capabilities],
        )
