"""Chat messages: reads."""

from datetime import timedelta
from typing import Final

from models import ChatMessage, ChatRoom, Stream, User
from models.paging import Order
from resolvers.reads import Row

BY_ID = Row(ChatMessage, ChatMessage.id)
ROOM = Row(ChatRoom, ChatRoom.id, by="chat_room_id")
STREAM = Row(Stream, Stream.id, by="stream_id")
SENDER = Row(User, User.id, by="user_id")
# A log is read from its beginning; who wants the newest asks for the `last` ones.
SENT = Order("sent", (ChatMessage.sent_at, ChatMessage.id))

# GraphQL's Int has 32 bits.
_LARGEST_INT: Final = 2**31 - 1


def offset_ms(message: ChatMessage, stream: Stream) -> int | None:
    """Return when the message was sent, from the stream's start; null before viewers could watch."""
    if stream.started_at is None:
        return None
    offset = (message.sent_at - stream.started_at) // timedelta(milliseconds=1)
    return min(max(offset, 0), _LARGEST_INT)
