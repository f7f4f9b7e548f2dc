"""Root subscriptions: the present state first, then changes, which may be merged for a slow client."""

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry
from strawberry import UNSET

import models
from resolvers import channels, directory, notifications, stages, stream_events, viewers
from schema.base import Info, parse_id, typed
from schema.category import Category
from schema.channel import Channel
from schema.connection import Connection
from schema.fields import After, Before, First, Last, given, part
from schema.live_stats import LiveStats
from schema.stage import Stage, StageJoinRequest, StageToken
from schema.stream_event import StreamEvent
from schema.visibility import PUBLIC, STATE


@strawberry.type(description="State of a channel after one or several changes.")
class ChannelChanged:
    channel: Channel = strawberry.field(description="The channel as it is now.")


@strawberry.type(description="Number of a channel's viewers after one or several changes.")
class ViewerCountChanged:
    channel: Channel = strawberry.field(description="The channel as it is now.")
    viewer_count: int = strawberry.field(description="Players that watch right now; 0 when offline.")


@strawberry.type(description="Which channels are live after some went live or offline.")
class DirectoryChanged:
    category: Category | None = strawberry.field(description="The category that is watched; null if all are.")
    of: strawberry.Private[models.Category | None]

    @strawberry.field(
        metadata=PUBLIC,
        description="Channels that are live now, in the category or in all, by latest start first.",
    )
    def live_channels(
        self, info: Info, first: First = UNSET, after: After = UNSET, last: Last = UNSET, before: Before = UNSET
    ) -> Connection[Channel]:
        read = directory.live(None if self.of is None else self.of.id)
        return info.context.reads.page(read, part(first, after, last, before))  # type: ignore[return-value]


@strawberry.type(description="State of a stage after one or several changes.")
class StageChanged:
    stage: Stage = strawberry.field(description="The stage as it is now.")


@strawberry.type(description="Channel that the viewer follows and that is live.")
class FollowedChannelLive:
    channel: Channel = strawberry.field(description="The channel as it is now.")


@strawberry.type(description="Invitation of the viewer to somebody's stage.")
class StageInvited:
    invitation: StageToken = strawberry.field(description="The invitation, with the token to join.")


@strawberry.type(description="Request of somebody to join the viewer's stage.")
class StageJoinRequested:
    request: StageJoinRequest = strawberry.field(description="The request, to be accepted or refused.")


ViewerNotification = Annotated[
    FollowedChannelLive | StageInvited | StageJoinRequested,
    strawberry.union("ViewerNotification", description="What a viewer may want to know at once."),
]


def _notification(row: notifications.Notification) -> FollowedChannelLive | StageInvited | StageJoinRequested:
    if isinstance(row, models.Channel):
        return FollowedChannelLive(channel=typed(Channel, row))
    if isinstance(row, models.StageToken):
        return StageInvited(invitation=typed(StageToken, row))
    return StageJoinRequested(request=typed(StageJoinRequest, row))


@strawberry.type(description="Where watching begins.")
class Subscription:
    """Root of subscriptions."""

    @strawberry.subscription(
        metadata={**PUBLIC, **STATE},
        description="Live status, title, category, current stream and provisioning of a channel: at once as they are, "
        "then whenever they change. Several changes may come as one. Completes when the channel is deleted.",
    )
    async def channel_changed(
        self,
        info: Info,
        channel_id: Annotated[strawberry.ID, strawberry.argument(description="Id of the channel to watch.")],
    ) -> AsyncIterator[ChannelChanged]:
        _, key = parse_id(channel_id, argument="channelId", expected="Channel")
        async for channel in channels.changes(info.context, key):
            yield ChannelChanged(channel=typed(Channel, channel))

    @strawberry.subscription(
        metadata={**PUBLIC, **STATE},
        description="Number of a channel's viewers: at once as it is, then whenever it is another, at most once a "
        "second; the newest always arrives. Completes when the channel is deleted.",
    )
    async def viewer_count_changed(
        self,
        info: Info,
        channel_id: Annotated[strawberry.ID, strawberry.argument(description="Id of the channel to watch.")],
    ) -> AsyncIterator[ViewerCountChanged]:
        _, key = parse_id(channel_id, argument="channelId", expected="Channel")
        async for channel in viewers.counts(info.context, key):
            yield ViewerCountChanged(channel=typed(Channel, channel), viewer_count=viewers.current(channel))

    @strawberry.subscription(
        metadata=STATE,
        description="Audience of one's own channel: at once as it is, then every few seconds while it is live, and at "
        "its end; what is the same as before is left out. Completes when the channel is deleted.",
    )
    async def live_stats(
        self,
        info: Info,
        channel_id: Annotated[strawberry.ID, strawberry.argument(description="Id of a channel of the viewer.")],
    ) -> AsyncIterator[LiveStats]:
        _, key = parse_id(channel_id, argument="channelId", expected="Channel")
        async for stats in viewers.stats(info.context, key):
            yield typed(LiveStats, stats)

    @strawberry.subscription(
        description="What Amazon tells about the streams of a channel: at once the newest 20 events of the current or "
        "last stream, oldest first, then each new one of the channel. What was found by comparing, because it seemed "
        "lost, is not told again when it arrives after all. Owner of the channel only."
    )
    async def stream_events(
        self,
        info: Info,
        channel_id: Annotated[strawberry.ID, strawberry.argument(description="Id of the viewer's channel.")],
    ) -> AsyncIterator[StreamEvent]:
        _, key = parse_id(channel_id, argument="channelId", expected="Channel")
        async for event in stream_events.watch(info.context, key):
            yield typed(StreamEvent, event)

    @strawberry.subscription(
        metadata={**PUBLIC, **STATE},
        description="Which channels are live: at once, then after some went live or offline, or changed title or "
        "category while live. Changes that come close together are one, by default at most one per second. Completes "
        "when the category is deleted.",
    )
    async def directory_changed(
        self,
        info: Info,
        category_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Id of the category to watch; all if absent.")
        ] = UNSET,
    ) -> AsyncIterator[DirectoryChanged]:
        wanted = given(category_id)
        key = None if wanted is None else parse_id(wanted, argument="categoryId", expected="Category")[1]
        async for category in directory.changes(info.context, key):
            yield DirectoryChanged(category=typed(Category, category) if category else None, of=category)

    @strawberry.subscription(
        metadata={**PUBLIC, **STATE},
        description="Who is on a stage, whom it invites, who asks to join and its provisioning: at once as they are, "
        "then whenever they change. Several changes may come as one. Completes when the stage is deleted.",
    )
    async def stage_changed(
        self,
        info: Info,
        stage_id: Annotated[strawberry.ID, strawberry.argument(description="Id of the stage to watch.")],
    ) -> AsyncIterator[StageChanged]:
        _, key = parse_id(stage_id, argument="stageId", expected="Stage")
        async for stage in stages.changes(info.context, key):
            yield StageChanged(stage=typed(Stage, stage))

    @strawberry.subscription(
        description="What concerns the viewer: at once the invitations and requests that are open and the followed "
        f"channels that are live, the newest {notifications.MOST} of each, then each new one. Nothing is told twice "
        "on one subscription. Signed-in viewers only."
    )
    async def viewer_notifications(self, info: Info) -> AsyncIterator[ViewerNotification]:
        async for row in notifications.news(info.context):
            yield _notification(row)
