"""What happened to streams, in words for their owner, and the watch that a subscription is made of."""

import enum
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from models import Channel, ReceivedEvent, Stream, timeline
from resolvers import channels
from resolvers.context import Context
from subscriptions import topics


class StreamEventType(enum.StrEnum):
    """Kinds of events, by Amazon's words for them."""

    SESSION_CREATED = "Session Created"
    STREAM_START = "Stream Start"
    STREAM_END = "Stream End"
    SESSION_ENDED = "Session Ended"
    STREAM_FAILURE = "Stream Failure"
    STREAM_TAKEOVER = "Stream Takeover"
    STREAM_TAKEOVER_FAILURE = "Stream Takeover Failure"
    STARVATION_START = "Starvation Start"
    STARVATION_END = "Starvation End"
    AD_BREAK_INSERTED = "Ad Break Inserted"
    LIMIT_BREACH = "IVS Limit Breach"
    RECORDING_START = "Recording Start"
    RECORDING_END = "Recording End"
    RECORDING_START_FAILURE = "Recording Start Failure"
    RECORDING_END_FAILURE = "Recording End Failure"


_PLAIN: Final[Mapping[StreamEventType, str]] = {
    StreamEventType.SESSION_CREATED: "The encoder has connected.",
    StreamEventType.STREAM_START: "The stream can be watched.",
    StreamEventType.STREAM_END: "The stream is over for viewers.",
    StreamEventType.SESSION_ENDED: "The encoder has disconnected.",
    StreamEventType.STREAM_FAILURE: "Amazon could not process the stream.",
    StreamEventType.STREAM_TAKEOVER: "Another encoder has taken over; the stream goes on.",
    StreamEventType.STREAM_TAKEOVER_FAILURE: "Another encoder was refused to take over; the stream goes on.",
    StreamEventType.STARVATION_START: "No data arrives from the encoder; viewers see a frozen picture.",
    StreamEventType.STARVATION_END: "Data arrives from the encoder again.",
    StreamEventType.AD_BREAK_INSERTED: "A break for advertisements was inserted.",
    StreamEventType.LIMIT_BREACH: "The encoder exceeds a limit and will probably be disconnected.",
    StreamEventType.RECORDING_START: "The stream is being recorded.",
    StreamEventType.RECORDING_END: "The recording is complete.",
    StreamEventType.RECORDING_START_FAILURE: "The stream could not be recorded; it is not affected itself.",
    StreamEventType.RECORDING_END_FAILURE: "The recording failed and is not offered.",
}
# Source: IVS Low-Latency API Reference, "StreamEvent".
_CODES: Final[Mapping[str, str]] = {
    "MultitrackInputNotAllowed": "Amazon refused the encoder: the channel does not take multitrack video.",
    "MultitrackInputRequired": "Amazon refused the encoder: the channel takes nothing but multitrack video.",
    "InvalidGetClientConfigurationStreamKey": "Amazon refused the encoder: multitrack video needs the stream key that "
    "Amazon configured the encoder with.",
    "GetClientConfigurationStreamKeyRequired": "Amazon refused the encoder: multitrack video needs a stream key that "
    "Amazon configures the encoder with.",
    "InvalidMultitrackInputTrackCount": "Amazon refused the encoder: it sends a wrong number of tracks.",
    "InvalidMultitrackInputVideoTrackMediaProperties": "Amazon refused the encoder: its video tracks are not as they "
    "were configured.",
    "StreamTakeoverMediaMismatch": "Another encoder was refused to take over, because it sends other media.",
    "StreamTakeoverInvalidPriority": "Another encoder was refused to take over, because its priority is not higher.",
    "StreamTakeoverLimitBreached": "Another encoder was refused to take over: the stream was taken over too often.",
}
_SHOWN: Final = 20
_BATCH: Final = 100


def kind(event: ReceivedEvent) -> StreamEventType:
    """Return what happened."""
    if event.detail_type == StreamEventType.LIMIT_BREACH:
        return StreamEventType.LIMIT_BREACH
    # Of recordings there is a status, and no name.
    recording = event.detail_type == "IVS Recording State Change"
    return StreamEventType(_detail(event)["recording_status" if recording else "event_name"])


def name(event: ReceivedEvent) -> str:
    """Return Amazon's name for it; of a limit the limit's name."""
    return str(_detail(event)["limit_name"]) if kind(event) is StreamEventType.LIMIT_BREACH else kind(event).value


def code(event: ReceivedEvent) -> str | None:
    """Return Amazon's code, if it gave one."""
    detail = _detail(event)
    return str(detail.get("code") or detail.get("recording_status_reason") or "") or None


def message(event: ReceivedEvent) -> str:
    """Return a sentence for the owner."""
    what, detail = kind(event), _detail(event)
    if what is StreamEventType.LIMIT_BREACH:
        value, exceeded_by, unit = limit_value(event), limit_exceeded_by(event), limit_unit(event) or ""
        figures = "" if value is None else f": at most {value:,.0f} {unit}".rstrip()
        more = "" if value is None or exceeded_by is None else f", {exceeded_by:,.0f} more were sent"
        return f"{name(event)} exceeds Amazon's limit{figures}{more}. The encoder will probably be disconnected."
    if what is StreamEventType.AD_BREAK_INSERTED and (seconds := _number(event, "duration_seconds")) is not None:
        return f"A break of {seconds:,.0f} seconds for advertisements was inserted."
    if what is StreamEventType.STREAM_FAILURE and isinstance(detail.get("reason"), str):
        return f"{_PLAIN[what]} It says: {detail['reason']}"
    return _CODES.get(code(event) or "", _PLAIN[what])


def limit_value(event: ReceivedEvent) -> float | None:
    """Return the limit that was exceeded."""
    return _number(event, "limit_value")


def limit_exceeded_by(event: ReceivedEvent) -> float | None:
    """Return by how much."""
    return _number(event, "exceeded_by")


def limit_unit(event: ReceivedEvent) -> str | None:
    """Return in which unit."""
    unit = _detail(event).get("limit_unit")
    return unit if isinstance(unit, str) and unit else None


def _detail(event: ReceivedEvent) -> dict[str, Any]:
    detail: dict[str, Any] = event.body["detail"]
    return detail


def _number(event: ReceivedEvent, member: str) -> float | None:
    value = _detail(event).get(member)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


async def watch(ctx: Context, channel_id: UUID) -> AsyncIterator[ReceivedEvent]:
    """Yield the newest events of the channel's current or last stream, then each new one of the channel.

    None is left out, however slow the client is: what it has not taken yet stays in the database. Ends when the channel
    is deleted.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' and for unknown channels.
    """
    channel = await channels.managed(ctx, channel_id)
    seen: int | None = None
    with ctx.listen(topics.stream_events(channel_id), topics.channel(channel_id)) as listener:
        async for _ in listener.changes():
            ctx.renew()
            if await ctx.reads.row(channels.BY_ID, channel_id) is None:
                return
            if seen is None:
                seen, events = await _present(ctx, channel)
                for event in events:
                    yield event
            while events := await _after(ctx, channel_id, seen):
                for event in events:
                    seen = event.position
                    yield event


async def _present(ctx: Context, channel: Channel) -> tuple[int, list[ReceivedEvent]]:
    """Return how far the journal goes, and the newest events of one stream so far, in the order of their times."""
    last = (
        select(Stream.ivs_stream_id)
        .where(Stream.channel_id == channel.id)
        # A stream that never started is the last one too, if nothing came after it.
        .order_by(func.coalesce(Stream.started_at, Stream.first_seen_at).desc(), Stream.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    of_channel = ReceivedEvent.channel_id == channel.id
    async with ctx.services.read_sessions() as session:
        end = await session.scalar(select(func.max(ReceivedEvent.position)).where(of_channel)) or 0
        newest = (
            select(ReceivedEvent)
            .where(of_channel, ReceivedEvent.ivs_stream_id == last, ReceivedEvent.position <= end, timeline.SHOWN)
            .order_by(ReceivedEvent.occurred_at.desc(), ReceivedEvent.position.desc())
            .limit(_SHOWN)
        )
        events = list((await session.execute(newest)).scalars())
    return end, events[::-1]


async def _after(ctx: Context, channel_id: UUID, position: int) -> list[ReceivedEvent]:
    statement = (
        select(ReceivedEvent)
        .where(ReceivedEvent.channel_id == channel_id, ReceivedEvent.position > position, timeline.NEWS)
        .order_by(ReceivedEvent.position)
        .limit(_BATCH)
    )
    async with ctx.services.read_sessions() as session:
        return list((await session.execute(statement)).scalars())
