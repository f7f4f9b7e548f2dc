"""Requests of viewers for an invitation to a stage, and what its owner answers."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models import JoinRequestState, Stage, StageJoinRequest, StageToken, User, uuid7
from resolvers import invitations, limits, policy
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.errors import OwnStage, Refused, RequestAnswered, RequestError
from resolvers.stage_tokens import require_ready
from resolvers.stages import known, unknown


async def ask(ctx: Context, stage_id: UUID) -> StageJoinRequest:
    """Ask the owner of a stage for an invitation; who is invited already is told so.

    Raises:
        Refused: NotFound, OwnStage, NotReady or TooManyAttempts.
        RequestError: UNAUTHENTICATED for guests.
    """
    viewer = require_viewer(ctx)
    stage = await known(ctx, stage_id)
    if stage is None:
        raise Refused(unknown())
    if policy.owns(viewer, stage):
        raise Refused(OwnStage(message="This is your own stage.", path=["input", "stageId"]))
    require_ready(stage)
    async with ctx.services.sessions() as session:
        state, found = await _wanted(session, stage.id, viewer.user_id)
    if found is not None and found.state is state:
        return found
    rate = ctx.services.stage_rules.join_requests_per_hour
    await limits.spend(
        ctx, "requests to join", limits.hourly("stage-join-requests", f"user:{viewer.user_id.hex}", rate)
    )
    async with ctx.services.publisher.transaction() as transaction:
        session = transaction.session
        if not await invitations.lock(session, stage.id, viewer.user_id):
            raise Refused(unknown())
        state, found = await _wanted(session, stage.id, viewer.user_id)
        if found is not None and found.state is state:
            return found
        statement = insert(StageJoinRequest).values(
            id=uuid7(), stage_id=stage.id, user_id=viewer.user_id, state=state, asked_at=func.now()
        )
        statement = statement.on_conflict_do_update(
            index_elements=["stage_id", "user_id"],
            set_={"state": state, "asked_at": func.now(), "updated_at": func.now()},
        )
        renewed = statement.returning(StageJoinRequest).execution_options(populate_existing=True)
        request: StageJoinRequest = (await session.execute(renewed)).scalar_one()
        transaction.user_notified(stage.user_id)
        transaction.stage_changed(stage.id)
    return request


async def accept(ctx: Context, request_id: UUID) -> tuple[StageJoinRequest, StageToken]:
    """Invite who has asked, also one who was refused before; repeatable.

    Raises:
        Refused: NotFound, NotReady, StageFull, TooManyAttempts or AmazonUnavailable.
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for requests to others' stages and unknown ones.
    """
    request, stage = await _answerable(ctx, request_id)
    async with ctx.services.sessions() as session:
        user = await session.get(User, request.user_id)
    if user is None:
        raise _not_yours()
    invitation = await invitations.invite_user(ctx, stage, user)
    request.state = JoinRequestState.ACCEPTED
    return request, invitation


async def refuse(ctx: Context, request_id: UUID) -> StageJoinRequest:
    """Refuse a request; repeatable. Who was refused may ask again.

    Raises:
        Refused: RequestAnswered if it was accepted.
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for requests to others' stages and unknown ones.
    """
    _, stage = await _answerable(ctx, request_id)
    async with ctx.services.publisher.transaction() as transaction:
        locked = select(StageJoinRequest).where(StageJoinRequest.id == request_id).with_for_update()
        request = (await transaction.session.execute(locked)).scalar_one_or_none()
        if request is None:
            raise _not_yours()
        if request.state is JoinRequestState.ACCEPTED:
            message = "The request was accepted; use stageParticipantDisconnect to take the invitation back."
            raise Refused(RequestAnswered(message=message, path=["input", "requestId"]))
        if request.state is JoinRequestState.OPEN:
            request.state = JoinRequestState.REFUSED
            transaction.stage_changed(stage.id)
    return request


async def _answerable(ctx: Context, request_id: UUID) -> tuple[StageJoinRequest, Stage]:
    viewer = require_viewer(ctx)
    async with ctx.services.sessions() as session:
        found = select(StageJoinRequest, Stage).join(Stage, Stage.id == StageJoinRequest.stage_id)
        row = (await session.execute(found.where(StageJoinRequest.id == request_id))).first()
    if row is None or not policy.owns(viewer, row[1]):
        raise _not_yours()
    return row[0], row[1]


async def _wanted(
    session: AsyncSession, stage_id: UUID, user_id: UUID
) -> tuple[JoinRequestState, StageJoinRequest | None]:
    """Return the state that a request of the user has after it is asked again, and the one that there is."""
    invitation = await invitations.opened(session, stage_id, user_id)
    state = JoinRequestState.OPEN if invitation is None else JoinRequestState.ACCEPTED
    of_both = (StageJoinRequest.stage_id == stage_id, StageJoinRequest.user_id == user_id)
    return state, await session.scalar(select(StageJoinRequest).where(*of_both))


def _not_yours() -> RequestError:
    return RequestError("FORBIDDEN", "The request is not to your stage.")
