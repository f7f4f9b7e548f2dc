"""Finds what bears this installation's tag on AWS and belongs to nobody; there should be nothing.

AWS is asked first and the database after it: a row is older than what AWS holds for it, so whatever was there when AWS
was asked has its row by then, or has none any more.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from ivs.client import Aws
from ivs.resources import DEPLOYMENT, USER, Listed
from models import ProvisioningState, Removal, ResourceKind, uuid7
from models.engine import Sessions
from subscriptions.removal import KINDS, OWNED, Remover

_BATCH: Final = 100
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Orphan:
    """A resource that nobody owns."""

    kind: ResourceKind
    resource: Listed

    @property
    def user_id(self) -> UUID | None:
        """Whose it was, as its tag says."""
        return _user_id(self.resource)

    def age(self, now: datetime) -> timedelta | None:
        """How long it has existed; null if that is not known."""
        return now - self.resource.created_at if self.resource.created_at else None


@dataclass(frozen=True, slots=True)
class Survey:
    """All resources of the installation: how many somebody owns, and the others."""

    owned: int
    orphans: Sequence[Orphan]


async def survey(aws: Aws, sessions: Sessions, deployment: str) -> Survey:
    """List the whole account and compare what bears the deployment's tag with the rows.

    Owned is what a row names; what a creation that is pending, failed or not settled may take up; and what is to be
    removed already.

    Raises:
        AwsError: AWS could not be asked.
    """
    owned, orphans = 0, list[Orphan]()
    for kind in ResourceKind:
        async for batch in _batches(KINDS[kind].every(aws), deployment):
            async with sessions() as session:
                left = await _without_owner(session, kind, batch)
            owned += len(batch) - len(left)
            orphans += [Orphan(kind, resource) for resource in left]
    return Survey(owned, orphans)


async def remove(sessions: Sessions, remover: Remover, orphans: Sequence[Orphan]) -> dict[str, str]:
    """Hand orphans over to removal and work on it; return the ARNs that are left to workers, with the error's code."""
    left: dict[str, str] = {}
    for start in range(0, len(orphans), _BATCH):
        batch = orphans[start : start + _BATCH]
        async with sessions() as session, session.begin():
            for orphan in batch:
                noted = insert(Removal).values(
                    id=uuid7(),
                    kind=orphan.kind,
                    arn=orphan.resource.arn,
                    resource_name=orphan.resource.name,
                    remove_after=func.now(),
                )
                await session.execute(noted.on_conflict_do_nothing(index_elements=[Removal.arn]))
        left |= await _worked_off(sessions, remover, [orphan.resource.arn for orphan in batch])
    return left


async def _worked_off(sessions: Sessions, remover: Remover, arns: Sequence[str]) -> dict[str, str]:
    """Work until each is deleted or has failed once; return these with the error's code."""
    while True:
        await remover.run_due()
        async with sessions() as session:
            found = await session.execute(select(Removal.arn, Removal.last_error).where(Removal.arn.in_(arns)))
            left = {str(arn): error for arn, error in found}
        if all(left.values()):
            return {arn: str(error) for arn, error in left.items()}
        await asyncio.sleep(_LOOK_SECONDS)


async def _batches(resources: AsyncIterator[Listed], deployment: str) -> AsyncIterator[list[Listed]]:
    batch: list[Listed] = []
    async for resource in resources:
        # Whatever else is in the account is none of our business.
        if resource.tags.get(DEPLOYMENT) == deployment:
            batch.append(resource)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _without_owner(session: AsyncSession, kind: ResourceKind, batch: Sequence[Listed]) -> list[Listed]:
    model = OWNED[kind]
    arns = [resource.arn for resource in batch]
    user_ids = {_user_id(resource) for resource in batch} - {None}
    names = {resource.name for resource in batch}
    known = union_all(select(model.arn).where(model.arn.in_(arns)), select(Removal.arn).where(Removal.arn.in_(arns)))
    unsettled = select(model.user_id).where(
        model.user_id.in_(user_ids),
        or_(model.provisioning != ProvisioningState.READY, model.provision_after.is_not(None)),
    )
    looked_for = select(Removal.resource_name).where(
        Removal.kind == kind, Removal.resource_name.in_(names), Removal.settle_at.is_not(None)
    )
    known_arns, busy_users, names_to_go = [
        set((await session.execute(statement)).scalars()) for statement in (known, unsettled, looked_for)
    ]
    return [
        resource
        for resource in batch
        if resource.arn not in known_arns and _user_id(resource) not in busy_users and resource.name not in names_to_go
    ]


def _user_id(resource: Listed) -> UUID | None:
    try:
        return UUID(resource.tags.get(USER, ""))
    except ValueError:
        return None
