"""Watching the audience: the present number first, then changes, never more often than a reader can use."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from models import Channel
from resolvers import channels, live_stats
from resolvers.context import Context
from resolvers.errors import RequestError
from resolvers.live_stats import Stats
from subscriptions import topics

# Seconds between two frames of one subscriber.
SHORTEST_PAUSE: Final = 1.0


def current(channel: Channel) -> int:
    """Return the number of present viewers: 0 when offline."""
    return channel.viewer_count if channel.is_live else 0


async def counts(ctx: Context, channel_id: UUID) -> AsyncIterator[Channel]:
    """Yield the channel at once, then whenever its number of viewers is another; end when it is deleted.

    Raises:
        RequestError: BAD_INPUT if there is no such channel to begin with.
    """
    shown: int | None = None
    with ctx.listen(topics.viewers(channel_id), topics.channel(channel_id)) as listener:
        async for _ in listener.changes():
            ctx.renew()
            channel: Channel | None = await ctx.reads.row(channels.BY_ID, channel_id)
            if channel is None:
                if shown is None:
                    raise RequestError("BAD_INPUT", "`channelId` is no channel's id.")
                return
            if current(channel) != shown or listener.asked:
                if not listener.early:
                    shown = current(channel)
                yield channel
                # Changes of this time are one flag, and what is read after it is the newest.
                await listener.rest(SHORTEST_PAUSE)


async def stats(ctx: Context, channel_id: UUID) -> AsyncIterator[Stats]:
    """Yield the statistics of the viewer's channel at once, every few seconds while it is live, and at its end.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' and for unknown channels.
    """
    channel: Channel | None = await channels.managed(ctx, channel_id)
    interval = ctx.services.playback.stats_interval
    loop = asyncio.get_running_loop()
    ended = False
    with ctx.listen(topics.channel(channel_id)) as listener:
        timer: asyncio.TimerHandle | None = None
        try:
            async for _ in listener.changes():
                if timer is not None:
                    timer.cancel()
                began = loop.time()
                ctx.renew()
                channel = await ctx.reads.row(channels.BY_ID, channel_id)
                if channel is None:
                    return
                stream = (
                    await ctx.reads.row(channels.CURRENT_STREAM, channel.live_stream_id) if channel.is_live else None
                )
                if stream is None and ended:
                    # The timer may have looked between the end's commit and its notice, which is no news then.
                    if not listener.asked:
                        continue
                    listener.early = True
                ended = stream is None
                yield await live_stats.of_stream(ctx, stream)
                await listener.rest(min(SHORTEST_PAUSE, interval))
                timer = loop.call_at(began + interval, listener.wake) if stream is not None else None
        finally:
            if timer is not None:
                timer.cancel()
