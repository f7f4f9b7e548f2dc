"""Which minutes of a stream the stored roll-ups do not tell right."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as UUIDS
from sqlalchemy.ext.asyncio import AsyncSession

from models.metric import LONGEST_VIEWING
from models.rollup import MINUTE, Rhythm, minute_of
from models.rollup.computed import TOLD

# Where a viewing, or it with one of its values, comes next: there the late heartbeat is what was before.
_NEXT = text(
    f"""
SELECT DISTINCT min(sent_at)
  FROM unnest(:minutes, :viewings) AS late (minute, viewing)
  JOIN metrics ON metrics.viewing_id = late.viewing AND sent_at >= late.minute + interval '1 minute'
 CROSS JOIN LATERAL {TOLD}
 WHERE stream_id = :stream AND viewing_started_at >= :since AND name IS NOT NULL
 GROUP BY late.minute, late.viewing, kind, name
"""  # noqa: S608 - our own text
).bindparams(
    bindparam("minutes", type_=ARRAY(TIMESTAMP(timezone=True))),
    bindparam("viewings", type_=ARRAY(UUIDS)),
    bindparam("since", type_=TIMESTAMP(timezone=True)),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A minute that a commit touched; with a viewing, only by that one."""

    minute: datetime
    viewing_id: UUID | None


Run = tuple[datetime, datetime]


async def affected(
    session: AsyncSession, stream_id: UUID, marks: Collection[Mark], newest: datetime | None, rhythm: Rhythm
) -> list[Run]:
    """Return the runs of minutes, from and to before, whose roll-ups may change by what the marks stand for.

    `newest` is the newest minute with heartbeats that is rolled up: what comes after it is itself marked.
    """
    late = [mark for mark in marks if mark.viewing_id is not None and newest is not None and mark.minute < newest]
    plain = {mark.minute for mark in marks} - {mark.minute for mark in late}
    plain |= {mark.minute for mark in marks if mark.viewing_id is None}
    reach = (rhythm.reach + 1) * MINUTE
    runs = [(mark.minute, mark.minute + reach) for mark in late]
    if plain:
        end = max(plain) + reach
        runs.append((min(plain), end if newest is None else max(end, newest + reach)))
    if late:
        asked = {"minutes": [mark.minute for mark in late], "viewings": [mark.viewing_id for mark in late]}
        since = min(mark.minute for mark in late) - LONGEST_VIEWING
        found = await session.execute(_NEXT, {**asked, "stream": stream_id, "since": since})
        runs += [(minute_of(at), minute_of(at) + MINUTE) for at in found.scalars()]
    return _merged(runs)


def _merged(runs: Sequence[Run]) -> list[Run]:
    merged: list[Run] = []
    for start, before in sorted(runs):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(before, merged[-1][1]))
        else:
            merged.append((start, before))
    return merged
