"""How long the journal of events and the archive of chat are kept.

Of the journal more is kept than what is young: the timeline of a stream that is live, and what nobody has matched to a
resource yet, as long as a resource is being made that may turn out to be its own.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import Counter
from sqlalchemy import ColumnElement, and_, delete, false, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from models import Channel, ChatDeletion, ChatMessage, Outcome, ProvisioningState, ReceivedEvent, Stage, Stream
from subscriptions.publish import Publisher

logger = logging.getLogger(__name__)

DELETED = Counter("streamcat_retention_deleted_total", "Rows deleted because of their age", ["table"])


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """Days for which rows are kept, null for ever, and how many are deleted at once."""

    events_days: int
    chat_days: int | None
    deletions_days: int
    batch_rows: int


class Retention:
    """Deletes what is too old, in any number of processes."""

    def __init__(self, publisher: Publisher, config: RetentionConfig) -> None:
        self._publisher = publisher
        self._config = config

    async def run_due(self) -> int:
        """Delete one batch of each kind; return how many rows that were."""
        count = 0
        for age, days, needed in self._kept():
            count += await self._delete(age, timedelta(days=days), needed)
        return count

    def _kept(self) -> Iterator[tuple[InstrumentedAttribute[Any], int, ColumnElement[bool]]]:
        """Yield the column that tells the age of a table's rows, which has an index, the days, and what stays older."""
        yield ReceivedEvent.received_at, self._config.events_days, or_(_of_live_stream(), _may_be_matched())
        if self._config.chat_days is not None:
            yield ChatMessage.sent_at, self._config.chat_days, false()
        yield ChatDeletion.created_at, self._config.deletions_days, false()

    async def _delete(self, age: InstrumentedAttribute[Any], kept: timedelta, needed: ColumnElement[bool]) -> int:
        model = age.class_
        oldest = (
            select(model.id)
            .where(age < func.now() - kept, not_(needed))
            .order_by(age)
            .limit(self._config.batch_rows)
            .with_for_update(skip_locked=True)
        )
        async with self._publisher.transaction() as transaction:
            gone: Any = await transaction.session.execute(
                delete(model).where(model.id.in_(oldest.scalar_subquery())),
                execution_options={"synchronize_session": False},
            )
        if gone.rowcount:
            logger.info("%d rows of %s are older than %d days", gone.rowcount, model.__tablename__, kept.days)
            DELETED.labels(model.__tablename__).inc(gone.rowcount)
        return int(gone.rowcount)


def _of_live_stream() -> ColumnElement[bool]:
    live = select(Stream.id).join(Channel, Channel.live_stream_id == Stream.id)
    of_it = (Channel.id == ReceivedEvent.channel_id, Stream.ivs_stream_id == ReceivedEvent.ivs_stream_id)
    return live.where(*of_it).exists()


def _may_be_matched() -> ColumnElement[bool]:
    """Whether an event may be of a channel or stage whose ARN is not known here yet; see `Ingest.adopt`."""
    waiting = [
        select(owner.id)
        .where(
            owner.provisioning == ProvisioningState.PENDING,
            owner.provision_after.is_not(None),
            owner.created_at <= ReceivedEvent.received_at,
        )
        .exists()
        for owner in (Channel, Stage)
    ]
    return and_(ReceivedEvent.outcome == Outcome.UNMATCHED, or_(*waiting))
