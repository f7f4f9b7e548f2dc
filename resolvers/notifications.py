"""What a signed-in viewer is told without asking about anything in particular.

Nothing is written per follower when a channel goes live: one notice on the channel's own topic is all, however many
follow it. Each subscription listens to the topics of the channels that its viewer follows (an entry per channel in the
hub of this process), and reads for itself when it hears one. So going live costs the writer the same for any number of
followers, and a process only the reads of those of them who are connected to it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select

from models import Channel, Follow, JoinRequestState, Stage, StageJoinRequest, StageToken
from models.paging import Order, Through
from resolvers import stages
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.cursors import LARGEST_PAGE, Slice
from resolvers.reads import Page
from subscriptions import topics

# The newest of each kind; more are read when these have gone.
MOST: Final = LARGEST_PAGE
_REMEMBERED: Final = 10 * MOST

FOLLOWED_LIVE = Page(
    Channel,
    Order("live", (Channel.live_since, Channel.id), descending=True),
    key=Follow.user_id,
    where=(Channel.live_stream_id.is_not(None),),
    through=Through(Follow, Follow.channel_id == Channel.id),
)
ASKED = Page(
    StageJoinRequest,
    Order("asked", (StageJoinRequest.asked_at, StageJoinRequest.id), descending=True),
    key=Stage.user_id,
    where=(StageJoinRequest.state == JoinRequestState.OPEN,),
    through=Through(Stage, Stage.id == StageJoinRequest.stage_id),
)

Notification = Channel | StageToken | StageJoinRequest
_Told = tuple[str, UUID, UUID | str | datetime | None]


async def news(ctx: Context) -> AsyncIterator[Notification]:
    """Yield what waits for the viewer now, oldest first, then whatever is new, each once.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
    """
    viewer = require_viewer(ctx)
    ctx.every_event_counts = True
    hub, own = ctx.services.hub, topics.user(viewer.user_id)
    told: OrderedDict[_Told, None] = OrderedDict()
    with ctx.listen(own) as listener:
        async for _ in listener.changes():
            followed = await _followed(ctx, viewer.user_id)
            # Before the channels are read, so that none can go live unheard in between.
            hub.retune(listener, [own, *(topics.channel_live(channel_id) for channel_id in followed)])
            for one in _untold(told, await _present(ctx, viewer.user_id)):
                ctx.renew()
                yield one


async def _followed(ctx: Context, user_id: UUID) -> Iterable[UUID]:
    async with ctx.services.read_sessions() as session:
        return (await session.execute(select(Follow.channel_id).where(Follow.user_id == user_id))).scalars().all()


async def _present(ctx: Context, user_id: UUID) -> list[Notification]:
    """Return all that is so now, oldest first within its kind."""
    ctx.renew()
    newest = Slice(first=MOST)
    pages = await asyncio.gather(
        ctx.reads.page_of(stages.INVITATIONS, newest, user_id),
        ctx.reads.page_of(ASKED, newest, user_id),
        ctx.reads.page_of(FOLLOWED_LIVE, newest, user_id),
    )
    return [row for page in pages for row in reversed(page.rows)]


def _untold(told: "OrderedDict[_Told, None]", present: Iterable[Notification]) -> list[Notification]:
    """Return what the subscription has not told yet, and remember it; the longest unseen is forgotten first."""
    fresh = []
    for row in present:
        mark = _mark(row)
        if mark not in told:
            fresh.append(row)
        told[mark] = None
        told.move_to_end(mark)
    while len(told) > _REMEMBERED:
        told.popitem(last=False)
    return fresh


def _mark(row: Notification) -> _Told:
    """Return what makes it news: a renewed invitation, a repeated request and the next stream are news again."""
    if isinstance(row, Channel):
        return "live", row.id, row.live_stream_id
    if isinstance(row, StageToken):
        return "invited", row.id, row.participant_id
    return "asked", row.id, row.asked_at
