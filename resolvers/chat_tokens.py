"""Chat tokens: who may enter a room, and what for."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ivs import chat
from ivs.chat_logs import DISPLAY_NAME
from models import ChatBan, ChatRoom, User
from resolvers import amazon, chat_limits, chat_rooms, policy, texts, users
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.errors import ChatBanned, NotFound, Problem, Refused, unauthenticated
from resolvers.policy import Capability
from subscriptions import bans

LONGEST_GUEST_NAME = 30
_GUEST = "Guest"


@dataclass(frozen=True, slots=True)
class Admission:
    """A way into a room: a token for one connection, and what it allows besides reading."""

    room: ChatRoom
    capabilities: tuple[Capability, ...]
    token: str = field(repr=False)
    expires_at: datetime
    session_expires_at: datetime


async def create(ctx: Context, room_id: UUID, guest_name: str | None) -> Admission:
    """Admit the viewer to a room.

    Raises:
        RequestError: UNAUTHENTICATED for guests where guests may not even read.
        Refused: NotFound, TextInvalid, ChatBanned, NotReady, TooManyAttempts or AmazonUnavailable.
    """
    rules = ctx.services.chat_rules
    if rules.guests == "none":
        require_viewer(ctx)
    room: ChatRoom | None = await ctx.reads.row(chat_rooms.BY_ID, room_id)
    problems: list[Problem] = []
    if room is None:
        problems.append(NotFound(message="There is no such chat room.", path=["input", "chatRoomId"]))
    name = None if guest_name is None else guest_name.strip()
    if name is not None:
        problems += texts.problems(name, "A name", ["input", "guestName"], least=1, most=LONGEST_GUEST_NAME)
    if room is None or problems:
        raise Refused(*problems)
    await _refuse_banned(ctx, room)
    arn = chat_rooms.ready_arn(room)
    sender_id, display_name = await _sender(ctx, name)
    await chat_limits.count_token(ctx)
    capabilities = policy.chat_capabilities(ctx.viewer, room, rules.guests)
    with amazon.asked("Amazon gave no token; send the same mutation again."):
        token = await chat.create_token(
            ctx.services.aws,
            arn,
            user_id=sender_id,
            capabilities=capabilities,
            attributes={DISPLAY_NAME: display_name, "isGuest": str(ctx.viewer is None).lower()},
            session_minutes=rules.session_minutes,
        )
    # Who was banned while Amazon was asked does not get what it answered.
    ctx.renew()
    await _refuse_banned(ctx, room)
    return Admission(room, capabilities, token.value, token.expires_at, token.session_expires_at)


async def _refuse_banned(ctx: Context, room: ChatRoom) -> None:
    ban: ChatBan | None = await ctx.reads.row(chat_rooms.VIEWER_BAN, room.id)
    if ban is not None:
        raise Refused(
            ChatBanned(message="You are banned from this room.", path=["input", "chatRoomId"], reason=ban.reason)
        )


async def _sender(ctx: Context, guest_name: str | None) -> tuple[str, str]:
    """Return Amazon's id of the viewer, the same at each connection of an account, and the name to show."""
    if ctx.viewer is None:
        return bans.guest_id(), guest_name or _GUEST
    user: User | None = await ctx.reads.row(users.BY_ID, ctx.viewer.user_id)
    if user is None:
        raise unauthenticated()
    return bans.sender_id(user.id), user.username
