"""Channels."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from resolvers import channels, policy, recordings, viewers
from resolvers.context import Context
from schema import fields
from schema.base import Node, row_type, value, viewed
from schema.category import Category
from schema.chat import ChatRoom
from schema.connection import Connection
from schema.enums import ChannelType, PlaybackAccess, ProvisioningState
from schema.recording import Recording
from schema.stage import Stage
from schema.stream import Stream

if TYPE_CHECKING:
    from schema.user import User


def _ingest_url(channel: models.Channel) -> str | None:
    return f"rtmps://{channel.ingest_endpoint}:443/app/" if channel.ingest_endpoint else None


def _public_url(channel: models.Channel) -> str | None:
    return None if channel.is_private else channel.playback_url


def _viewer_count(channel: models.Channel) -> int | None:
    return viewers.current(channel) if channel.is_live else None


def _can_manage(ctx: Context, channel: models.Channel) -> bool:
    return policy.owns(ctx.viewer, channel)


@strawberry.type(description="What the owner needs to broadcast. Secret: show it to nobody but the owner.")
class BroadcastSettings:
    """Owner's view of a channel row."""

    ingest_url: str | None = value(
        _ingest_url, description="RTMPS address for the encoder; null until the channel is ready."
    )
    stream_key: str | None = viewed(
        channels.stream_key,
        description="Key with which the encoder signs in; null until the channel is ready, and "
        "from a `streamKeyReset` until Amazon has made the new one.",
    )
    type: ChannelType | None = strawberry.field(
        description="Type of the channel on Amazon IVS; null until the channel is ready."
    )
    arn: str | None = strawberry.field(description="ARN of the channel on Amazon IVS; null until the channel is ready.")


@row_type(models.Channel, description="Place where one user's streams are seen.")
class Channel(Node):
    """A channel."""

    name: str = strawberry.field(description="Name in the channel's address, unique whatever its upper and lower case.")
    title: str = strawberry.field(description="Title of the channel and of the streams that start on it.")
    category: Category | None = fields.row(channels.CATEGORY, description="Subject; null if the owner chose none.")
    owner: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        channels.OWNER, description="User whose channel it is."
    )
    chat_room: ChatRoom | None = fields.row(channels.CHAT_ROOM, description="Chat room of the channel's owner.")
    stage: Stage | None = fields.row(channels.STAGE, description="Stage of the channel's owner.")
    is_partner: bool = strawberry.field(
        description="Whether the channel has had followers enough for the better type on Amazon IVS, and has got it."
    )
    follower_count: int = strawberry.field(description="Number of users who follow the channel.")
    viewer_is_following: bool = fields.exists(
        channels.VIEWER_FOLLOW, description="Whether the viewer follows the channel; false for guests."
    )
    is_live: bool = strawberry.field(description="Whether a stream can be watched right now.")
    provisioning: ProvisioningState = strawberry.field(
        description="How far the channel's creation on Amazon IVS is; it can be broadcast to when READY."
    )
    is_private: bool = strawberry.field(description="Whether only some may watch: `playbackAccess` is not PUBLIC.")
    playback_access: PlaybackAccess = strawberry.field(description="Who may watch, as the owner decided.")
    playback_url: str | None = value(
        _public_url,
        description="HLS address (.m3u8) of the live stream, the same for all streams; null until READY, and on "
        "private channels, for which `playbackStart` answers with one for the viewer.",
    )
    viewer_count: int | None = value(
        _viewer_count,
        description="Players that watch right now: with a heartbeat of the last 45 seconds, as the operators have set; "
        "null when offline.",
    )
    current_stream: Stream | None = fields.row(
        channels.CURRENT_STREAM, description="Stream that can be watched right now; null when offline."
    )
    streams: Connection[Stream] = fields.page(
        channels.STREAMS, description="Streams that reached viewers, latest start first."
    )
    recordings: Connection[Recording] = fields.page(
        recordings.OF_CHANNEL, description="Recordings that are READY, those that ended last first; each once."
    )

    viewer_can_manage: bool = viewed(
        _can_manage, description="Whether the viewer may change the channel and broadcast on it."
    )
    broadcast: BroadcastSettings | None = value(
        lambda channel: channel,
        allowed=policy.owns,
        description="What the owner needs to broadcast; null for everybody else.",
    )
    created_at: datetime = strawberry.field(description="When the channel was created.")
    updated_at: datetime = strawberry.field(description="When the channel last changed.")
