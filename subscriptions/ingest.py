"""From events to state: journal, evidence, live flag and notices in one transaction.

The same function serves every door. An event that was seen before changes nothing; the order of events does not matter,
because the rows keep evidence that only moves one way (`models.stream`, `models.stage`).
"""

import logging
import typing
from collections import Counter as Counted
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from prometheus_client import Counter, Gauge
from sqlalchemy import Select, Table, Text, any_, bindparam, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.types import TypeEngine

from ivs.events import Event, LimitEvent, StageEvent, parse
from models import Channel, Outcome, ReceivedEvent, Stage, recording, stage, stream, uuid7
from models.engine import refuses_a_value, waited_in_vain
from models.statement import Statement
from subscriptions import evidence, live
from subscriptions.evidence import CHANNEL_EVENTS, ChannelEvent
from subscriptions.group_commit import GroupCommit
from subscriptions.publish import Publisher, Transaction

logger = logging.getLogger(__name__)

EVENTS = Counter("streamcat_events_total", "Events from AWS by door and what became of them", ["door", "outcome"])
WAITING = Gauge("streamcat_events_waiting", "Events that wait for their commit", multiprocess_mode="livesum")
COMMITS = Counter("streamcat_event_commits_total", "Commits of events of one or many batches")
ACCOUNT_LIMITS = Counter("streamcat_account_limits_total", "Quotas of the AWS account that were exceeded", ["limit"])

# Of these Amazon tells when the whole account exceeds them.
_ACCOUNT_LIMITS: Final = frozenset({"Concurrent Broadcasts", "Concurrent Viewers"})


Kind = type[Channel] | type[Stage]
_What = TypeVar("_What")
_Say = TypeVar("_Say")


@dataclass(frozen=True, slots=True)
class Owner:
    """The channel or stage that an event is about."""

    kind: Kind
    id: UUID


def _blames(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and (refuses_a_value(error) or waited_in_vain(error))


@dataclass(frozen=True, slots=True)
class Batch:
    """What a door took in at once."""

    events: Sequence[Event]
    door: str


class Ingest:
    """Applies events, at most `batch_rows` of several batches by one commit. Safe to run in any number of processes."""

    def __init__(self, publisher: Publisher, *, batch_rows: int) -> None:
        self._publisher = publisher
        self._commits = GroupCommit(
            self._write,
            size=lambda batch: len(batch.events),
            most=batch_rows,
            blames=_blames,
            gauge=WAITING,
        )

    async def ask_database(self) -> None:
        """Return if the database answers.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: It does not.
            OSError: The same.
        """
        async with self._publisher.transaction() as transaction:
            await transaction.session.execute(select(1))

    async def apply(self, events: Sequence[Event], *, door: str) -> None:
        """Apply a batch in one transaction, with others that wait; when this returns, all of it is committed.

        Raises:
            sqlalchemy.exc.DBAPIError: Nothing was applied; the door must deliver the batch again.
        """
        if events:
            await self._commits.submit(Batch(events, door))

    async def _write(self, batches: Sequence[Batch]) -> Sequence[None]:
        async with self._publisher.transaction() as transaction:
            outcomes = await _apply(transaction, batches)
        COMMITS.inc()
        for batch in batches:
            _warn_of_limits(batch.events)
        for (door, outcome), number in outcomes.items():
            EVENTS.labels(door, outcome).inc(number)
        return [None] * len(batches)

    async def adopt(self, transaction: Transaction, row: Channel | Stage) -> None:
        """Apply what arrived for a channel or stage before its ARN was known here."""
        owner = Owner(type(row), row.id)
        await _take_turn(transaction.session, [row.arn or ""])
        rows = (
            await transaction.session.execute(
                update(ReceivedEvent)
                .where(ReceivedEvent.resource == row.arn, ReceivedEvent.outcome == Outcome.UNMATCHED)
                .values(outcome=Outcome.APPLIED, channel_id=_channel_id(owner))
                .returning(ReceivedEvent.body)
            )
        ).scalars()
        await _record(transaction, {owner: [parse(msgspec.json.encode(body)) for body in rows]})


async def _apply(transaction: Transaction, batches: Sequence[Batch]) -> Counted[tuple[str, str]]:
    """Return how many events of which door became what."""
    session = transaction.session
    events = [event for batch in batches for event in batch.events]
    # Of an event that came by two doors at once one is the first.
    unique = {event.envelope.id: (event, batch.door) for batch in batches for event in batch.events}
    arns = {kind: sorted({arn for event in events if (arn := of(event)) is not None}) for kind, of in _ARNS.items()}
    # Locked in one order, so that two batches cannot wait for each other, and before the journal is written, so that
    # whoever merges a channel's streams sees all that was merged before.
    owners = await _lock_owners(session, arns)
    unknown = {kind: [arn for arn in wanted if arn not in owners] for kind, wanted in arns.items()}
    if any(unknown.values()):
        await _take_turn(session, sorted(arn for wanted in unknown.values() for arn in wanted))
        owners |= await _lock_owners(session, unknown)
    rows = [_journal_row(event, door, owners) for _, (event, door) in sorted(unique.items())]
    fresh = {row["event_id"] for row in await _JOURNAL.all(session, _columns(rows))}
    news: defaultdict[Owner, list[Event]] = defaultdict(list)
    outcomes = Counted((batch.door, "DOUBLED") for batch in batches for _ in batch.events)
    for row in rows:
        if row["event_id"] in fresh:
            outcomes[row["door"], "DOUBLED"] -= 1
            outcomes[row["door"], row["outcome"].value] += 1
            if row["outcome"] is Outcome.APPLIED:
                news[owners[row["resource"]]].append(unique[row["event_id"]][0])
    await _record(transaction, news)
    return outcomes


async def _lock_owners(session: AsyncSession, arns: Mapping[Kind, Sequence[str]]) -> dict[str, Owner]:
    """Lock the rows with these ARNs: channels first, then stages, each kind in the order of its keys."""
    found: dict[str, Owner] = {}
    for kind, wanted in arns.items():
        if wanted:
            rows = await _LOCKS[kind].all(session, {"arns": list(wanted)})
            found |= {row["arn"]: Owner(kind, row["id"]) for row in rows}
    return found


def _locking(kind: Kind) -> Select[UUID, str | None]:
    wanted = kind.arn == any_(bindparam("arns", type_=ARRAY(Text())))
    return select(kind.id, kind.arn).where(wanted).order_by(kind.id).with_for_update(key_share=True)


_LOCKS: Final[Mapping[Kind, Statement]] = {kind: Statement(_locking(kind)) for kind in (Channel, Stage)}


async def _take_turn(session: AsyncSession, arns: Sequence[str]) -> None:
    """Wait for whoever journals an event of these ARNs, or stores one of them, until its commit.

    Else both could happen at once and miss each other: an event that nobody will ever adopt.
    """
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(arn, 0)) FROM unnest(CAST(:arns AS text[])) AS arn"),
        {"arns": list(arns)},
    )


async def _record(transaction: Transaction, news: Mapping[Owner, Sequence[Event]]) -> None:
    session = transaction.session
    # Who has just got an ARN may have nothing to adopt.
    news = {owner: events for owner, events in news.items() if events}
    channels = {owner.id: _of_channels(events) for owner, events in news.items() if owner.kind is Channel}
    if channels:
        for channel_id in channels:
            transaction.stream_events_added(channel_id)
        changed = await stream.record(session, _said(channels, evidence.of_streams))
        # Second, because it links the streams.
        changed |= await recording.record(session, _said(channels, evidence.of_recordings))
        if changed:
            await live.refresh(transaction, sorted(changed))
        for channel_id in changed:
            transaction.channel_changed(channel_id)
    stages = {owner.id: events for owner, events in news.items() if owner.kind is Stage}
    if stages:
        changed = await stage.record(session, _said(stages, evidence.of_participants))
        if changed:
            await stage.refresh_live(session, changed)
        for stage_id in changed:
            transaction.stage_changed(stage_id)


def _of_channels(events: Sequence[Event]) -> list[ChannelEvent]:
    return [event for event in events if isinstance(event, CHANNEL_EVENTS)]


def _said(news: Mapping[UUID, Sequence[_What]], read: Callable[[_What], Iterable[_Say]]) -> dict[UUID, list[_Say]]:
    """Return what the events say of each owner, by its key, by one of the readers in `subscriptions.evidence`."""
    return {owner: [one for event in events for one in read(event)] for owner, events in news.items()}


def _channel_arn(event: Event) -> str | None:
    return event.channel_arn if isinstance(event, CHANNEL_EVENTS) else None


def _stage_arn(event: Event) -> str | None:
    return event.stage_arn if isinstance(event, StageEvent) else None


_ARNS: Final[Mapping[Kind, Callable[[Event], str | None]]] = {Channel: _channel_arn, Stage: _stage_arn}


def _channel_id(owner: Owner | None) -> UUID | None:
    return owner.id if owner is not None and owner.kind is Channel else None


def _warn_of_limits(events: Sequence[Event]) -> None:
    for event in events:
        if isinstance(event, LimitEvent) and event.channel_arn is None:
            ACCOUNT_LIMITS.labels(event.limit if event.limit in _ACCOUNT_LIMITS else "other").inc()
            logger.warning("the AWS account is over its quota %s: event %s", event.limit, event.envelope.id)


def _journal_row(event: Event, door: str, owners: Mapping[str, Owner]) -> dict[str, Any]:
    envelope, arn = event.envelope, _channel_arn(event) or _stage_arn(event)
    owner = None if arn is None else owners.get(arn)
    outcome = Outcome.IGNORED if arn is None else Outcome.UNMATCHED if owner is None else Outcome.APPLIED
    return {
        "id": uuid7(),
        "event_id": envelope.id,
        "source": envelope.source,
        "detail_type": envelope.detail_type,
        "resource": envelope.resource,
        "channel_id": _channel_id(owner),
        "ivs_stream_id": event.stream_id if isinstance(event, CHANNEL_EVENTS) else None,
        "door": door,
        "outcome": outcome,
        "body": msgspec.json.encode(event.body).decode(),
        "occurred_at": envelope.time,
    }


_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    column.name: Text() if column.name in ("body", "outcome") else column.type
    for column in ReceivedEvent.__table__.columns
    if column.name not in ("position", "received_at")
}


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in _TYPES}


def _journal() -> ReturningInsert[str]:
    # As arrays: one text of one statement, whatever the number of events, so that it is prepared once.
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in _TYPES.items()]
    given = func.unnest(*arrays).table_valued(*_TYPES, name="given").render_derived()
    values = [cast(given.c.body, JSONB) if name == "body" else given.c[name] for name in _TYPES]
    table = typing.cast("Table", ReceivedEvent.__table__)
    written = insert(table).from_select(list(_TYPES), select(*values))
    return written.on_conflict_do_nothing(index_elements=[ReceivedEvent.event_id]).returning(ReceivedEvent.event_id)


_JOURNAL: Final = Statement(_journal())
