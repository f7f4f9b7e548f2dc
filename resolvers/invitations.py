"""Who else may publish on a stage: invitations by its owner.

A token is made before the invitation is written, since no AWS call happens in a transaction; one that nobody gets to
see does no harm. What decides (the places left, another invitation at once) is looked at again under the stage's lock.
"""

from typing import Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ivs.stage_tokens import Ticket
from models import JoinRequestState, Stage, StageJoinRequest, StageToken, User, uuid7
from resolvers import limits, users
from resolvers.context import Context
from resolvers.errors import NotFound, OwnStage, Refused, StageFull
from resolvers.stage_tokens import mint, require_ready
from resolvers.stages import managed

FULL = Counter("streamcat_stage_full_total", "Invitations refused because the stage is full")

_USER: Final = ["input", "user"]


async def invite(ctx: Context, stage_id: UUID, *, user_id: UUID | None = None, username: str = "") -> StageToken:
    """Invite a user, known by id or name, to the viewer's stage; who has an open invitation keeps it.

    Raises:
        Refused: NotFound, OwnStage, NotReady, StageFull, TooManyAttempts or AmazonUnavailable.
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' stages.
    """
    stage = await managed(ctx, stage_id)
    key = None if user_id is not None else users.named(username)
    async with ctx.services.sessions() as session:
        if user_id is not None:
            user = await session.get(User, user_id)
        else:
            user = await session.scalar(select(User).where(func.lower(User.username) == key))
    if user is None:
        raise Refused(NotFound(message="There is no such user.", path=_USER))
    return await invite_user(ctx, stage, user)


async def invite_user(ctx: Context, stage: Stage, user: User) -> StageToken:
    """Invite a user to a stage that is the viewer's, which answers a request of the user.

    Raises:
        Refused: NotFound, OwnStage, NotReady, StageFull, TooManyAttempts or AmazonUnavailable.
    """
    if user.id == stage.user_id:
        raise Refused(OwnStage(message="You need no invitation to your own stage.", path=_USER))
    require_ready(stage)
    async with ctx.services.sessions() as session:
        present = await opened(session, stage.id, user.id)
        if present is not None:
            return present
        await _require_place(ctx, session, stage, user)
    rate = limits.hourly("stage-invitations", f"stage:{stage.id.hex}", ctx.services.stage_rules.invitations_per_hour)
    await limits.spend(ctx, "invitations", rate)
    ticket = await mint(ctx, stage, user, may_publish=True)
    async with ctx.services.publisher.transaction() as transaction:
        session = transaction.session
        if not await lock(session, stage.id, user.id):
            raise Refused(NotFound(message="The user, or the stage, has just been deleted."))
        present = await opened(session, stage.id, user.id)
        if present is not None:
            return present
        await _require_place(ctx, session, stage, user)
        await _accept_request(session, stage, user)
        invitation = await _written(ctx, session, stage, user, ticket)
        transaction.user_notified(user.id)
        transaction.stage_changed(stage.id)
    return invitation


async def lock(session: AsyncSession, stage_id: UUID, user_id: UUID) -> bool:
    """Let one at a time write who may be on the stage; tell whether stage and user are there, and stay until the end.

    The user first: who deletes an account locks it before the stages that know it.
    """
    user = select(User.id).where(User.id == user_id).with_for_update(read=True, key_share=True)
    stage = select(Stage.id).where(Stage.id == stage_id).with_for_update(key_share=True)
    return await session.scalar(user) is not None and await session.scalar(stage) is not None


async def _written(ctx: Context, session: AsyncSession, stage: Stage, user: User, ticket: Ticket) -> StageToken:
    """Write a new invitation, or a new token into one that has expired; the stage is locked."""
    found = select(StageToken).where(StageToken.stage_id == stage.id, StageToken.user_id == user.id)
    row = (await session.execute(found)).scalar_one_or_none()
    if row is None:
        row = StageToken(id=uuid7(), stage_id=stage.id, user_id=user.id)
        session.add(row)
    row.participant_id, row.expires_at = ticket.participant_id, ticket.expires_at
    row.token_sealed = ctx.services.vault.seal(ticket.token, row_id=row.id)
    await session.flush()
    return row


async def opened(session: AsyncSession, stage_id: UUID, user_id: UUID) -> StageToken | None:
    """Return the user's invitation to the stage if it has not expired."""
    found = select(StageToken).where(
        StageToken.stage_id == stage_id, StageToken.user_id == user_id, StageToken.expires_at > func.now()
    )
    return (await session.execute(found)).scalar_one_or_none()


async def _require_place(ctx: Context, session: AsyncSession, stage: Stage, user: User) -> None:
    """Refuse one more who may publish beside the owner and whoever else is invited.

    Raises:
        Refused: StageFull.
    """
    others = select(func.count()).where(
        StageToken.stage_id == stage.id, StageToken.user_id != user.id, StageToken.expires_at > func.now()
    )
    most = ctx.services.stage_rules.publishers
    if int(await session.scalar(others) or 0) + 2 > most:
        FULL.inc()
        message = f"A stage has at most {most} publishers, its owner and open invitations included; put somebody out."
        raise Refused(StageFull(message=message))


async def _accept_request(session: AsyncSession, stage: Stage, user: User) -> None:
    await session.execute(
        update(StageJoinRequest)
        .where(
            StageJoinRequest.stage_id == stage.id,
            StageJoinRequest.user_id == user.id,
            StageJoinRequest.state != JoinRequestState.ACCEPTED,
        )
        .values(state=JoinRequestState.ACCEPTED)
    )
