"""Channels: reads, the watch that subscriptions are made of, and the owner's changes."""

from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy import Text, func, select

from models import Category, Channel, ChatRoom, Follow, Stage, Stream, User, title
from models.paging import Order, Through
from resolvers import naming, policy
from resolvers.context import Context
from resolvers.errors import RequestError, unauthenticated
from resolvers.naming import Naming
from resolvers.reads import Page, Row
from subscriptions import topics
from subscriptions.publish import Transaction

BY_ID = Row(Channel, Channel.id)
BY_NAME = Row(Channel, func.lower(Channel.name, type_=Text))
OWNER = Row(User, User.id, by="user_id")
CATEGORY = Row(Category, Category.id, by="category_id")
CHAT_ROOM = Row(ChatRoom, ChatRoom.user_id, by="user_id")
STAGE = Row(Stage, Stage.user_id, by="user_id")
CURRENT_STREAM = Row(Stream, Stream.id, by="live_stream_id")
VIEWER_FOLLOW = Row(Follow, Follow.channel_id, viewer=Follow.user_id)

NEWEST = Page(Channel, Order("created", (Channel.id,), descending=True))
LIVE = Page(
    Channel,
    Order("live", (Channel.live_since, Channel.id), descending=True),
    where=(Channel.live_stream_id.is_not(None),),
)
OFFLINE = Page(Channel, NEWEST.order, where=(Channel.live_stream_id.is_(None),))
STREAMS = Page(
    Stream,
    Order("started", (Stream.started_at, Stream.id), descending=True),
    key=Stream.channel_id,
    where=(Stream.started_at.is_not(None),),
)


def followed(order: Order) -> Page:
    """Return the list of the channels that a user follows."""
    return Page(Channel, order, key=Follow.user_id, through=Through(Follow, Follow.channel_id == Channel.id))


def listed(*, is_live: bool | None) -> Page:
    """Return the list of live, offline or all channels."""
    return NEWEST if is_live is None else LIVE if is_live else OFFLINE


def stream_key(ctx: Context, channel: Channel) -> str | None:
    """Return the secret with which the owner's encoder signs in; null until the channel is ready."""
    if channel.stream_key_sealed is None:
        return None
    return ctx.services.vault.open(channel.stream_key_sealed, row_id=channel.id)


async def managed(ctx: Context, channel_id: UUID) -> Channel:
    """Return a channel that the viewer owns.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' and for unknown channels.
    """
    if ctx.viewer is None:
        raise unauthenticated()
    channel: Channel | None = await ctx.reads.row(BY_ID, channel_id)
    if channel is None or not policy.owns(ctx.viewer, channel):
        raise forbidden()
    return channel


async def locked(transaction: Transaction, channel_id: UUID) -> Channel:
    """Return the viewer's channel as it is now and stays until the commit.

    Raises:
        RequestError: FORBIDDEN if it was deleted since it was read.
    """
    found = select(Channel).where(Channel.id == channel_id).with_for_update(key_share=True)
    channel = (await transaction.session.execute(found)).scalar_one_or_none()
    if channel is None:
        raise forbidden()
    return channel


def forbidden() -> RequestError:
    """Return the error for a channel, or a part of one, that is another's or that there is not."""
    return RequestError("FORBIDDEN", "The channel is not yours.")


async def update(ctx: Context, channel_id: UUID, wanted: Naming) -> None:
    """Change title and category of the viewer's channel, and of the stream that is live on it.

    Raises:
        RequestError: UNAUTHENTICATED, FORBIDDEN.
        Refused: TextInvalid, NotFound for the category.
    """
    await managed(ctx, channel_id)
    names = await naming.checked(ctx, wanted)
    async with ctx.services.publisher.transaction() as transaction:
        channel = await locked(transaction, channel_id)
        if any(getattr(channel, column) != value for column, value in names.items()):
            await title.keep(transaction.session, channel)
            former = channel.category_id
            for column, value in names.items():
                setattr(channel, column, value)
            transaction.channel_changed(channel_id)
            if channel.is_live:
                transaction.directory_changed(former, channel.category_id)
        if channel.live_stream_id is not None:
            await naming.name_stream(transaction, channel, channel.live_stream_id, names)


async def changes(ctx: Context, channel_id: UUID) -> AsyncIterator[Channel]:
    """Yield the channel as it is now, and again after changes; end when it is deleted. Several changes may be one.

    Raises:
        RequestError: BAD_INPUT if there is no such channel to begin with.
    """
    known = False
    with ctx.listen(topics.channel(channel_id)) as listener:
        async for _ in listener.changes():
            ctx.renew()
            channel: Channel | None = await ctx.reads.row(BY_ID, channel_id)
            if channel is None and not known:
                raise RequestError("BAD_INPUT", "`channelId` is no channel's id.")
            if channel is None:
                return
            known = True
            yield channel
