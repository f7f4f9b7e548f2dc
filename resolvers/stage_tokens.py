"""Tokens to join a stage: signed by us if there is a key, else made by Amazon."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update

from ivs import resources, stage_tokens
from ivs.stage_tokens import Admission, Endpoints, Ticket
from models import ProvisioningState, Stage, StageToken, User
from resolvers import amazon, limits, policy
from resolvers.auth import require_viewer
from resolvers.context import Context, Viewer
from resolvers.errors import NotInvited, NotLive, NotReady, Refused, unauthenticated
from resolvers.stages import known, token, unknown

# Amazon lets a stage's URLs be kept for 14 days; a token with older ones may not connect.
_ENDPOINTS_FOR: Final = timedelta(days=13)
_GUEST: Final = "guest"


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody who may join, and how."""

    stage: Stage
    ticket: Ticket
    may_publish: bool


async def create(ctx: Context, stage_id: UUID, *, host: bool) -> Admitted:
    """Return a token to publish on a stage (the owner's, or that of the viewer's invitation) or to watch it.

    Raises:
        Refused: NotFound, NotReady, NotLive, NotInvited, TooManyAttempts or AmazonUnavailable.
        RequestError: UNAUTHENTICATED for guests who want to publish, or who may not watch by the operators' rule.
    """
    rules, viewer = ctx.services.stage_rules, ctx.viewer
    if host or not rules.guests:
        viewer = require_viewer(ctx)
    stage = await known(ctx, stage_id)
    if stage is None:
        raise Refused(unknown())
    require_ready(stage)
    if viewer is None:
        # Else every page view of a guest would cost a token (and AWS makes 50 per second).
        if not stage.is_live:
            raise Refused(NotLive(message="Nobody is on this stage right now.", path=["input", "stageId"]))
        await _spend(ctx, f"address:{ctx.address}", rules.tokens_per_hour_per_address)
        return Admitted(stage, await mint(ctx, stage, None, may_publish=False), may_publish=False)
    if host and not policy.owns(viewer, stage):
        return Admitted(stage, await _invited(ctx, stage, viewer), may_publish=True)
    await _spend(ctx, f"user:{viewer.user_id.hex}", rules.tokens_per_hour_per_user)
    async with ctx.services.sessions() as session:
        user = await session.get(User, viewer.user_id)
    if user is None:
        raise unauthenticated()
    return Admitted(stage, await mint(ctx, stage, user, may_publish=host), may_publish=host)


def require_ready(stage: Stage) -> None:
    """Refuse a stage that Amazon has not created.

    Raises:
        Refused: NotReady.
    """
    if stage.provisioning is not ProvisioningState.READY:
        raise Refused(NotReady(message="Amazon has not created this stage yet.", path=["input", "stageId"]))


async def mint(ctx: Context, stage: Stage, user: User | None, *, may_publish: bool) -> Ticket:
    """Return a fresh token. Nothing keeps it but its holder, so a try that fails can be repeated.

    Raises:
        Refused: AmazonUnavailable.
    """
    admission = Admission(
        stage_arn=stage.arn or "",
        # Every participant sees these: nothing of a user but id and name.
        user_id=user.id.hex if user else _GUEST,
        attributes={"username": user.username} if user else {},
        may_publish=may_publish,
        minutes=ctx.services.stage_rules.token_minutes,
    )
    signer = ctx.services.stage_signer
    with amazon.asked():
        if signer is None:
            return await stage_tokens.create(ctx.services.aws, admission)
        return signer.sign(admission, await _endpoints(ctx, stage))


async def _spend(ctx: Context, whose: str, per_hour: int) -> None:
    await limits.spend(ctx, "tokens for stages", limits.hourly("stage-tokens", whose, per_hour))


async def _invited(ctx: Context, stage: Stage, viewer: Viewer) -> Ticket:
    """Return the token that came with the viewer's invitation: one participant each, however often it is asked for."""
    async with ctx.services.sessions() as session:
        found = select(StageToken).where(
            StageToken.stage_id == stage.id, StageToken.user_id == viewer.user_id, StageToken.expires_at > func.now()
        )
        row = (await session.execute(found)).scalar_one_or_none()
    if row is None:
        raise Refused(NotInvited(message="You have no open invitation to this stage.", path=["input", "stageId"]))
    return Ticket(token(ctx, row), row.participant_id, row.expires_at)


async def _endpoints(ctx: Context, stage: Stage) -> Endpoints:
    fresh = stage.endpoints_at is not None and stage.endpoints_at > datetime.now(UTC) - _ENDPOINTS_FOR
    if fresh and stage.events_url and stage.whip_url:
        return Endpoints(stage.events_url, stage.whip_url)
    told = await resources.get_stage(ctx.services.aws, stage.arn or "")
    async with ctx.services.publisher.transaction() as transaction:
        await transaction.session.execute(
            update(Stage)
            .where(Stage.id == stage.id)
            .values(
                events_url=told.events_url,
                whip_url=told.whip_url,
                endpoints_at=func.now(),
                # Nothing that clients see has changed.
                updated_at=Stage.updated_at,
            )
        )
    return Endpoints(told.events_url or "", told.whip_url or "")
