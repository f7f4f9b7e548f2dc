"""Keeps out who was put off a stage. Amazon takes no token back, so whoever holds one may come again until it expires.

Each row of `StageRevocation` is leased, then Amazon is called, outside of transactions. A first disconnection that
failed, or whose process died, is made up for; later ones happen when the participant has published again.
"""

import logging
from datetime import timedelta
from typing import Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from ivs import stage_tokens
from ivs.client import Aws
from ivs.errors import AwsError
from models import Stage, StageJoinRequest, StageParticipant, StageRevocation, StageToken, uuid7
from subscriptions.publish import Publisher, Transaction

logger = logging.getLogger(__name__)

DISCONNECTED = Counter(
    "streamcat_stage_disconnections_total", "Participants put off a stage who had been before, by outcome", ["outcome"]
)

LEASE: Final = timedelta(seconds=10)
_AT_ONCE: Final = 20


async def disconnect(publisher: Publisher, aws: Aws, stage_arn: str, revocation: StageRevocation) -> None:
    """Put one participant out and note it. Raises what `Aws.call` raises; then the guard tries again."""
    await stage_tokens.disconnect(aws, stage_arn, revocation.participant_id, revocation.reason)
    async with publisher.transaction() as transaction:
        await transaction.session.execute(
            update(StageRevocation).where(StageRevocation.id == revocation.id).values(is_disconnected=True)
        )


async def forget(transaction: Transaction, user_id: UUID) -> None:
    """Keep a user who is being deleted off others' stages, and let nothing tell any more who was there.

    Whoever watches those stages, and the user's own, is told. They are locked in the order of the ingest.
    """
    session = transaction.session
    concerned = [select(model.stage_id).where(model.user_id == user_id) for model in (StageToken, StageJoinRequest)]
    touched = select(Stage.id).where(or_(Stage.user_id == user_id, *(Stage.id.in_(one) for one in concerned)))
    for stage_id in (await session.execute(touched.order_by(Stage.id).with_for_update())).scalars():
        transaction.stage_changed(stage_id)
    for model in (StageParticipant, StageRevocation):
        await session.execute(update(model).where(model.user_id == user_id).values(user_id=None))
    gone = delete(StageToken).where(StageToken.user_id == user_id, StageToken.expires_at > func.now())
    rows = [
        {
            "id": uuid7(),
            "stage_id": token.stage_id,
            "participant_id": token.participant_id,
            "reason": "",
            "disconnect_after": func.now(),
            "expires_at": token.expires_at,
        }
        for token in (await session.execute(gone.returning(StageToken))).scalars()
    ]
    if rows:
        await session.execute(insert(StageRevocation).values(rows).on_conflict_do_nothing())


class StageGuard:
    """A worker's job. Any number of processes may run it."""

    def __init__(self, publisher: Publisher, aws: Aws) -> None:
        self._publisher = publisher
        self._aws = aws

    async def sweep(self) -> int:
        """Put out those who should not be there, a few at once; return how many."""
        async with self._publisher.transaction() as transaction:
            claimed = await _claim(transaction)
        for stage_arn, revocation in claimed:
            try:
                await disconnect(self._publisher, self._aws, stage_arn, revocation)
                outcome = "ok"
            except (AwsError, SQLAlchemyError, OSError) as error:
                logger.warning("participant %s stays on %s: %s", revocation.participant_id, stage_arn, error)
                outcome = error.code if isinstance(error, AwsError) else "interrupted"
            DISCONNECTED.labels(outcome).inc()
        return len(claimed)


async def _claim(transaction: Transaction) -> list[tuple[str, StageRevocation]]:
    there = exists().where(
        StageParticipant.stage_id == StageRevocation.stage_id,
        StageParticipant.participant_id == StageRevocation.participant_id,
        StageParticipant.on_stage.is_(True),
    )
    due = (
        select(StageRevocation.id)
        .where(
            StageRevocation.disconnect_after <= func.now(),
            StageRevocation.expires_at > func.now(),
            or_(StageRevocation.is_disconnected.is_(False), there),
        )
        .order_by(StageRevocation.disconnect_after)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    leased = (
        update(StageRevocation)
        .where(and_(StageRevocation.id.in_(due), Stage.id == StageRevocation.stage_id, Stage.arn.is_not(None)))
        .values(disconnect_after=func.now() + LEASE)
        .returning(Stage.arn, StageRevocation)
    )
    rows = await transaction.session.execute(leased, execution_options={"synchronize_session": False})
    return [(arn or "", revocation) for arn, revocation in rows]
