"""What is done with a batch of heartbeats in its transaction: place each, leave out what is there, copy the rest."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as UUIDS

from models.metric import Metric, Span, heartbeat_id, in_order, place
from models.statement import Statement, errors_of

# Of the interval: a heartbeat that the network brings so much early is not refused.
_SOONEST: Final = 0.8

COLUMNS: Final = tuple(Metric.__table__.columns.keys())

_BEGINS = bindparam("begins", type_=ARRAY(TIMESTAMP(timezone=True)))
_STREAMS = Statement(
    text("""
SELECT clock.now, streams.channel_id, streams.id, channels.user_id, streams.started_at, streams.ended_at,
       streams.ivs_stream_id
  FROM (SELECT clock_timestamp() AS now) AS clock
  LEFT JOIN (streams JOIN channels ON channels.id = streams.channel_id)
    ON streams.channel_id = ANY (:channels) AND streams.started_at IS NOT NULL
   AND coalesce(streams.ended_at, clock.now) >= :earliest
""").bindparams(bindparam("channels", type_=ARRAY(UUIDS)), bindparam("earliest", type_=TIMESTAMP(timezone=True)))
)
_NEWEST = Statement(
    text("""
SELECT asked.id, newest.created_at
  FROM unnest(:viewings, :begins) AS asked (id, began)
 CROSS JOIN LATERAL (
   SELECT created_at FROM metrics
    WHERE metrics.viewing_id = asked.id AND metrics.viewing_started_at = asked.began
    ORDER BY created_at DESC LIMIT 1
 ) AS newest
""").bindparams(bindparam("viewings", type_=ARRAY(UUIDS)), _BEGINS)
)
_KNOWN = Statement(
    text("""
SELECT metrics.id
  FROM unnest(:ids, :begins) AS asked (id, began)
 CROSS JOIN LATERAL (
   SELECT id FROM metrics WHERE metrics.id = asked.id AND metrics.viewing_started_at = asked.began LIMIT 1
 ) AS metrics
""").bindparams(bindparam("ids", type_=ARRAY(UUIDS)), _BEGINS)
)


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat: the player's id and time for it, and the columns of `Metric` that it fills."""

    client_id: UUID
    at: datetime
    readings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """The heartbeats of one request, all of one viewing; `origin` are the columns that the request itself fills."""

    viewing_id: UUID
    viewing_started_at: datetime
    channel_id: UUID
    beats: Sequence[Beat]
    origin: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission: all of it is there, or nothing was written.

    Attributes:
        stored: Heartbeats that are new.
        doubled: Heartbeats that were there before.
        wait: Seconds after which it can be sent again, if it came too early.
        homeless: Places of the heartbeats that belong to no stream.
    """

    stored: int = 0
    doubled: int = 0
    wait: float = 0.0
    homeless: tuple[int, ...] = ()


async def store(driver: Any, submissions: Sequence[Submission], *, interval: float, grace: timedelta) -> list[Outcome]:
    """Write the submissions' heartbeats within the transaction of asyncpg's connection; return what became of each.

    The number of statements does not depend on that of the submissions. Time is the database's, so that all processes
    agree about it.

    Raises:
        asyncpg.IntegrityConstraintViolationError: What was looked at has changed since; look again.
    """
    now, spans = await _streams(driver, submissions)
    ids = [[_id_of(one, beat) for beat in one.beats] for one in submissions]
    # In this order: who finds what another process has just written to be the newest also finds it to be known.
    newest = await _newest(driver, submissions)
    known = await _known(driver, submissions, ids, newest)
    outcomes, records = [], []
    for submission, keys in zip(submissions, ids, strict=True):
        fresh = {key: index for index, key in reversed(list(enumerate(keys))) if key not in known}
        homes = {
            key: place(spans[submission.channel_id], _clamped(submission, index, now), now=now, grace=grace)
            for key, index in fresh.items()
        }
        homeless = tuple(sorted(fresh[key] for key, home in homes.items() if home is None))
        wait = _wait(newest.get(submission.viewing_id), now, interval) if fresh else 0.0
        if wait > 0 or homeless:
            outcomes.append(Outcome(wait=wait) if wait > 0 else Outcome(homeless=homeless))
            continue
        for key, home in homes.items():
            if home is not None:
                records.append(_record(submission, fresh[key], key, home, now))
        known.update(fresh)
        if fresh:
            newest[submission.viewing_id] = now
        outcomes.append(Outcome(stored=len(fresh), doubled=len(keys) - len(fresh)))
    if records:
        await _copy(driver, records)
    return outcomes


def _id_of(submission: Submission, beat: Beat) -> UUID:
    return heartbeat_id(submission.viewing_id, beat.client_id, submission.viewing_started_at)


def _clamped(submission: Submission, index: int, now: datetime) -> datetime:
    return min(max(submission.beats[index].at, submission.viewing_started_at), now)


def _wait(newest: datetime | None, now: datetime, interval: float) -> float:
    if newest is None:
        return 0.0
    return max(0.0, interval * _SOONEST - (now - newest).total_seconds())


def _record(
    submission: Submission, index: int, key: UUID, home: tuple[Span, datetime], now: datetime
) -> tuple[Any, ...]:
    span, at = home
    values = {
        **submission.beats[index].readings,
        **submission.origin,
        "id": key,
        "viewing_started_at": submission.viewing_started_at,
        "viewing_id": submission.viewing_id,
        "stream_id": span.stream_id,
        "user_id": span.user_id,
        "sent_at": at,
        "created_at": now,
    }
    return tuple(values.get(column) for column in COLUMNS)


async def _streams(driver: Any, submissions: Sequence[Submission]) -> tuple[datetime, dict[UUID, list[Span]]]:
    """Return the database's time, and the streams of each channel that its heartbeats can be of."""
    asked = {
        "channels": list({submission.channel_id for submission in submissions}),
        "earliest": min(submission.viewing_started_at for submission in submissions),
    }
    found: defaultdict[UUID, list[Span]] = defaultdict(list)
    rows = await _STREAMS.on(driver, asked)
    for _, channel_id, *span in rows:
        if channel_id is not None:
            found[channel_id].append(Span(*span))
    return rows[0]["now"], defaultdict(list, {channel_id: in_order(spans) for channel_id, spans in found.items()})


async def _newest(driver: Any, submissions: Iterable[Submission]) -> dict[UUID, datetime]:
    begins = {one.viewing_id: one.viewing_started_at for one in submissions}
    rows = await _NEWEST.on(driver, {"viewings": list(begins), "begins": list(begins.values())})
    return {row["id"]: row["created_at"] for row in rows}


async def _known(
    driver: Any,
    submissions: Sequence[Submission],
    ids: Sequence[Sequence[UUID]],
    begun: Container[UUID],
) -> set[UUID]:
    """Return which of the ids are there; a viewing of which nothing is there need not be asked about."""
    asked: tuple[list[UUID], list[datetime]] = ([], [])
    for submission, keys in zip(submissions, ids, strict=True):
        if submission.viewing_id in begun:
            asked[0].extend(keys)
            asked[1].extend([submission.viewing_started_at] * len(keys))
    if not asked[0]:
        return set()
    return {row["id"] for row in await _KNOWN.on(driver, dict(zip(("ids", "begins"), asked, strict=True)))}


async def _copy(driver: Any, records: Sequence[tuple[Any, ...]]) -> None:
    with errors_of("COPY metrics", but=asyncpg.IntegrityConstraintViolationError):
        await driver.copy_records_to_table(Metric.__tablename__, records=records, columns=COLUMNS)
