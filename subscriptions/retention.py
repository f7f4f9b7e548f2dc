"""How long the journal of events and the archive of chat are kept."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import Counter
from sqlalchemy import delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from models import ChatDeletion, ChatMessage, ReceivedEvent
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
        for age, days in self._kept():
            count += await self._delete(age, timedelta(days=days))
        return count

    def _kept(self) -> Iterator[tuple[InstrumentedAttribute[Any], int]]:
        """Yield the column that tells the age of a table's rows, which has an index, and the days."""
        yield ReceivedEvent.received_at, self._config.events_days
        if self._config.chat_days is not None:
            yield ChatMessage.sent_at, self._config.chat_days
        yield ChatDeletion.created_at, self._config.deletions_days

    async def _delete(self, age: InstrumentedAttribute[Any], kept: timedelta) -> int:
        model = age.class_
        oldest = (
            select(model.id)
            .where(age < func.now() - kept)
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
