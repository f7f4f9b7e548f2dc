"""The types of the plain Strawberry schema over our tables: the fields of the documents, as its guide teaches them.

Objects are rows; what needs no database is an attribute or an ordinary function, every relation has a DataLoader, and
what there is only one of per request is queried by itself.
"""

import os
from datetime import datetime
from typing import Any

import strawberry
from sqlalchemy import or_, select

import models
from bench.reads import audience, lists
from bench.reads.audience import Analytics
from bench.reads.fields import Asked, Connection, Node, global_id, of, row

ChannelType = strawberry.enum(models.ChannelType)
ProvisioningState = strawberry.enum(models.ProvisioningState)
StreamState = strawberry.enum(models.StreamState)
StreamHealth = strawberry.enum(models.StreamHealth)
RecordingState = strawberry.enum(models.RecordingState)
JoinRequestState = strawberry.enum(models.JoinRequestState)


def _concerns(info: Asked, model: Any) -> Any:
    own = select(models.Stage.id).where(models.Stage.user_id == info.context.viewer_id)
    return or_(model.user_id == info.context.viewer_id, model.stage_id.in_(own))


def _url(recording: models.Recording, key: str | None) -> str | None:
    return (
        f"{os.environ['RECORDINGS_CDN_URL']}/{key}" if key and recording.state is models.RecordingState.READY else None
    )


@strawberry.type
class Category:
    id: strawberry.ID = of(global_id)
    slug: str
    name: str

    @strawberry.field
    async def live_channel_count(self: Any, info: Asked) -> int:
        return await info.context.count(models.Channel.category_id, self.id, models.Channel.live_stream_id.is_not(None))

    @strawberry.field
    async def channels(self: Any, info: Asked, first: int, after: str | None = None) -> Connection["Channel"]:
        return await info.context.first(lists.IN_CATEGORY, self.id, first)


@strawberry.type
class ChatMessage:
    id: strawberry.ID = of(global_id)
    content: str
    sent_at: datetime
    sender_name: str
    sent_by: "User | None" = row(models.User.id, by="user_id")

    @strawberry.field
    async def offset_ms(self: Any, info: Asked) -> int | None:
        stream = await info.context.row(models.Stream.id, self.stream_id)
        if stream is None or stream.started_at is None:
            return None
        return max(0, int((self.sent_at - stream.started_at).total_seconds() * 1000))


@strawberry.type
class ChatBan:
    created_at: datetime
    user: "User | None" = row(models.User.id, by="user_id")


@strawberry.type
class ChatRoom:
    id: strawberry.ID = of(global_id)
    name: str
    provisioning: ProvisioningState
    owner: "User | None" = row(models.User.id, by="user_id")

    @strawberry.field
    async def messages(self: Any, info: Asked, last: int) -> Connection[ChatMessage]:
        return await info.context.first(lists.OF_ROOM, self.id, last, last=True)

    @strawberry.field
    async def bans(self: Any, info: Asked, first: int) -> Connection[ChatBan] | None:
        return await info.context.first(lists.BANS, self.id, first) if self.user_id == info.context.viewer_id else None


@strawberry.type
class StreamEvent:
    type: str = of(lambda event: event.body["detail"]["event_name"].upper().replace(" ", "_"))
    name: str = of(lambda event: event.body["detail"]["event_name"])
    message: str = of(lambda event: audience.SENTENCES[event.body["detail"]["event_name"]])
    occurred_at: datetime


@strawberry.type
class Metric:
    id: strawberry.ID = of(global_id)
    created_at: datetime
    quality: str | None
    bitrate: int | None
    latency_seconds: float | None


@strawberry.type
class Stream:
    id: strawberry.ID = of(global_id)
    title: str
    state: StreamState
    health: StreamHealth | None
    started_at: datetime | None
    ended_at: datetime | None
    peak_viewer_count: int
    viewer_count: int | None = of(lambda row: row.viewer_count if row.state is models.StreamState.LIVE else None)
    category: Category | None = row(models.Category.id, by="category_id")
    channel: "Channel | None" = row(models.Channel.id, by="channel_id")
    recording: "Recording | None" = row(models.Recording.id, by="recording_id")

    @strawberry.field
    async def chat_messages(self: Any, info: Asked, first: int, from_offset_ms: int) -> Connection[ChatMessage]:
        return await info.context.first(lists.OF_STREAM, self.id, first)

    @strawberry.field
    async def events(self: Any, info: Asked, first: int) -> Connection[StreamEvent] | None:
        if not await _broadcasts(info, self):
            return None
        of_stream = select(models.ReceivedEvent).where(
            models.ReceivedEvent.channel_id == self.channel_id, models.ReceivedEvent.ivs_stream_id == self.ivs_stream_id
        )
        return await info.context.page(of_stream, lists.OCCURRED, first)

    @strawberry.field
    async def metrics(self: Any, info: Asked, first: int) -> Connection[Metric] | None:
        if not await _broadcasts(info, self):
            return None
        return await info.context.page(
            select(models.Metric).where(models.Metric.stream_id == self.id), lists.HEARD, first
        )

    @strawberry.field
    async def analytics(self: Any, info: Asked) -> Analytics | None:
        return await audience.analytics(info.context.sessions, self) if await _broadcasts(info, self) else None


async def _broadcasts(info: Asked, stream: models.Stream) -> bool:
    channel = await info.context.row(models.Channel.id, stream.channel_id)
    return channel.user_id == info.context.viewer_id


@strawberry.type
class Recording(Node):
    state: RecordingState
    duration_ms: int | None
    started_at: datetime | None
    ended_at: datetime | None
    playback_url: str | None = of(lambda row: _url(row, row.playlist_key))
    thumbnail_url: str | None = of(lambda row: _url(row, row.thumbnail_key))
    channel: "Channel | None" = row(models.Channel.id, by="channel_id")

    @strawberry.field
    async def streams(self: Any, info: Asked) -> list[Stream]:
        return (await info.context.first(lists.OF_RECORDING, self.id, 100)).rows

    @classmethod
    def is_type_of(cls, value: Any, info: Any) -> bool:
        return isinstance(value, models.Recording)


@strawberry.type
class Broadcast:
    type: ChannelType | None
    arn: str | None
    ingest_url: str | None = of(lambda channel: f"rtmps://{channel.ingest_endpoint}:443/app/")

    @strawberry.field
    def stream_key(self: Any, info: Asked) -> str | None:
        sealed = self.stream_key_sealed
        return None if sealed is None else info.context.vault.open(sealed, row_id=self.id)


@strawberry.type
class Channel:
    id: strawberry.ID = of(global_id)
    name: str
    title: str
    is_live: bool
    is_partner: bool
    follower_count: int
    provisioning: ProvisioningState
    viewer_count: int | None = of(lambda row: row.viewer_count if row.is_live else None)
    category: Category | None = row(models.Category.id, by="category_id")
    owner: "User | None" = row(models.User.id, by="user_id")
    chat_room: ChatRoom | None = row(models.ChatRoom.user_id, by="user_id")
    current_stream: Stream | None = row(models.Stream.id, by="live_stream_id")

    @strawberry.field
    async def viewer_is_following(self: Any, info: Asked) -> bool:
        viewer_id = info.context.viewer_id
        if viewer_id is None:
            return False
        mine = models.Follow.user_id == viewer_id
        return await info.context.row(models.Follow.channel_id, self.id, mine) is not None

    @strawberry.field
    def viewer_can_manage(self: Any, info: Asked) -> bool:
        return self.user_id == info.context.viewer_id

    @strawberry.field
    def broadcast(self: Any, info: Asked) -> Broadcast | None:
        return self if self.user_id == info.context.viewer_id else None

    @strawberry.field
    async def streams(self: Any, info: Asked, first: int) -> Connection[Stream]:
        return await info.context.first(lists.STREAMS, self.id, first)


@strawberry.type
class StageParticipant:
    participant_id: str
    published_at: datetime | None
    user: "User | None" = row(models.User.id, by="user_id")


@strawberry.type
class StageToken:
    id: strawberry.ID = of(global_id)
    expires_at: datetime
    is_expired: bool = of(lambda row: row.expires_at <= models.utcnow())
    capabilities: list[str] = of(lambda _: ["PUBLISH", "SUBSCRIBE"])
    user: "User | None" = row(models.User.id, by="user_id")

    @strawberry.field
    def token(self: Any, info: Asked) -> str | None:
        mine = self.user_id == info.context.viewer_id
        return info.context.vault.open(self.token_sealed, row_id=self.id) if mine else None


@strawberry.type
class StageJoinRequest:
    id: strawberry.ID = of(global_id)
    state: JoinRequestState
    asked_at: datetime
    user: "User | None" = row(models.User.id, by="user_id")


@strawberry.type
class Stage:
    id: strawberry.ID = of(global_id)
    name: str
    is_live: bool
    provisioning: ProvisioningState
    owner: "User | None" = row(models.User.id, by="user_id")

    @strawberry.field
    def viewer_can_manage(self: Any, info: Asked) -> bool:
        return self.user_id == info.context.viewer_id

    @strawberry.field
    async def participants(self: Any, info: Asked) -> list[StageParticipant]:
        return (await info.context.first(lists.PARTICIPANTS, self.id, 100)).rows

    @strawberry.field
    async def tokens(self: Any, info: Asked, first: int) -> Connection[StageToken]:
        of_stage = select(models.StageToken).where(models.StageToken.stage_id == self.id)
        return await info.context.page(of_stage.where(_concerns(info, models.StageToken)), lists.INVITED, first)

    @strawberry.field
    async def join_requests(self: Any, info: Asked, first: int) -> Connection[StageJoinRequest]:
        of_stage = select(models.StageJoinRequest).where(
            models.StageJoinRequest.stage_id == self.id,
            models.StageJoinRequest.state == models.JoinRequestState.OPEN,
        )
        return await info.context.page(of_stage.where(_concerns(info, models.StageJoinRequest)), lists.ASKED, first)


@strawberry.type
class User:
    id: strawberry.ID = of(global_id)
    username: str
    channel: Channel | None = row(models.Channel.user_id)
    chat_room: ChatRoom | None = row(models.ChatRoom.user_id)
    stage: Stage | None = row(models.Stage.user_id)
