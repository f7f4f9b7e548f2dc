"""Recordings: reads, where they can be played, and their deletion."""

import enum
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select

from models import Channel, Recording, RecordingDeletion, RecordingState, Stream
from models.paging import Order
from models.recording import bury
from resolvers import auth, policy
from resolvers.context import Context
from resolvers.errors import RecordingInProgress, Refused, RequestError
from resolvers.reads import Page, Row


class RecordingOrder(enum.StrEnum):
    """Orders in which recordings are listed."""

    NEWEST = "NEWEST"
    LONGEST = "LONGEST"


BY_ID = Row(Recording, Recording.id)
CHANNEL = Row(Channel, Channel.id, by="channel_id")
# Amazon merges at most 20 streams into one recording.
MOST_STREAMS = 100
STREAMS = Page(Stream, Order("seen", (Stream.first_seen_at, Stream.id)), key=Stream.recording_id)

# The same for everybody: what failed is told to its owner by the events of the stream.
_READY = (Recording.state == RecordingState.READY,)
_ORDERS = {
    RecordingOrder.NEWEST: Order("ended", (Recording.ended_at, Recording.id), descending=True),
    RecordingOrder.LONGEST: Order("longest", (Recording.duration_ms, Recording.id), descending=True),
}
_ALL = {order: Page(Recording, columns, where=_READY) for order, columns in _ORDERS.items()}
OF_CHANNEL = Page(Recording, _ORDERS[RecordingOrder.NEWEST], key=Recording.channel_id, where=_READY)


def listed(order: RecordingOrder, *, channel_id: UUID | None = None, category_id: UUID | None = None) -> Page:
    """Return the list of recordings that can be watched, of one channel or category if given."""
    where: list[ColumnElement[bool]] = []
    if channel_id is not None:
        where.append(Recording.channel_id == channel_id)
    if category_id is not None:
        # Not a join: a recording of several streams is listed once.
        where.append(exists().where(Stream.recording_id == Recording.id, Stream.category_id == category_id))
    return Page(Recording, _ORDERS[order], where=(*_READY, *where)) if where else _ALL[order]


def playback_url(ctx: Context, recording: Recording) -> str | None:
    """Return where the recording can be played; null until its own metadata said so."""
    return _published(ctx, recording, recording.playlist_key)


def thumbnail_url(ctx: Context, recording: Recording) -> str | None:
    """Return where a picture of the recording is; null unless there is one."""
    return _published(ctx, recording, recording.thumbnail_key)


def path(recording: Recording) -> str | None:
    """Return where the recording's files are below the address of all recordings; null unless they are offered."""
    return recording.prefix if recording.state is RecordingState.READY else None


def _published(ctx: Context, recording: Recording, key: str | None) -> str | None:
    base = ctx.services.recordings_cdn_url
    if base is None or key is None or recording.state is not RecordingState.READY:
        return None
    return f"{base.rstrip('/')}/{quote(key)}"


async def remove(ctx: Context, recording_id: UUID) -> Channel:
    """Delete a recording of the viewer's channel: hidden at once, its files by a job. Repeatable.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' and for unknown recordings.
        Refused: RecordingInProgress.
    """
    viewer = auth.require_viewer(ctx)
    async with ctx.services.publisher.transaction() as transaction:
        session = transaction.session
        # The lock under which events are applied: one that comes late finds either the recording or its deletion.
        mine = select(Channel).where(Channel.id == viewer.channel_id).with_for_update()
        channel = (await session.execute(mine)).scalar_one_or_none()
        recording = await session.get(Recording, recording_id)
        gone = await session.get(RecordingDeletion, recording_id)
        if channel is not None and gone is not None and gone.channel_id == channel.id:
            return channel
        if channel is None or recording is None or not policy.broadcast(viewer, recording):
            raise RequestError("FORBIDDEN", "The recording is not yours.")
        if recording.state is RecordingState.RECORDING:
            raise Refused(
                RecordingInProgress(
                    message="The recording is not over; delete it when it is.", path=["input", "recordingId"]
                )
            )
        await bury(session, Recording.id == recording.id)
        transaction.channel_changed(channel.id)
    return channel
