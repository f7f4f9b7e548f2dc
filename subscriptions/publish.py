"""The only module that tells others what changed: writing and telling are one transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.engine import Sessions
from subscriptions import topics
from subscriptions.bus import Bus


class Transaction:
    """A running transaction and what it will have changed."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.topics: set[str] = set()

    def channel_changed(self, channel_id: UUID) -> None:
        """Tell whoever watches the channel."""
        self.topics.add(topics.channel(channel_id))

    def viewers_changed(self, channel_id: UUID) -> None:
        """Tell whoever watches the channel's number of viewers."""
        self.topics.add(topics.viewers(channel_id))

    def stream_events_added(self, channel_id: UUID) -> None:
        """Tell the owner who watches what happens to the channel's streams."""
        self.topics.add(topics.stream_events(channel_id))

    def directory_changed(self, *category_ids: UUID | None) -> None:
        """Tell whoever watches which channels are live, in all and in these categories."""
        self.topics.update(topics.directory(category_id) for category_id in (None, *category_ids))

    def channel_went_live(self, channel_id: UUID) -> None:
        """Tell those followers of the channel who are listening."""
        self.topics.add(topics.channel_live(channel_id))

    def stage_changed(self, stage_id: UUID) -> None:
        """Tell whoever watches the stage."""
        self.topics.add(topics.stage(stage_id))

    def user_notified(self, user_id: UUID) -> None:
        """Tell the user that an invitation or a request waits, or that the user follows other channels than before."""
        self.topics.add(topics.user(user_id))

    def session_ended(self, session_id: UUID) -> None:
        """Tell the sockets that were opened with the session."""
        self.topics.add(topics.session(session_id))


class Publisher:
    """Opens transactions whose changes are heard."""

    def __init__(self, sessions: Sessions, bus: Bus) -> None:
        self._sessions = sessions
        self._bus = bus

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit at the end of the block and tell; on an exception roll back and tell nobody."""
        async with self._sessions() as session, session.begin():
            transaction = Transaction(session)
            yield transaction
            if transaction.topics and self._bus.transactional:
                await self._bus.notify(session, sorted(transaction.topics))
        if transaction.topics and not self._bus.transactional:
            await self._bus.publish(sorted(transaction.topics))
