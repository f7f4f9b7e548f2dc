"""Bans that hold: who entered with a token from before the ban is disconnected when no such token is left.

One try of one ban: lease the row and commit; call AWS; mark it done and commit.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from prometheus_client import Counter
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from ivs import chat
from ivs.client import Aws
from ivs.errors import AwsError
from models import ChatBan, ChatRoom, pace
from models.engine import in_short
from subscriptions.publish import Publisher

logger = logging.getLogger(__name__)

ENFORCED = Counter("streamcat_chat_bans_enforced_total", "Last disconnections of banned users by outcome", ["outcome"])

DISCONNECTIONS: Final = "chat_disconnections"
"""What disconnections are counted under, those of owners and of workers together."""

_GUEST_PREFIX: Final = "guest-"
_USER: Final = re.compile("[0-9a-f]{32}")
_GUEST: Final = re.compile(f"{_GUEST_PREFIX}[0-9a-f]{{32}}")
_BATCH: Final = 20
_LEASE: Final = timedelta(seconds=60)


def sender_id(user_id: UUID) -> str:
    """Return Amazon's id of a user in chat: never a name, which others see change or could take."""
    return user_id.hex


def user_of(sender_id: str) -> UUID | None:
    """Return the user whose id in chat this is; null if it is nobody's: a guest's, or of another application."""
    return UUID(sender_id) if _USER.fullmatch(sender_id) else None


def is_guest(sender_id: str) -> bool:
    """Return whether an id has the form of those that guests get."""
    return _GUEST.fullmatch(sender_id) is not None


def guest_id() -> str:
    """Return an id for a guest, which nobody had before."""
    return f"{_GUEST_PREFIX}{uuid4().hex}"


def tokens_expire() -> ColumnElement[datetime]:
    """Return the moment at which no token of the present is good any more."""
    return func.now() + timedelta(seconds=chat.TOKEN_LIFETIME)


class Bans:
    """Disconnects banned users once more, as a worker's job."""

    def __init__(self, publisher: Publisher, aws: Aws, *, calls_per_second: float) -> None:
        self._publisher = publisher
        self._aws = aws
        self._rate = calls_per_second

    async def run_due(self) -> int:
        """Enforce what is due, and return how many bans that were; what fails is due again after its lease."""
        due = await self._claim()
        await asyncio.gather(*(self._enforce(ban, arn) for ban, arn in due))
        return len(due)

    async def _claim(self) -> Sequence[tuple[ChatBan, str | None]]:
        async with self._publisher.transaction() as transaction:
            due = (
                select(ChatBan.id)
                .where(ChatBan.enforce_after <= func.now())
                .order_by(ChatBan.enforce_after)
                .limit(_BATCH)
                .with_for_update(skip_locked=True)
            )
            leased = (
                update(ChatBan)
                .where(ChatBan.id.in_(due.scalar_subquery()), ChatRoom.id == ChatBan.chat_room_id)
                .values(enforce_after=func.now() + _LEASE)
                .returning(ChatBan, ChatRoom.arn)
                .execution_options(synchronize_session=False, populate_existing=True)
            )
            rows: Any = await transaction.session.execute(leased)
            return [(ban, arn) for ban, arn in rows]

    async def _turn(self) -> None:
        """Wait until the installation, all owners and workers together, may disconnect another user."""
        async with self._publisher.transaction() as transaction:
            delay = await pace.reserve(transaction.session, f"{DISCONNECTIONS}:all", rate=self._rate)
        await asyncio.sleep(delay)

    async def _enforce(self, ban: ChatBan, arn: str | None) -> None:
        try:
            if arn is not None:
                await self._turn()
                await chat.disconnect(self._aws, arn, sender_id(ban.user_id), ban.reason)
            async with self._publisher.transaction() as transaction:
                # Not what has been renewed since.
                mine = (ChatBan.id == ban.id, ChatBan.enforce_after == ban.enforce_after)
                await transaction.session.execute(update(ChatBan).where(*mine).values(enforce_after=None))
            outcome = "ok"
        except AwsError as error:
            logger.warning("ban %s is not enforced yet: %s", ban.id, error)
            outcome = error.code
        except (SQLAlchemyError, OSError) as error:
            logger.warning("ban %s interrupted: %s", ban.id, in_short(error))
            outcome = "interrupted"
        ENFORCED.labels(outcome).inc()
