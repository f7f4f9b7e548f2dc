"""Deletes on Amazon IVS what users who are gone have owned, so that nothing of theirs is left whatever fails.

What is to go stands in `removals` since the transaction that deleted the user. One try of one removal: lease it and
commit; call AWS; delete the row, or say when to come back, and commit. Every call may be repeated, and what is not
there any more counts as deleted, so a try may end at any point. A removal is never given up.

A creation that was under way when its owner left may be done later than its resource is looked for. Such a removal
waits until that must have happened, and looks by name.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import ColumnElement, Delete, Update, case, delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ivs import resources
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.resources import Kind, Owner
from models import Channel, ChatRoom, ProvisioningState, Removal, ResourceKind, Stage, User, uuid7
from models.engine import Sessions, in_short
from subscriptions.provisioning import ProvisioningConfig
from subscriptions.provisioning import Row as Provisioned
from subscriptions.tasks import Tasks

logger = logging.getLogger(__name__)

REMOVED = Counter("streamcat_removals_total", "Tries to delete AWS resources by kind and outcome", ["kind", "outcome"])

OWNED: Final[Mapping[ResourceKind, type[Provisioned]]] = {
    ResourceKind.CHANNEL: Channel,
    ResourceKind.ROOM: ChatRoom,
    ResourceKind.STAGE: Stage,
}
KINDS: Final[Mapping[ResourceKind, Kind]] = {
    # How they would record, and at which type, matters only to those that are created.
    ResourceKind.CHANNEL: resources.channels(recording_configuration_arn=None, channel_type="STANDARD"),
    ResourceKind.ROOM: resources.ROOMS,
    ResourceKind.STAGE: resources.STAGES,
}

# Of the lease: a try that takes longer is given up, so that no two tries of one removal overlap.
_LONGEST_TRY: Final = 0.9
# Doublings of the pause; more would only overflow.
_MOST_DOUBLINGS: Final = 20


class Remover:
    """Takes over what deleted users leave, and works on it as a worker's job. Leases and pauses are provisioning's."""

    def __init__(self, sessions: Sessions, aws: Aws, config: ProvisioningConfig) -> None:
        self._sessions = sessions
        self._aws = aws
        self._config = config
        self._tasks = Tasks()

    async def take_over(self, session: AsyncSession, user: User) -> UUID | None:
        """Note all that AWS holds of a user, or will hold when what is under way has ended; return the channel's id.

        The caller deletes the user in the same transaction. The rows are locked, so a try that stores what it has
        created either is seen here, or finds no row any more and deletes it again.
        """
        name = Owner(self._config.deployment, user.id, user.username).resource_name
        channel_id: UUID | None = None
        for kind, model in OWNED.items():
            owned = select(model.id, model.arn, func.now(), self._settle_at(model)).where(model.user_id == user.id)
            for row_id, arn, now, settle_at in await session.execute(owned.with_for_update()):
                removal = Removal(id=uuid7(), kind=kind, arn=arn, resource_name=name, settle_at=settle_at)
                removal.remove_after = now if arn or settle_at is None else settle_at
                session.add(removal)
                if model is Channel:
                    channel_id = row_id
        return channel_id

    def _settle_at(self, model: type[Provisioned]) -> ColumnElement[datetime | None]:
        no_sooner = func.greatest(func.now(), model.provision_after)
        return case(
            # Either nothing else can exist, or the row names the time of a last look.
            (model.provisioning == ProvisioningState.READY, case((model.provision_after.is_not(None), no_sooner))),
            # A try may be in work until its lease ends, and AWS may still be at it then.
            else_=no_sooner + timedelta(seconds=self._config.settle),
        )

    async def run_due(self) -> int:
        """Begin to try removals that are due, as many as there is room for, and return how many."""
        room = self._config.concurrency - len(self._tasks)
        if room <= 0:
            return 0
        due = (
            select(Removal.id)
            .where(Removal.remove_after <= func.now())
            .order_by(Removal.remove_after)
            .limit(room)
            .with_for_update(skip_locked=True)
        )
        lease = func.now() + timedelta(seconds=self._config.lease)
        leased = (
            update(Removal)
            .where(Removal.id.in_(due))
            .values(remove_after=lease, attempts=Removal.attempts + 1)
            .returning(Removal)
        )
        async with self._sessions() as session, session.begin():
            removals = list((await session.execute(leased)).scalars())
        for removal in removals:
            self._tasks.start(self._try(removal), f"remove-{removal.id}")
        return len(removals)

    async def stop(self, deadline: float) -> None:
        """Wait for the tries in work; what is not finished in time is taken up after its lease."""
        await self._tasks.stop(deadline)

    async def _try(self, removal: Removal) -> None:
        try:
            try:
                async with asyncio.timeout(self._config.lease * _LONGEST_TRY):
                    outcome = await self._work(removal)
            except AwsError as error:
                await self._failed(removal, error)
                outcome = error.code
        except (SQLAlchemyError, OSError) as error:
            logger.warning("removal of %s %s interrupted: %s", removal.kind, removal.resource_name, in_short(error))
            outcome = "interrupted"
        REMOVED.labels(removal.kind, outcome).inc()

    async def _work(self, removal: Removal) -> str:
        kind = KINDS[removal.kind]
        known = removal.arn is not None
        arns = [removal.arn] if removal.arn is not None else await kind.find(self._aws, removal.resource_name)
        for arn in arns:
            await kind.delete(self._aws, arn)
        done: Delete | Update = delete(Removal).where(*_as_leased(removal))
        if known and removal.settle_at is not None:
            look_at = func.greatest(func.now(), Removal.settle_at)
            done = update(Removal).where(*_as_leased(removal)).values(arn=None, remove_after=look_at)
        async with self._sessions() as session, session.begin():
            await session.execute(done)
        return "deleted" if known else "settled"

    async def _failed(self, removal: Removal, error: AwsError) -> None:
        logger.warning("removal of %s %s: %s", removal.kind, removal.resource_name, error)
        doublings = min(removal.attempts - 1, _MOST_DOUBLINGS)
        pause = min(self._config.first_pause * 2**doublings, self._config.longest_pause)
        again = {"remove_after": func.now() + timedelta(seconds=pause), "last_error": error.code}
        async with self._sessions() as session, session.begin():
            await session.execute(update(Removal).where(*_as_leased(removal)).values(**again))


def _as_leased(removal: Removal) -> tuple[ColumnElement[bool], ...]:
    """Whoever takes a removal up after its lease counts one more attempt."""
    return (Removal.id == removal.id, Removal.attempts == removal.attempts)
