"""Watching: what a player begins with, and who may."""

from datetime import datetime
from typing import Annotated

import strawberry

from resolvers import channels, playback
from resolvers.errors import Refused
from schema.base import Info, parse_id, secret, typed
from schema.channel import Channel
from schema.enums import PlaybackAccess
from schema.errors import NotFound, NotReady, PlaybackDenied, PlaybackKeyMissing, TooManyAttempts, members

PlaybackStartError = Annotated[
    NotFound | PlaybackDenied | NotReady | PlaybackKeyMissing | TooManyAttempts,
    strawberry.union("PlaybackStartError", description="Why playback was refused."),
]
ChannelPlaybackAccessUpdateError = Annotated[
    PlaybackKeyMissing | TooManyAttempts,
    strawberry.union("ChannelPlaybackAccessUpdateError", description="Why a rule was refused."),
]


@strawberry.input(description="What is to be watched.")
class PlaybackStartInput:
    channel_id: strawberry.ID = strawberry.field(description="Id of the channel.")


@strawberry.type(description="What a player begins with, or errors. Whether the channel is live does not matter.")
class PlaybackStartPayload:
    channel: Channel | None = strawberry.field(default=None, description="The channel; null if there are errors.")
    playback_url: str | None = secret(
        default=None,
        description="HLS address (.m3u8) for this viewer, to be used at once: on private channels its token soon "
        "expires. Null if there are errors.",
    )
    viewer_token: str | None = secret(
        default=None, description="Token for `metricsPublish`, of this player alone. Null if there are errors."
    )
    viewer_token_expires_at: datetime | None = strawberry.field(
        default=None, description="When the token expires; start again before. Null if there are errors."
    )
    heartbeat_interval_seconds: float | None = strawberry.field(
        default=None, description="Seconds from one heartbeat to the next. Null if there are errors."
    )
    errors: list[PlaybackStartError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.input(description="Who may watch a channel.")
class ChannelPlaybackAccessUpdateInput:
    channel_id: strawberry.ID = strawberry.field(description="Id of a channel of the viewer.")
    access: PlaybackAccess = strawberry.field(description="Who may watch from now on.")


@strawberry.type(description="Outcome of a new rule about who may watch.")
class ChannelPlaybackAccessUpdatePayload:
    channel: Channel | None = strawberry.field(default=None, description="The channel; null if there are errors.")
    errors: list[ChannelPlaybackAccessUpdateError] = strawberry.field(
        default_factory=list, description="What was wrong."
    )


@strawberry.type(description="Mutations of playback.")
class PlaybackMutations:
    """Mutations of playback."""

    @strawberry.mutation(
        description="Begin to watch: an address, and the token with which the player sends heartbeats. For guests "
        "too, unless the channel's owner admits only others."
    )
    async def playback_start(
        self, info: Info, input: Annotated[PlaybackStartInput, strawberry.argument(description="What to watch.")]
    ) -> PlaybackStartPayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        info.context.renew()
        try:
            started = await playback.start(info.context, key)
        except Refused as refused:
            return PlaybackStartPayload(errors=members(refused))
        return PlaybackStartPayload(
            channel=typed(Channel, started.channel),
            playback_url=started.url,
            viewer_token=started.token,
            viewer_token_expires_at=started.viewing.expires_at,
            heartbeat_interval_seconds=info.context.services.playback.heartbeat_interval,
        )

    @strawberry.mutation(
        description="Decide who may watch a channel. Who begins to watch is judged by it at once; Amazon enforces it "
        "as soon as the channel is not live. The channel's owner only."
    )
    async def channel_playback_access_update(
        self,
        info: Info,
        input: Annotated[ChannelPlaybackAccessUpdateInput, strawberry.argument(description="The new rule.")],
    ) -> ChannelPlaybackAccessUpdatePayload:
        _, key = parse_id(input.channel_id, argument="input.channelId", expected="Channel")
        try:
            await playback.set_access(info.context, key, input.access)
        except Refused as refused:
            return ChannelPlaybackAccessUpdatePayload(errors=members(refused))
        return ChannelPlaybackAccessUpdatePayload(channel=await info.context.reads.row(channels.BY_ID, key))
