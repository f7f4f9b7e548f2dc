"""Bans from chat rooms."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from ivs import chat
from models import ChatBan, ChatRoom, User, uuid7
from resolvers import amazon, chat_limits, chat_moderation, chat_rooms
from resolvers.context import Context
from resolvers.errors import ChatSelfBan, NotFound, Refused
from resolvers.reads import Row
from subscriptions import bans

ROOM = Row(ChatRoom, ChatRoom.id, by="chat_room_id")
USER = Row(User, User.id, by="user_id")


async def ban(ctx: Context, room_id: UUID, user_id: UUID, reason: str | None) -> ChatBan:
    """Keep a user out of the viewer's room: no new token, and no connection.

    The row comes first: whatever becomes of the call to Amazon, the user gets no other token, and a worker
    disconnects once more when the tokens given out before have expired.

    Raises:
        RequestError: See `chat_rooms.managed`.
        Refused: TextInvalid, ChatSelfBan, NotFound or TooManyAttempts, and nothing has changed; or AmazonUnavailable
            or TooManyAttempts for the whole installation, and the ban stands.
    """
    room = await chat_rooms.managed(ctx, room_id)
    problems = chat_moderation.reason_faults(reason)
    if user_id == room.user_id:
        problems.append(ChatSelfBan(message="A room's owner cannot be banned from it.", path=["input", "userId"]))
    elif await ctx.reads.row(USER, user_id) is None:
        problems.append(_unknown())
    if problems:
        raise Refused(*problems)
    await chat_limits.count_action(ctx)
    row = await _write(ctx, room, user_id, reason)
    if room.arn is not None:
        await chat_limits.count_call(ctx, chat_limits.DISCONNECTIONS)
        with amazon.asked("The user is banned, and may stay connected until the same mutation is sent again."):
            await chat.disconnect(ctx.services.aws, room.arn, bans.sender_id(user_id), reason)
    return row


async def unban(ctx: Context, room_id: UUID, user_id: UUID) -> ChatRoom:
    """Let a user into the viewer's room again; done if there is no ban.

    Raises:
        RequestError: See `chat_rooms.managed`.
        Refused: TooManyAttempts.
    """
    room = await chat_rooms.managed(ctx, room_id)
    await chat_limits.count_action(ctx)
    async with ctx.services.publisher.transaction() as transaction:
        this = (ChatBan.chat_room_id == room.id, ChatBan.user_id == user_id)
        await transaction.session.execute(delete(ChatBan).where(*this))
    return room


async def _write(ctx: Context, room: ChatRoom, user_id: UUID, reason: str | None) -> ChatBan:
    async with ctx.services.publisher.transaction() as transaction:
        # Locked, so that an account that is deleted right now is no fault of ours.
        there = select(User.id).where(User.id == user_id).with_for_update(key_share=True, read=True)
        if await transaction.session.scalar(there) is None:
            raise Refused(_unknown())
        values: dict[str, Any] = {"reason": reason, "enforce_after": bans.tokens_expire()}
        added = insert(ChatBan).values(id=uuid7(), chat_room_id=room.id, user_id=user_id, **values)
        # Of a ban that stands already, a reason is only ever replaced by another.
        values["reason"] = func.coalesce(added.excluded.reason, ChatBan.reason)
        written = added.on_conflict_do_update(index_elements=[ChatBan.chat_room_id, ChatBan.user_id], set_=values)
        row: ChatBan = (await transaction.session.execute(written.returning(ChatBan))).scalar_one()
    return row


def _unknown() -> NotFound:
    return NotFound(message="There is no such user.", path=["input", "userId"])
