"""Following and unfollowing channels."""

from typing import Annotated

import strawberry

from resolvers import channels, follows
from resolvers.errors import Refused
from schema.base import Info, parse_id
from schema.channel import Channel
from schema.errors import NotFound, OwnChannel, members

ChannelFollowError = Annotated[
    NotFound | OwnChannel, strawberry.union("ChannelFollowError", description="Why the channel is not followed.")
]
# A union of one: more refusals may come, and clients are ready for them.
ChannelUnfollowError = Annotated[
    NotFound, strawberry.union("ChannelUnfollowError", description="Why the channel could not be left.")
]
_CHANNEL = "The channel with its new number of followers; null if there are errors."


@strawberry.input(description="Channel to follow.")
class ChannelFollowInput:
    channel_id: strawberry.ID = strawberry.field(description="Id of somebody else's channel.")


@strawberry.type(description="Outcome of following a channel.")
class ChannelFollowPayload:
    channel: Channel | None = strawberry.field(default=None, description=_CHANNEL)
    errors: list[ChannelFollowError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.input(description="Channel to follow no longer.")
class ChannelUnfollowInput:
    channel_id: strawberry.ID = strawberry.field(description="Id of the channel.")


@strawberry.type(description="Outcome of following a channel no longer.")
class ChannelUnfollowPayload:
    channel: Channel | None = strawberry.field(default=None, description=_CHANNEL)
    errors: list[ChannelUnfollowError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.type(description="Mutations of follows.")
class FollowMutations:
    """Mutations of follows."""

    @strawberry.mutation(
        description="Follow a channel; does nothing if the viewer follows it already. Signed-in viewers only."
    )
    async def channel_follow(
        self, info: Info, input: Annotated[ChannelFollowInput, strawberry.argument(description="Which channel.")]
    ) -> ChannelFollowPayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await follows.follow(info.context, key)
        except Refused as refused:
            return ChannelFollowPayload(errors=members(refused))
        info.context.renew()
        return ChannelFollowPayload(channel=await info.context.reads.row(channels.BY_ID, key))

    @strawberry.mutation(
        description="Follow a channel no longer; does nothing if the viewer does not follow it. Signed-in viewers only."
    )
    async def channel_unfollow(
        self, info: Info, input: Annotated[ChannelUnfollowInput, strawberry.argument(description="Which channel.")]
    ) -> ChannelUnfollowPayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await follows.unfollow(info.context, key)
        except Refused as refused:
            return ChannelUnfollowPayload(errors=members(refused))
        info.context.renew()
        return ChannelUnfollowPayload(channel=await info.context.reads.row(channels.BY_ID, key))
