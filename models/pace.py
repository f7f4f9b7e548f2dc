"""Rate limits that all processes share: one row and one statement per question.

The generic cell rate algorithm (ITU-T I.371): a key's row holds the time at which it would be idle again. A call costs
`1 / rate` seconds; up to `burst` calls may come at once.
"""

from datetime import timedelta

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.postgresql import INTERVAL, insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import uuid7
from models.user import Pace

_NOW = func.clock_timestamp()


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


async def reserve(session: AsyncSession, key: str, *, rate: float, burst: int = 1) -> float:
    """Take the next free place in the queue of `key`; return how many seconds to wait for it (0 for at once)."""
    cost = _seconds(1 / rate)
    first = insert(Pace).values(id=uuid7(), key=key, next_at=_NOW + literal(cost, INTERVAL))
    statement = first.on_conflict_do_update(
        index_elements=[Pace.key], set_={"next_at": func.greatest(Pace.next_at, _NOW) + literal(cost, INTERVAL)}
    ).returning(func.extract("epoch", Pace.next_at - _NOW))
    ahead = float((await session.execute(statement)).scalar_one())
    return max(0.0, ahead - burst / rate)


async def attempt(session: AsyncSession, key: str, *, rate: float, burst: int) -> float:
    """Count one attempt of `key`; return 0 if it may go on, else the seconds to wait (and nothing is counted)."""
    cost = literal(_seconds(1 / rate), INTERVAL)
    window = literal(_seconds(burst / rate), INTERVAL)
    statement = insert(Pace).values(id=uuid7(), key=key, next_at=_NOW + cost)
    counted = statement.on_conflict_do_update(
        index_elements=[Pace.key],
        set_={"next_at": func.greatest(Pace.next_at, _NOW) + cost},
        where=func.greatest(Pace.next_at, _NOW) + cost <= _NOW + window,
    ).returning(Pace.id)
    if (await session.execute(counted)).first() is not None:
        return 0.0
    ahead = await session.scalar(select(func.extract("epoch", Pace.next_at - _NOW)).where(Pace.key == key))
    return max(0.001, float(ahead or 0) + (1 - burst) / rate)


async def forgive(session: AsyncSession, key: str) -> None:
    """Forget what `key` has used, as after a successful sign-in."""
    await session.execute(delete(Pace).where(Pace.key == key))
