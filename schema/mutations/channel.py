"""What an owner does to a channel."""

from typing import Annotated

import strawberry

from resolvers import auth, broadcasts, channels, users
from resolvers.errors import Refused
from resolvers.naming import Choice, Naming
from schema.base import Info, parse_id
from schema.channel import Channel
from schema.errors import AmazonUnavailable, NotFound, NotReady, TextInvalid, TooManyAttempts, members
from schema.user import User

ChannelUpdateError = Annotated[
    TextInvalid | NotFound, strawberry.union("ChannelUpdateError", description="Why a channel was not changed.")
]
StreamKeyResetError = Annotated[
    NotReady | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StreamKeyResetError", description="Why there is no new stream key yet."),
]
_ERRORS = "All that was wrong."


@strawberry.type(description="Outcome of another try at provisioning.")
class ChannelProvisionPayload:
    user: User | None = strawberry.field(description="The viewer, whose resources tell how far they are.")


@strawberry.input(description="New title, category, or both, of a channel and of the stream that is live on it.")
class ChannelUpdateInput:
    channel_id: strawberry.ID = strawberry.field(description="Id of the viewer's channel.")
    title: strawberry.Maybe[str] = strawberry.field(
        description="Title of 1 to 140 characters, without blanks round it; stays if absent."
    )
    category_id: strawberry.Maybe[strawberry.ID | None] = strawberry.field(
        description="Id of the category; null for none; stays if absent."
    )


@strawberry.type(description="Outcome of a change of a channel.")
class ChannelUpdatePayload:
    channel: Channel | None = strawberry.field(default=None, description="The channel; null if there are errors.")
    errors: list[ChannelUpdateError] = strawberry.field(default_factory=list, description=_ERRORS)


@strawberry.input(description="Channel whose stream key is to be replaced.")
class StreamKeyResetInput:
    channel_id: strawberry.ID = strawberry.field(description="Id of the viewer's channel.")


@strawberry.type(description="Outcome of a reset of the stream key, which `broadcast` of the channel shows.")
class StreamKeyResetPayload:
    channel: Channel | None = strawberry.field(default=None, description="The channel; null if there are errors.")
    errors: list[StreamKeyResetError] = strawberry.field(default_factory=list, description="What was wrong.")


def naming(title: strawberry.Maybe[str], category_id: strawberry.Maybe[strawberry.ID | None]) -> Naming:
    """Return what the two input fields mean.

    Raises:
        RequestError: BAD_INPUT for what is no id of a category.
    """
    choice = None
    if category_id is not None:
        chosen = category_id.value
        argument = "input.categoryId"
        choice = Choice(None if chosen is None else parse_id(chosen, argument=argument, expected="Category")[1])
    return Naming(None if title is None else title.value, choice)


@strawberry.type(description="Mutations of channels.")
class ChannelMutations:
    """Mutations of channels."""

    @strawberry.mutation(
        description="Try again to create what Amazon refused of the viewer's channel, chat room and stage. Does "
        "nothing for what is READY or on its way. Signed-in viewers only."
    )
    async def channel_provision(self, info: Info) -> ChannelProvisionPayload:
        viewer = auth.require_viewer(info.context)
        await users.provision(info.context, viewer.user_id)
        info.context.renew()
        return ChannelProvisionPayload(user=await info.context.reads.row(users.BY_ID, viewer.user_id))

    @strawberry.mutation(
        description="Change title and category of the viewer's channel. The stream that is live takes them too; "
        "streams that are over keep theirs. Owner only."
    )
    async def channel_update(
        self, info: Info, input: Annotated[ChannelUpdateInput, strawberry.argument(description="What to change.")]
    ) -> ChannelUpdatePayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await channels.update(info.context, key, naming(input.title, input.category_id))
        except Refused as refused:
            return ChannelUpdatePayload(errors=members(refused))
        info.context.renew()
        return ChannelUpdatePayload(channel=await info.context.reads.row(channels.BY_ID, key))

    @strawberry.mutation(
        description="Replace the stream key. The old one is of no use from now on for new connections; a stream that "
        "is live goes on. On AmazonUnavailable the new key is made by itself as soon as Amazon can, `channelChanged` "
        "tells, and another call does no harm. Owner only."
    )
    async def stream_key_reset(
        self, info: Info, input: Annotated[StreamKeyResetInput, strawberry.argument(description="Which channel.")]
    ) -> StreamKeyResetPayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await broadcasts.reset_key(info.context, key)
        except Refused as refused:
            return StreamKeyResetPayload(errors=members(refused))
        info.context.renew()
        return StreamKeyResetPayload(channel=await info.context.reads.row(channels.BY_ID, key))
