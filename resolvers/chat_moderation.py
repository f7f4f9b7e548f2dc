"""What the owner of a chat room does to messages and connections."""

from uuid import UUID

from ivs import chat
from models import ChatRoom
from models import chat as messages
from models.chat import LONGEST_REASON
from resolvers import amazon, chat_limits, chat_rooms, texts
from resolvers.context import Context
from resolvers.errors import Problem, Refused


def reason_faults(reason: str | None) -> list[Problem]:
    """Return what is wrong with an optional reason."""
    if reason is None:
        return []
    return [*texts.problems(reason, "A reason", ["input", "reason"], least=1, most=LONGEST_REASON)]


async def disconnect(ctx: Context, room_id: UUID, sender_id: str, reason: str | None) -> ChatRoom:
    """Close all connections of a user, or guest, to the viewer's room; `sender_id` is Amazon's id of that person.

    Raises:
        RequestError: See `chat_rooms.managed`.
        Refused: TextInvalid, NotReady, TooManyAttempts or AmazonUnavailable.
    """
    room = await chat_rooms.managed(ctx, room_id)
    problems = reason_faults(reason)
    if problems:
        raise Refused(*problems)
    arn = chat_rooms.ready_arn(room)
    await chat_limits.count_action(ctx, chat_limits.DISCONNECTIONS)
    with amazon.asked("Amazon did not disconnect the user; send the same mutation again."):
        await chat.disconnect(ctx.services.aws, arn, sender_id, reason)
    return room


async def delete_message(ctx: Context, room_id: UUID, ivs_message_id: str, reason: str | None) -> ChatRoom:
    """Hide a message from everybody in the viewer's room, and forget it if it is kept already.

    Amazon first: when it refuses, everybody in the room still sees the message, and so do those who read it here.

    Raises:
        RequestError: See `chat_rooms.managed`.
        Refused: TextInvalid, NotReady, TooManyAttempts or AmazonUnavailable.
    """
    room = await chat_rooms.managed(ctx, room_id)
    problems = reason_faults(reason)
    if problems:
        raise Refused(*problems)
    arn = chat_rooms.ready_arn(room)
    await chat_limits.count_action(ctx, chat_limits.DELETIONS)
    with amazon.asked("Amazon did not delete the message; send the same mutation again."):
        await chat.delete_message(ctx.services.aws, arn, ivs_message_id, reason)
    async with ctx.services.publisher.transaction() as transaction:
        await messages.forget(transaction.session, room.id, [ivs_message_id])
    return room
