"""Users and their sessions."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from resolvers import directory, stages, users
from schema import fields
from schema.base import Node, row_type
from schema.connection import Connection

if TYPE_CHECKING:
    from schema.channel import Channel
    from schema.chat import ChatRoom
    from schema.stage import Stage, StageToken


@row_type(models.User, description="Person with an account, who owns one channel, one chat room and one stage.")
class User(Node):
    """A user as anybody sees one."""

    username: str = strawberry.field(description="Name, unique whatever its upper and lower case; 3 to 30 characters.")
    channel: Annotated["Channel", strawberry.lazy("schema.channel")] | None = fields.row(
        users.CHANNEL, description="Channel on which the user's streams are seen."
    )
    chat_room: Annotated["ChatRoom", strawberry.lazy("schema.chat")] | None = fields.row(
        users.CHAT_ROOM, description="Chat room beside the channel."
    )
    stage: Annotated["Stage", strawberry.lazy("schema.stage")] | None = fields.row(
        users.STAGE, description="Stage on which the user hosts guests in real time."
    )
    stage_invitations: list[Annotated["StageToken", strawberry.lazy("schema.stage")]] = fields.beginning(
        stages.INVITATIONS,
        description="Invitations to others' stages that have not expired, newest first; empty unless the user is the "
        "viewer.",
    )
    followed_channels: Connection[Annotated["Channel", strawberry.lazy("schema.channel")]] = fields.page(
        directory.FOLLOWED,
        description="Channels that the user follows: live ones by latest start first, then the others by newest first.",
    )
    created_at: datetime = strawberry.field(description="When the user registered.")
    updated_at: datetime = strawberry.field(description="When the account last changed.")
