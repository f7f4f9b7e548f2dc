"""Stages, who is on them, and who may join."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from models import utcnow
from resolvers import policy, stages
from resolvers.cursors import LARGEST_PAGE
from schema import fields
from schema.base import Node, row_type, value, viewed
from schema.connection import Connection
from schema.enums import JoinRequestState, ProvisioningState, StageCapability

if TYPE_CHECKING:
    from schema.user import User


def capabilities(*, may_publish: bool) -> list[StageCapability]:
    """Return what a token allows; whoever publishes also hears the others."""
    return [StageCapability.PUBLISH, StageCapability.SUBSCRIBE] if may_publish else [StageCapability.SUBSCRIBE]


@row_type(models.StageParticipant, description="Somebody who publishes on a stage right now.")
class StageParticipant:
    """A participant."""

    user: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        stages.PARTICIPANT_USER, description="User who publishes; null if it is none of ours, or none any more."
    )
    participant_id: str = strawberry.field(description="Id on Amazon IVS Real-Time, at most 128 characters.")
    published_at: datetime | None = strawberry.field(description="When publishing began, by Amazon's clock.")


@row_type(
    models.StageToken,
    description="Invitation of one user to publish on a stage. Only that user and the stage's owner can see it.",
)
class StageToken(Node):
    """An invitation."""

    stage: Annotated["Stage", strawberry.lazy("schema.stage")] | None = fields.row(
        stages.TOKEN_STAGE, description="Stage to which the user is invited."
    )
    user: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        stages.TOKEN_USER, description="User who is invited."
    )
    participant_id: str = strawberry.field(description="Id that the user will have on Amazon IVS Real-Time.")
    token: str | None = viewed(
        stages.token,
        allowed=policy.owns,
        description="Secret with which the invited user joins; null for everybody else.",
    )
    capabilities: list[StageCapability] = value(
        lambda _: capabilities(may_publish=True), description="What its holder may do."
    )
    expires_at: datetime = strawberry.field(description="When the invitation ends; another one renews it.")
    is_expired: bool = value(lambda row: row.expires_at <= utcnow(), description="Whether it can no longer be used.")


@row_type(
    models.StageJoinRequest,
    description="Request of a viewer to be invited to a stage. Only that user and the stage's owner can see it.",
)
class StageJoinRequest(Node):
    """A request."""

    stage: Annotated["Stage", strawberry.lazy("schema.stage")] | None = fields.row(
        stages.JOIN_REQUEST_STAGE, description="Stage on which the user would like to be."
    )
    user: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        stages.JOIN_REQUEST_USER, description="User who asks."
    )
    state: JoinRequestState = strawberry.field(description="What became of it.")
    asked_at: datetime = strawberry.field(description="When the user asked for the last time.")


@row_type(models.Stage, description="Room in which a user hosts guests in real time.")
class Stage(Node):
    """A stage."""

    name: str = strawberry.field(description="Name of the stage: its owner's.")
    owner: Annotated["User", strawberry.lazy("schema.user")] | None = fields.row(
        stages.OWNER, description="User whose stage it is."
    )
    is_live: bool = strawberry.field(description="Whether somebody publishes on it right now, as Amazon tells.")
    participants: list[StageParticipant] = fields.rows(
        stages.PARTICIPANTS,
        most=LARGEST_PAGE,
        description="Who publishes right now, the longest first; Amazon allows 12.",
    )
    tokens: Connection[StageToken] = fields.page(
        stages.TOKENS,
        description="Invitations, newest first: all of them for the owner, the viewer's own for everybody else.",
    )
    join_requests: Connection[StageJoinRequest] = fields.page(
        stages.JOIN_REQUESTS,
        description="Open requests to join, newest first: all for the owner, the viewer's own for everybody else.",
    )
    viewer_can_manage: bool = viewed(
        stages.can_manage, description="Whether the viewer may invite to the stage and put others off it."
    )
    provisioning: ProvisioningState = strawberry.field(
        description="How far the stage's creation on Amazon IVS Real-Time is; it can be joined when READY."
    )
    created_at: datetime = strawberry.field(description="When the stage was created.")
    updated_at: datetime = strawberry.field(description="When the stage last changed.")
