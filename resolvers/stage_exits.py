"""The way off a stage: by its owner, or by declining an invitation.

The invitation goes first, then the participant: else who is put out could come back by asking for the token again. The
token itself cannot be taken back from its holder, so the participant is remembered until it has expired, and
`subscriptions.stage_guard` puts whoever comes back out again.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from ivs.errors import AwsError
from ivs.stage_tokens import LONGEST_MINUTES, LONGEST_REASON
from models import Stage, StageParticipant, StageRevocation, StageToken, User, uuid7
from resolvers import amazon, limits, texts
from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.errors import NotFound, Problem, Refused
from resolvers.stage_tokens import require_ready
from resolvers.stages import known, managed, unknown
from subscriptions.publish import Transaction
from subscriptions.stage_guard import LEASE, disconnect

_PARTICIPANT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_DECLINED: Final = "declined"


async def put_out(
    ctx: Context, stage_id: UUID, *, participant_id: str | None = None, user_id: UUID | None = None, reason: str = ""
) -> Stage:
    """Put one participant, or all of one user's, off the viewer's stage for good; one who is gone is no failure.

    Raises:
        Refused: NotFound, TextInvalid, NotReady, TooManyAttempts or AmazonUnavailable.
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' stages.
    """
    stage = await managed(ctx, stage_id)
    problems: list[Problem] = [
        *texts.problems(reason, "A reason", ["input", "reason"], least=0, most=LONGEST_REASON),
        *await _target_problems(ctx, participant_id, user_id),
    ]
    if problems:
        raise Refused(*problems)
    require_ready(stage)
    rate = limits.hourly("stage-exits", f"stage:{stage.id.hex}", ctx.services.stage_rules.invitations_per_hour)
    await limits.spend(ctx, "disconnections", rate)
    async with ctx.services.publisher.transaction() as transaction:
        await _lock(transaction, stage)
        revoked = await _revoke(transaction, stage, participant_id, user_id, reason)
    await _disconnect(ctx, stage, revoked)
    return stage


async def decline(ctx: Context, stage_id: UUID) -> Stage:
    """Give the viewer's invitation to a stage back; repeatable.

    Raises:
        Refused: NotFound or AmazonUnavailable.
        RequestError: UNAUTHENTICATED for guests.
    """
    viewer = require_viewer(ctx)
    stage = await known(ctx, stage_id)
    if stage is None:
        raise Refused(unknown())
    async with ctx.services.publisher.transaction() as transaction:
        await _lock(transaction, stage)
        gone = await _taken_back(transaction, stage, StageToken.user_id == viewer.user_id)
        revoked = await _remember(transaction, stage, [(row.participant_id, row) for row in gone], _DECLINED)
        if gone:
            transaction.stage_changed(stage.id)
    await _disconnect(ctx, stage, revoked)
    return stage


async def _lock(transaction: Transaction, stage: Stage) -> None:
    """Let one at a time write who may be on the stage."""
    await transaction.session.execute(select(Stage.id).where(Stage.id == stage.id).with_for_update(key_share=True))


async def _revoke(
    transaction: Transaction,
    stage: Stage,
    participant_id: str | None,
    user_id: UUID | None,
    reason: str,
) -> list[StageRevocation]:
    session = transaction.session
    if participant_id is not None:
        # A participant on stage may have come with another token than that of the invitation.
        user_id = await session.scalar(
            select(StageParticipant.user_id)
            .where(StageParticipant.stage_id == stage.id, StageParticipant.participant_id == participant_id)
            .limit(1)
        )
    whose = or_(StageToken.participant_id == participant_id, StageToken.user_id == user_id)
    gone = await _taken_back(transaction, stage, whose)
    pairs: dict[str, StageToken | None] = {row.participant_id: row for row in gone}
    if participant_id is not None:
        pairs.setdefault(participant_id, None)
    else:
        there = select(StageParticipant.participant_id).where(
            StageParticipant.stage_id == stage.id,
            StageParticipant.user_id == user_id,
            StageParticipant.on_stage.is_(True),
        )
        before = select(StageRevocation.participant_id).where(
            StageRevocation.stage_id == stage.id,
            StageRevocation.user_id == user_id,
            StageRevocation.is_disconnected.is_(False),
        )
        for one in (await session.execute(there.union(before))).scalars():
            pairs.setdefault(one, None)
    transaction.stage_changed(stage.id)
    for row in gone:
        transaction.user_notified(row.user_id)
    return await _remember(transaction, stage, list(pairs.items()), reason, user_id=user_id)


async def _taken_back(transaction: Transaction, stage: Stage, whose: ColumnElement[bool]) -> Sequence[StageToken]:
    statement = delete(StageToken).where(StageToken.stage_id == stage.id, whose).returning(StageToken)
    return (await transaction.session.execute(statement)).scalars().all()


async def _remember(
    transaction: Transaction,
    stage: Stage,
    pairs: Sequence[tuple[str, StageToken | None]],
    reason: str,
    *,
    user_id: UUID | None = None,
) -> list[StageRevocation]:
    """Write who must stay away, leased to this process, until no token of theirs can work any more."""
    latest = func.now() + timedelta(minutes=LONGEST_MINUTES)
    revoked = []
    for participant_id, row in sorted(pairs, key=lambda pair: pair[0]):
        statement = insert(StageRevocation).values(
            id=uuid7(),
            stage_id=stage.id,
            participant_id=participant_id,
            user_id=row.user_id if row else user_id,
            reason=reason,
            is_disconnected=False,
            disconnect_after=func.now() + LEASE,
            expires_at=row.expires_at if row else latest,
        )
        statement = statement.on_conflict_do_update(
            index_elements=["stage_id", "participant_id"],
            set_={name: statement.excluded[name] for name in ("reason", "is_disconnected", "disconnect_after")},
        )
        result = await transaction.session.execute(statement.returning(StageRevocation))
        revoked.append(result.scalar_one())
    return revoked


async def _disconnect(ctx: Context, stage: Stage, revoked: Sequence[StageRevocation]) -> None:
    """Put out at once what the guard would put out in a moment.

    Raises:
        Refused: AmazonUnavailable; the guard goes on trying.
    """
    failed: list[AwsError] = []
    for one in revoked:
        try:
            await disconnect(ctx.services.publisher, ctx.services.aws, stage.arn or "", one)
        except AwsError as error:
            failed.append(error)
    if failed:
        raise amazon.failed(failed[0]) from failed[0]


async def _target_problems(ctx: Context, participant_id: str | None, user_id: UUID | None) -> list[Problem]:
    path = ["input", "participant"]
    if participant_id is not None:
        if _PARTICIPANT.fullmatch(participant_id):
            return []
        return [NotFound(message="Nobody can have this participant id.", path=path)]
    async with ctx.services.sessions() as session:
        if user_id is not None and await session.get(User, user_id) is not None:
            return []
    return [NotFound(message="There is no such user.", path=path)]
