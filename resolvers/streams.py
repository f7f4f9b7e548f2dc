"""Streams: reads, and the owner's changes."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal, select
from sqlalchemy.dialects.postgresql import INTERVAL

from models import Category, Channel, ChatMessage, ReceivedEvent, Recording, Stream, timeline
from models.paging import Order, Through
from resolvers import channels, chat_messages, naming
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.naming import Naming
from resolvers.reads import Page, Row


def _from_offset(stream_id: ColumnElement[Any], offset_ms: int) -> ColumnElement[bool]:
    # Of the parent's key and not of the message's stream: then the index is entered at the moment itself.
    start = select(Stream.started_at).where(Stream.id == stream_id).correlate_except(Stream).scalar_subquery()
    return ChatMessage.sent_at >= start + literal(timedelta(milliseconds=offset_ms), INTERVAL)


BY_ID = Row(Stream, Stream.id)
CHANNEL = Row(Channel, Channel.id, by="channel_id")
CATEGORY = Row(Category, Category.id, by="category_id")
RECORDING = Row(Recording, Recording.id, by="recording_id")
# The journal knows streams by Amazon's id, which is unique only within a channel.
EVENTS = Page(
    ReceivedEvent,
    Order("occurred", (ReceivedEvent.occurred_at, ReceivedEvent.position)),
    key=Stream.id,
    through=Through(
        Stream,
        and_(Stream.channel_id == ReceivedEvent.channel_id, Stream.ivs_stream_id == ReceivedEvent.ivs_stream_id),
    ),
    where=(timeline.SHOWN,),
)
CHAT_MESSAGES = Page(
    ChatMessage, chat_messages.SENT, key=ChatMessage.stream_id, narrowings={"from_offset": _from_offset}
)


async def update(ctx: Context, stream_id: UUID, wanted: Naming) -> None:
    """Change title and category of a stream on the viewer's channel, live or over.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for streams on others' channels and for unknown ones.
        Refused: TextInvalid, NotFound for the category.
    """
    require_viewer(ctx)
    stream: Stream | None = await ctx.reads.row(BY_ID, stream_id)
    if stream is None:
        raise channels.forbidden()
    await channels.managed(ctx, stream.channel_id)
    names = await naming.checked(ctx, wanted)
    async with ctx.services.publisher.transaction() as transaction:
        channel = await channels.locked(transaction, stream.channel_id)
        await naming.name_stream(transaction, channel, stream_id, names)
