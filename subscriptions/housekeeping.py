"""Rows that have had their time."""

from sqlalchemy import delete, func

from models import Pace, Session, StageRevocation
from subscriptions.publish import Publisher


class Housekeeping:
    """Deletes what nobody can use any more."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def tidy(self) -> None:
        """Delete sessions that are over, whose sockets are told, revocations of dead tokens, and limits at rest."""
        async with self._publisher.transaction() as transaction:
            expired = await transaction.session.execute(
                delete(Session).where(Session.expires_at <= func.now()).returning(Session.id)
            )
            for session_id in expired.scalars():
                transaction.session_ended(session_id)
            await transaction.session.execute(delete(StageRevocation).where(StageRevocation.expires_at <= func.now()))
            await transaction.session.execute(delete(Pace).where(Pace.next_at <= func.now()))
