"""Creates what a user owns on Amazon IVS, so that exactly one of each exists whatever fails in between.

One try of one resource: lease the row and commit; call AWS; store the answer and commit. No transaction is open while
AWS is called. A try that is not the first looks for what an earlier one may have left, and keeps it.

AWS may do what a try has given up waiting for after the next try has looked. Therefore a resource that took more than
one try is settled some time after it is READY: whatever else AWS has under its name is deleted. Nothing is ever deleted
before the row names what is kept.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from ivs import resources
from ivs.client import Aws
from ivs.errors import AwsError, Retryable
from ivs.resources import Kind, Owner, Resource
from models import Channel, ChatRoom, ProvisioningState, Stage, User
from models.engine import in_short
from models.vault import Vault
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher, Transaction
from subscriptions.tasks import Tasks

logger = logging.getLogger(__name__)

PROVISIONED = Counter(
    "streamcat_provisioning_total", "Tries to create AWS resources by kind and outcome", ["kind", "outcome"]
)

Row = Channel | ChatRoom | Stage
MODELS: Final[tuple[type[Row], ...]] = (Channel, ChatRoom, Stage)


@dataclass(frozen=True, slots=True)
class ProvisioningConfig:
    """How provisioning behaves. Times in seconds."""

    deployment: str
    recording_configuration_arn: str | None
    channel_type: str = "STANDARD"
    chat_review_handler_arn: str | None = None
    chat_review_fallback: str = "DENY"
    chat_logging_configuration_arn: str | None = None
    lease: float = 60.0
    settle: float = 60.0
    first_pause: float = 1.0
    longest_pause: float = 300.0
    max_attempts: int = 12
    concurrency: int = 8  # tries of one kind that a worker has in hand at once


# Of the lease: a try that takes longer is given up, so that no two tries of one row overlap.
_LONGEST_TRY: Final = 0.9
# The first number of a try that looks for what an earlier one has left.
_SECOND: Final = 2
# Doublings of the pause; more would only overflow.
_MOST_DOUBLINGS: Final = 20


class Provisioner:
    """Works on pending rows, in the background of a request or as a worker's job."""

    def __init__(
        self, publisher: Publisher, aws: Aws, vault: Vault, ingest: Ingest, config: ProvisioningConfig
    ) -> None:
        self._publisher = publisher
        self._aws = aws
        self._vault = vault
        self._ingest = ingest
        self.config = config
        self._tasks = Tasks()
        self._due: dict[asyncio.Task[None], type[Row]] = {}

        self._kinds: Mapping[type[Row], Kind] = {
            Channel: resources.channels(
                recording_configuration_arn=config.recording_configuration_arn, channel_type=config.channel_type
            ),
            ChatRoom: resources.rooms(
                review_handler_arn=config.chat_review_handler_arn,
                review_fallback=config.chat_review_fallback,
                logging_configuration_arn=config.chat_logging_configuration_arn,
            ),
            Stage: resources.STAGES,
        }

    def leased(self) -> dict[str, Any]:
        """Return the columns of a new row whose first try is this process's."""
        return {"provision_after": func.now() + timedelta(seconds=self.config.lease), "provision_attempts": 1}

    def start(self, rows: Sequence[Row]) -> "set[asyncio.Task[None]]":
        """Begin one try of each leased row; the tries go on even if nobody waits for them."""
        return {self._tasks.start(self._try(row), f"provision-{row.id}") for row in rows}

    async def stop(self, deadline: float) -> None:
        """Wait for the tries in work; what is not finished in time is taken up after its lease."""
        await self._tasks.stop(deadline)

    async def claim(self) -> list[Row]:
        """Lease rows that are due, as many as there is room for, and return them."""
        claimed: list[Row] = []
        async with self._publisher.transaction() as transaction:
            for model in MODELS:
                in_work = sum(kind is model for kind in self._due.values())
                due = (
                    select(model.id)
                    .where(model.provision_after <= func.now())
                    .order_by(model.provision_after)
                    .limit(self.config.concurrency - in_work)
                    .with_for_update(skip_locked=True)
                )
                leased = {
                    "provision_after": func.now() + timedelta(seconds=self.config.lease),
                    "provision_attempts": model.provision_attempts + 1,
                }
                claimed.extend(await _update(transaction, model, model.id.in_(due), **leased))
        return claimed

    async def revive(self, user_id: UUID) -> list[Row]:
        """Lease the user's failed rows for tries as many as at first and return them; each looks before it creates."""
        revived: list[Row] = []
        async with self._publisher.transaction() as transaction:
            for model in MODELS:
                failed = (model.user_id == user_id, model.provisioning == ProvisioningState.FAILED)
                pending = self.leased() | {"provisioning": ProvisioningState.PENDING, "provision_attempts": _SECOND}
                revived.extend(await _update(transaction, model, *failed, **pending))
        return revived

    async def run_due(self) -> int:
        """Begin to try every row that is due and return how many; one that is slow does not keep others waiting."""
        rows = await self.claim()
        for row in rows:
            for task in self.start([row]):
                self._due[task] = type(row)
                task.add_done_callback(self._due.pop)
        return len(rows)

    async def _try(self, row: Row) -> None:
        kind = type(row).__tablename__
        try:
            try:
                async with asyncio.timeout(self.config.lease * _LONGEST_TRY):
                    outcome = await self._work(row)
            except AwsError as error:
                await self._failed(row, error)
                outcome = error.code
        except (SQLAlchemyError, OSError) as error:
            # The lease stands in the row; another try follows it and finds what this one made.
            logger.warning("provisioning of %s %s interrupted: %s", kind, row.id, in_short(error))
            outcome = "interrupted"
        PROVISIONED.labels(kind, outcome).inc()

    async def _work(self, row: Row) -> str:
        async with self._publisher.transaction() as transaction:
            user = await transaction.session.get(User, row.user_id)
        if user is None:
            return "gone"
        owner = Owner(self.config.deployment, user.id, user.username)
        if row.provisioning is ProvisioningState.READY:
            await self._settle(row, owner)
            return "settled"
        await self._store(row, await self._ensure(row, owner))
        return "ready"

    async def _ensure(self, row: Row, owner: Owner) -> Resource:
        kind = self._kinds[type(row)]
        if row.provision_attempts >= _SECOND:
            found = await kind.find(self._aws, owner.resource_name)
            if found:
                return await kind.adopt(self._aws, min(found), owner)
        return await kind.create(self._aws, owner)

    async def _settle(self, row: Row, owner: Owner) -> None:
        kind, model = self._kinds[type(row)], type(row)
        for arn in await kind.find(self._aws, owner.resource_name):
            if arn != row.arn:
                logger.warning("deleting %s, a second one of user %s", arn, row.user_id)
                await kind.delete(self._aws, arn)
        async with self._publisher.transaction() as transaction:
            unchanged = (model.id == row.id, model.provision_attempts == row.provision_attempts)
            await _update(transaction, model, *unchanged, provision_after=None)

    async def _store(self, row: Row, resource: Resource) -> None:
        model = type(row)
        settle_at = func.now() + timedelta(seconds=self.config.settle)
        values: dict[str, Any] = {
            "arn": resource.arn,
            "provisioning": ProvisioningState.READY,
            "provisioning_error": None,
            "provision_after": case((model.provision_attempts >= _SECOND, settle_at)),
        }
        if isinstance(row, Channel):
            values |= {
                "playback_url": resource.playback_url,
                "ingest_endpoint": resource.ingest_endpoint,
                "type": resource.channel_type,
                "stream_key_arn": resource.stream_key_arn,
                "stream_key_sealed": self._vault.seal(resource.stream_key or "", row_id=row.id),
            }
        if isinstance(row, Stage):
            values |= {
                "events_url": resource.events_url,
                "whip_url": resource.whip_url,
                "endpoints_at": func.now(),
            }
        async with self._publisher.transaction() as transaction:
            unready = (model.id == row.id, model.provisioning != ProvisioningState.READY)
            stored = await _update(transaction, model, *unready, **values)
            if stored and isinstance(stored[0], Channel | Stage):
                await self._ingest.adopt(transaction, stored[0])
            # If another try was faster, the last look deletes what this one has made.
            known = stored or await _update(transaction, model, model.id == row.id, provision_after=settle_at)
            await self._tell(transaction, row)
        if not known:
            await self._kinds[model].delete(self._aws, resource.arn)

    async def _failed(self, row: Row, error: AwsError) -> None:
        logger.warning("provisioning of %s for user %s: %s", type(row).__tablename__, row.user_id, error)
        model = type(row)
        ready = row.provisioning is ProvisioningState.READY
        again = ready or (isinstance(error, Retryable) and row.provision_attempts < self.config.max_attempts)
        doublings = min(row.provision_attempts - 1, _MOST_DOUBLINGS)
        pause = min(self.config.first_pause * 2**doublings, self.config.longest_pause)
        values = {
            "provisioning_error": None if ready else error.code,
            "provisioning": row.provisioning if again else ProvisioningState.FAILED,
            "provision_after": func.now() + timedelta(seconds=pause) if again else None,
        }
        async with self._publisher.transaction() as transaction:
            # Not over what a later try has found out since.
            unchanged = (
                model.id == row.id,
                model.provisioning == row.provisioning,
                model.provision_attempts == row.provision_attempts,
            )
            await _update(transaction, model, *unchanged, **values)
            await self._tell(transaction, row)

    async def _tell(self, transaction: Transaction, row: Row) -> None:
        """Whoever watches the owner's channel hears of all three resources."""
        if isinstance(row, Stage):
            transaction.stage_changed(row.id)
        channel_id = await transaction.session.scalar(select(Channel.id).where(Channel.user_id == row.user_id))
        if channel_id is not None:
            transaction.channel_changed(channel_id)


async def _update(transaction: Transaction, model: type[Row], *where: ColumnElement[bool], **values: Any) -> list[Row]:
    statement = update(model).where(*where).values(values).returning(model)
    options = {"synchronize_session": False, "populate_existing": True}
    rows: Any = await transaction.session.execute(statement, execution_options=options)
    return list(rows.scalars())
