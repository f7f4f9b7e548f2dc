"""Does on Amazon what a row says is still to be done for a channel: a new stream key, a partner's type, who may watch.

The intention is committed before AWS is called, and goes with the transaction that stores the outcome. Between the two
anything may fail, or the process die: each try may be repeated from its beginning, and by several at once.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import ColumnElement, Uuid, any_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import SQLAlchemyError

from ivs import channels
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.resources import Owner
from models import Channel, Chore, ChoreKind, ProvisioningState, User, uuid7
from models.engine import in_short
from models.statement import Statement
from models.vault import Vault
from subscriptions.publish import Publisher, Transaction
from subscriptions.tasks import Tasks

logger = logging.getLogger(__name__)

CHORES = Counter("streamcat_chores_total", "Tries to change channels on AWS by kind and outcome", ["kind", "outcome"])


@dataclass(frozen=True, slots=True)
class ChoresConfig:
    """What partners are, and how chores behave. Times in seconds."""

    deployment: str
    partner_followers: int
    partner_type: str
    partner_preset: str
    lease: float = 60.0
    first_pause: float = 1.0
    longest_pause: float = 300.0
    concurrency: int = 8  # tries that a worker has in hand at once


# Of the lease: a try that takes longer is given up, so that tries of one row seldom overlap.
_LONGEST_TRY: Final = 0.9
# Doublings of the pause; more would only overflow.
_MOST_DOUBLINGS: Final = 20
# A lower number of followers may make any number of partners, and a statement has only so many parameters.
_PROMOTED_AT_ONCE: Final = 500


class Chores:
    """Works on chores, in the background of a request or as a worker's job."""

    def __init__(self, publisher: Publisher, aws: Aws, vault: Vault, config: ChoresConfig) -> None:
        self._publisher = publisher
        self._aws = aws
        self._vault = vault
        self.config = config
        self._tasks = Tasks()

    async def reset_key(self, transaction: Transaction, channel_id: UUID) -> Chore:
        """Add the intention to the transaction, which takes the old key from the row; return it leased for `start`."""
        # The channel first, here as everywhere: who locks in another order may wait for ever.
        await transaction.session.execute(
            update(Channel).where(Channel.id == channel_id).values(stream_key_sealed=None)
        )
        transaction.channel_changed(channel_id)
        statement = insert(Chore).values(
            id=uuid7(), channel_id=channel_id, kind=ChoreKind.STREAM_KEY, due_at=self._lease(), attempts=1
        )
        again = statement.on_conflict_do_update(
            index_elements=[Chore.channel_id, Chore.kind],
            set_={"due_at": self._lease(), "attempts": Chore.attempts + 1},
        )
        return (await transaction.session.execute(again.returning(Chore))).scalar_one()

    async def promote(self, transaction: Transaction, *which: ColumnElement[bool]) -> int:
        """Add to the transaction that those of the channels which have followers enough are to become partners.

        Return how many are: not all if there are very many, nor those that somebody is about to delete.
        """
        enough = (
            Channel.follower_count >= self.config.partner_followers,
            ~Channel.is_partner,
            Channel.provisioning == ProvisioningState.READY,
            ~select(Chore.id).where(Chore.channel_id == Channel.id, Chore.kind == ChoreKind.PARTNER).exists(),
        )
        found = select(Channel.id).where(*enough, *which).limit(_PROMOTED_AT_ONCE)
        # Kept from being deleted before their chores refer to them, without waiting for who locks them in other orders.
        kept = found.with_for_update(read=True, key_share=True, skip_locked=True)
        channel_ids = (await transaction.session.execute(kept)).scalars().all()
        rows = [
            {"id": uuid7(), "channel_id": key, "kind": ChoreKind.PARTNER, "due_at": func.now(), "attempts": 0}
            for key in channel_ids
        ]
        if rows:
            await transaction.session.execute(insert(Chore).values(rows).on_conflict_do_nothing())
        return len(rows)

    async def tell_access(self, transaction: Transaction, channel_id: UUID) -> None:
        """Add to the transaction that AWS is told who may watch; a try in hand looks at its end what was decided since.

        The caller holds a lock on the channel's row.
        """
        row = {"id": uuid7(), "channel_id": channel_id, "kind": ChoreKind.ACCESS, "due_at": func.now(), "attempts": 0}
        await transaction.session.execute(insert(Chore).values(row).on_conflict_do_nothing())

    def start(self, chores: Iterable[Chore]) -> "set[asyncio.Task[None]]":
        """Begin one try of each leased row; the tries go on even if nobody waits for them."""
        return {self._tasks.start(self._try(chore), f"chore-{chore.id}") for chore in chores}

    async def stop(self, deadline: float) -> None:
        """Wait for the tries in work; what is not finished in time is taken up after its lease."""
        await self._tasks.stop(deadline)

    async def run_due(self) -> int:
        """Begin to try what is due, as much as there is room for, and return how many."""
        room = max(0, self.config.concurrency - len(self._tasks))
        due = select(Chore.id).where(Chore.due_at <= func.now()).order_by(Chore.due_at).limit(room)
        claimed = (
            update(Chore)
            .where(Chore.id.in_(due.with_for_update(skip_locked=True)))
            .values(due_at=self._lease(), attempts=Chore.attempts + 1)
            .returning(Chore)
        )
        async with self._publisher.transaction() as transaction:
            chores = (await transaction.session.execute(claimed)).scalars().all()
        self.start(chores)
        return len(chores)

    async def sweep(self) -> int:
        """Find partners that no follow has told of: the number that makes one was lowered, or it was not ready yet."""
        async with self._publisher.transaction() as transaction:
            return await self.promote(transaction)

    def _lease(self) -> ColumnElement[Any]:
        return func.now() + timedelta(seconds=self.config.lease)

    async def _try(self, chore: Chore) -> None:
        try:
            try:
                async with asyncio.timeout(self.config.lease * _LONGEST_TRY):
                    outcome = await self._work(chore)
            except AwsError as error:
                await self._failed(chore, error)
                outcome = error.code
        except (SQLAlchemyError, OSError) as error:
            # The lease stands in the row; another try follows it.
            logger.warning("%s of channel %s interrupted: %s", chore.kind, chore.channel_id, in_short(error))
            outcome = "interrupted"
        CHORES.labels(chore.kind, outcome).inc()

    async def _work(self, chore: Chore) -> str:
        # With the chore in one statement: a try that comes when another has stored the new key must not take that key
        # for the old one, and delete it.
        found = select(Channel, User.username).join(User, User.id == Channel.user_id)
        found = found.join(Chore, Chore.channel_id == Channel.id).where(Chore.id == chore.id)
        async with self._publisher.transaction() as transaction:
            row = (await transaction.session.execute(found)).first()
        if row is None or row.Channel.arn is None:
            return "gone"
        channel: Channel = row.Channel
        if chore.kind is ChoreKind.STREAM_KEY:
            tags = Owner(self.config.deployment, channel.user_id, row.username).tags
            key = await channels.replace_stream_key(self._aws, row.Channel.arn, channel.stream_key_arn, tags)
            sealed = self._vault.seal(key.value, row_id=channel.id)
            return await self._finish(chore, stream_key_arn=key.arn, stream_key_sealed=sealed)
        if channel.is_live:
            await self._put_off(chore, self.config.longest_pause, attempts=0, error=None)
            return "waiting"
        if chore.kind is ChoreKind.ACCESS:
            await channels.set_authorized(self._aws, row.Channel.arn, authorized=channel.is_private)
            return await self._finish(chore, is_authorized=channel.is_private)
        config = self.config
        made = await channels.set_type(self._aws, row.Channel.arn, config.partner_type, config.partner_preset)
        return await self._finish(chore, is_partner=True, type=made)

    async def _finish(self, chore: Chore, **values: Any) -> str:
        """Store the outcome, unless another try has done so."""
        async with self._publisher.transaction() as transaction:
            locked = select(Channel).where(Channel.id == chore.channel_id).with_for_update(key_share=True)
            channel = (await transaction.session.execute(locked)).scalar_one_or_none()
            ended = delete(Chore).where(Chore.id == chore.id).returning(Chore.id)
            mine = (await transaction.session.execute(ended)).first() is not None
            if channel is not None and values.get("is_authorized", channel.is_private) is not channel.is_private:
                await self.tell_access(transaction, chore.channel_id)
                return "again"
            if not mine:
                return "overtaken"
            await transaction.session.execute(update(Channel).where(Channel.id == chore.channel_id).values(values))
            transaction.channel_changed(chore.channel_id)
        return "done"

    async def _failed(self, chore: Chore, error: AwsError) -> None:
        logger.warning("%s of channel %s: %s", chore.kind, chore.channel_id, error)
        doublings = min(max(chore.attempts - 1, 0), _MOST_DOUBLINGS)
        pause = min(self.config.first_pause * 2**doublings, self.config.longest_pause)
        await self._put_off(chore, pause, attempts=chore.attempts, error=error.code)

    async def _put_off(self, chore: Chore, seconds: float, *, attempts: int, error: str | None) -> None:
        async with self._publisher.transaction() as transaction:
            # Not over what a later try has found out since.
            unchanged = (Chore.id == chore.id, Chore.attempts == chore.attempts)
            values = {"due_at": func.now() + timedelta(seconds=seconds), "attempts": attempts, "error": error}
            await transaction.session.execute(update(Chore).where(*unchanged).values(values))


async def wake(transaction: Transaction, channel_ids: Iterable[UUID]) -> None:
    """Let what waits for these channels to be offline be tried now; the caller holds locks on their rows."""
    await _WAKE.all(transaction.session, {"channels": list(channel_ids)})


_WAKE: Final = Statement(
    update(Chore)
    .where(
        Chore.channel_id == any_(bindparam("channels", type_=ARRAY(Uuid()))),
        or_(Chore.kind == ChoreKind.PARTNER, Chore.kind == ChoreKind.ACCESS),
    )
    .values(due_at=func.now(), attempts=0)
)
