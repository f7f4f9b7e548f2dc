"""Keeps the whole installation below AWS's call rates: processes queue for their turn in the database."""

import asyncio

from ivs.quotas import PACED_OPERATIONS
from models import pace
from models.engine import Sessions


class Pacer:
    """Awaited before each AWS call; returns when the call may be made."""

    def __init__(self, sessions: Sessions, *, calls_per_second: float) -> None:
        self._sessions = sessions
        self._rate = calls_per_second

    async def __call__(self, operation: str) -> None:
        """Wait for the operation's turn; operations without a tight quota go at once."""
        if operation not in PACED_OPERATIONS:
            return
        async with self._sessions() as session, session.begin():
            delay = await pace.reserve(session, f"aws:{operation}", rate=self._rate)
        if delay > 0:
            await asyncio.sleep(delay)
