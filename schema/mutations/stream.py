"""What an owner does to streams."""

from typing import Annotated

import strawberry

from resolvers import broadcasts, channels, streams
from resolvers.errors import Refused
from schema.base import Info, parse_id, secret
from schema.channel import Channel
from schema.errors import AmazonUnavailable, NotFound, NotLive, NotReady, TextInvalid, TooManyAttempts, members
from schema.mutations.channel import naming
from schema.stream import Stream

StreamUpdateError = Annotated[
    TextInvalid | NotFound, strawberry.union("StreamUpdateError", description="Why a stream was not changed.")
]
StreamStopError = Annotated[
    NotReady | NotLive | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StreamStopError", description="Why no stream was stopped."),
]
StreamMetadataPutError = Annotated[
    TextInvalid | NotReady | NotLive | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StreamMetadataPutError", description="Why timed metadata was not put."),
]
_CHANNEL_ID = "Id of the viewer's channel."


@strawberry.input(description="New title, category, or both, of one stream.")
class StreamUpdateInput:
    stream_id: strawberry.ID = strawberry.field(description="Id of a stream on the viewer's channel, live or over.")
    title: strawberry.Maybe[str] = strawberry.field(
        description="Title of 1 to 140 characters, without blanks round it; stays if absent."
    )
    category_id: strawberry.Maybe[strawberry.ID | None] = strawberry.field(
        description="Id of the category; null for none; stays if absent."
    )


@strawberry.type(description="Outcome of a change of a stream.")
class StreamUpdatePayload:
    stream: Stream | None = strawberry.field(default=None, description="The stream; null if there are errors.")
    errors: list[StreamUpdateError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.input(description="Channel whose stream is to be stopped.")
class StreamStopInput:
    channel_id: strawberry.ID = strawberry.field(description=_CHANNEL_ID)


@strawberry.type(description="Outcome of stopping a stream.")
class StreamStopPayload:
    channel: Channel | None = strawberry.field(
        default=None,
        description="The channel, live until Amazon has told of the stream's end; null if there are errors.",
    )
    errors: list[StreamStopError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.input(description="Timed metadata for the players of a live stream.")
class StreamMetadataPutInput:
    channel_id: strawberry.ID = strawberry.field(description=_CHANNEL_ID)
    metadata: str = secret(description="Text of 1 to 1024 bytes in UTF-8; players get it as it is.")


@strawberry.type(description="Outcome of putting timed metadata.")
class StreamMetadataPutPayload:
    channel: Channel | None = strawberry.field(default=None, description="The channel; null if there are errors.")
    errors: list[StreamMetadataPutError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.type(description="Mutations of streams.")
class StreamMutations:
    """Mutations of streams."""

    @strawberry.mutation(
        description="Change title and category of one stream, live or over; neither the channel nor its other streams "
        "change. Owner only."
    )
    async def stream_update(
        self, info: Info, input: Annotated[StreamUpdateInput, strawberry.argument(description="What to change.")]
    ) -> StreamUpdatePayload:
        _, key = parse_id(input.stream_id, argument="input.streamId", expected="Stream")
        try:
            await streams.update(info.context, key, naming(input.title, input.category_id))
        except Refused as refused:
            return StreamUpdatePayload(errors=members(refused))
        info.context.renew()
        return StreamUpdatePayload(stream=await info.context.reads.row(streams.BY_ID, key))

    @strawberry.mutation(
        description="Disconnect the encoder of the live stream; does nothing if it has been stopped already. Most "
        "encoders connect again by themselves: to keep one off, send `streamKeyReset` first. Owner only."
    )
    async def stream_stop(
        self, info: Info, input: Annotated[StreamStopInput, strawberry.argument(description="Which channel.")]
    ) -> StreamStopPayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await broadcasts.stop(info.context, key)
        except Refused as refused:
            return StreamStopPayload(errors=members(refused))
        info.context.renew()
        return StreamStopPayload(channel=await info.context.reads.row(channels.BY_ID, key))

    @strawberry.mutation(
        description="Put timed metadata into the live stream, where players hear of it with the picture; by default "
        "5 per second and channel. On AmazonUnavailable it may have been put. Owner only."
    )
    async def stream_metadata_put(
        self, info: Info, input: Annotated[StreamMetadataPutInput, strawberry.argument(description="What to put.")]
    ) -> StreamMetadataPutPayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await broadcasts.put_metadata(info.context, key, input.metadata)
        except Refused as refused:
            return StreamMetadataPutPayload(errors=members(refused))
        info.context.renew()
        return StreamMetadataPutPayload(channel=await info.context.reads.row(channels.BY_ID, key))
