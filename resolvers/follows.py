"""Following and unfollowing channels."""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from models import Channel, Follow, uuid7
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.errors import NotFound, OwnChannel, Refused

# Source: PostgreSQL, appendix A.
_FOREIGN_KEY_VIOLATION = "23503"
_PATH = ["input", "channelId"]


async def follow(ctx: Context, channel_id: UUID) -> None:
    """Let the viewer follow the channel, which may make its owner a partner; nothing happens if that is so already.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
        Refused: NotFound, or OwnChannel.
    """
    viewer = require_viewer(ctx)
    try:
        async with ctx.services.publisher.transaction() as transaction:
            session = transaction.session
            owner_id = await session.scalar(select(Channel.user_id).where(Channel.id == channel_id))
            if owner_id is None:
                raise _unknown()
            if owner_id == viewer.user_id:
                raise Refused(OwnChannel(message="Nobody follows a channel of their own.", path=_PATH))
            statement = insert(Follow).values(id=uuid7(), user_id=viewer.user_id, channel_id=channel_id)
            fresh = statement.on_conflict_do_nothing(index_elements=[Follow.user_id, Follow.channel_id])
            if (await session.execute(fresh.returning(Follow.id))).first() is not None:
                transaction.user_notified(viewer.user_id)
                await ctx.services.chores.promote(transaction, Channel.id == channel_id)
    except IntegrityError as error:
        # Deleted since we looked, the channel or the viewer.
        if getattr(error.orig, "sqlstate", None) != _FOREIGN_KEY_VIOLATION:
            raise
        raise _unknown() from error


async def unfollow(ctx: Context, channel_id: UUID) -> None:
    """Let the viewer follow the channel no longer; nothing happens if that is so already.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
        Refused: NotFound.
    """
    viewer = require_viewer(ctx)
    async with ctx.services.publisher.transaction() as transaction:
        gone = delete(Follow).where(Follow.user_id == viewer.user_id, Follow.channel_id == channel_id)
        if (await transaction.session.execute(gone.returning(Follow.id))).first() is not None:
            transaction.user_notified(viewer.user_id)
        else:
            known = select(Channel.id).where(Channel.id == channel_id)
            if await transaction.session.scalar(known) is None:
                raise _unknown()


def _unknown() -> Refused:
    return Refused(NotFound(message="There is no such channel.", path=_PATH))
