"""Stages: reads, and the watch that subscriptions are made of."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, any_, func, select
from sqlalchemy.dialects.postgresql import array

from models import JoinRequestState, Stage, StageJoinRequest, StageParticipant, StageToken, User
from models.paging import Order
from resolvers import policy
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.errors import NotFound, RequestError
from resolvers.reads import Page, Row
from subscriptions import topics

BY_ID = Row(Stage, Stage.id)
BY_NAME = Row(Stage, func.lower(Stage.name, type_=Text))
OWNER = Row(User, User.id, by="user_id")

NEWEST = Page(Stage, Order("created", (Stage.id,), descending=True))
LIVE = Page(Stage, Order("live", (Stage.live_since, Stage.id), descending=True), where=(Stage.live_since.is_not(None),))
OFFLINE = Page(Stage, NEWEST.order, where=(Stage.live_since.is_(None),))
PARTICIPANTS = Page(
    StageParticipant,
    Order("published", (StageParticipant.published_at, StageParticipant.id)),
    key=StageParticipant.stage_id,
    where=(StageParticipant.on_stage.is_(True),),
)
PARTICIPANT_USER = Row(User, User.id, by="user_id")


def _concerned(model: type[StageToken | StageJoinRequest]) -> ColumnElement[Any]:
    """Whom an invitation or request concerns, and nobody else: its user and the stage's owner."""
    host = select(Stage.user_id).where(Stage.id == model.stage_id).correlate(model).scalar_subquery()
    return any_(array([model.user_id, host]))


TOKEN = Row(StageToken, StageToken.id, viewer=_concerned(StageToken))
TOKENS = Page(
    StageToken,
    Order("created", (StageToken.id,), descending=True),
    key=StageToken.stage_id,
    viewer=_concerned(StageToken),
)
TOKEN_STAGE = Row(Stage, Stage.id, by="stage_id")
TOKEN_USER = Row(User, User.id, by="user_id")
INVITATIONS = Page(
    StageToken,
    TOKENS.order,
    key=StageToken.user_id,
    where=(StageToken.expires_at > func.now(),),
    viewer=StageToken.user_id,
)
JOIN_REQUEST = Row(StageJoinRequest, StageJoinRequest.id, viewer=_concerned(StageJoinRequest))
JOIN_REQUESTS = Page(
    StageJoinRequest,
    Order("asked", (StageJoinRequest.asked_at, StageJoinRequest.id), descending=True),
    key=StageJoinRequest.stage_id,
    where=(StageJoinRequest.state == JoinRequestState.OPEN,),
    viewer=_concerned(StageJoinRequest),
)
JOIN_REQUEST_STAGE = Row(Stage, Stage.id, by="stage_id")
JOIN_REQUEST_USER = Row(User, User.id, by="user_id")


def listed(*, is_live: bool | None) -> Page:
    """Return the list of live, offline or all stages."""
    return NEWEST if is_live is None else LIVE if is_live else OFFLINE


def can_manage(ctx: Context, stage: Stage) -> bool:
    """Tell whether the viewer owns the stage."""
    return policy.owns(ctx.viewer, stage)


def token(ctx: Context, row: StageToken) -> str:
    """Return the secret with which the invited user joins."""
    return ctx.services.vault.open(row.token_sealed, row_id=row.id)


async def known(ctx: Context, stage_id: UUID) -> Stage | None:
    """Return a stage as it is now, whatever this operation has read before."""
    async with ctx.services.sessions() as session:
        return await session.get(Stage, stage_id)


def unknown() -> NotFound:
    """Return the problem of a stage that is not there."""
    return NotFound(message="There is no such stage.", path=["input", "stageId"])


async def managed(ctx: Context, stage_id: UUID) -> Stage:
    """Return a stage that the viewer owns.

    Raises:
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' and for unknown stages.
    """
    viewer = require_viewer(ctx)
    stage = await known(ctx, stage_id)
    if stage is None or not policy.owns(viewer, stage):
        raise RequestError("FORBIDDEN", "The stage is not yours.")
    return stage


async def changes(ctx: Context, stage_id: UUID) -> AsyncIterator[Stage]:
    """Yield the stage as it is now, and again after changes; end when it is deleted. Several changes may be one.

    Raises:
        RequestError: BAD_INPUT if there is no such stage to begin with.
    """
    seen = False
    with ctx.listen(topics.stage(stage_id)) as listener:
        async for _ in listener.changes():
            ctx.renew()
            stage: Stage | None = await ctx.reads.row(BY_ID, stage_id)
            if stage is None and not seen:
                raise RequestError("BAD_INPUT", "`stageId` is no stage's id.")
            if stage is None:
                return
            seen = True
            yield stage
