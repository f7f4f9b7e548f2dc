"""Stages: who publishes by what Amazon says and not here, and the reverse.

The list of stages tells which sessions go on, and a session's list who has ever published in it. Who publishes now only
the participant's own events tell, so Amazon is asked for those wherever rows and lists do not settle it: at once where
they contradict each other, in turns where somebody who has published is still there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Text, any_, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from ivs import stage_sessions
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, StageEventName
from ivs.stage_sessions import Publishing
from models import Stage, StageParticipant
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher
from subscriptions.reconcile.rounds import ROUNDS, ReconcilerConfig, Rotation, failed, is_our_turn, make_up

# Of one round: at Amazon's 5 per second for each operation, no more than about ten seconds.
_SESSIONS_AT_ONCE: Final = 50
_CONTRADICTIONS_AT_ONCE: Final = 30
_UNSETTLED_AT_ONCE: Final = 20

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Known:
    """A participant as the database has one."""

    stage_arn: str
    session_id: str
    participant_id: str
    published_at: datetime | None
    unpublished_at: datetime | None
    on_stage: bool


@dataclass(frozen=True, slots=True)
class Doubt:
    """A participant of whom Amazon's events have to be asked; `known` is null for one who is nowhere here.

    `goes_on` tells whether the session does, `is_listed` whether the participant is in Amazon's list of it.
    """

    stage_arn: str
    session_id: str
    participant_id: str
    known: Known | None
    goes_on: bool = False
    is_listed: bool = False
    user_id: str | None = None


class StageReconciler:
    """The job that compares. Any number of processes may run it; one compares at a time."""

    def __init__(self, publisher: Publisher, aws: Aws, ingest: Ingest, config: ReconcilerConfig) -> None:
        self._publisher = publisher
        self._aws = aws
        self._ingest = ingest
        self.config = config
        self._sessions = Rotation(_SESSIONS_AT_ONCE)
        self._contradictions = Rotation(_CONTRADICTIONS_AT_ONCE)
        self._unsettled = Rotation(_UNSETTLED_AT_ONCE)

    async def compare(self) -> None:
        """Compare the stages once, unless another process has just done so; whatever AWS does not answer waits."""
        if not await is_our_turn(self._publisher, "reconcile-stages", self.config.interval):
            return
        try:
            outcome = await self._compare()
        except AwsError as error:
            outcome = failed(error)
        ROUNDS.labels("stages", outcome).inc()

    async def _compare(self) -> str:
        began = datetime.now(UTC)
        active = await stage_sessions.active(self._aws)
        async with self._publisher.transaction() as transaction:
            active = await _ours(transaction.session, active)
            known = await _known(transaction.session, active)
        settled_by = began - timedelta(seconds=self.config.grace)
        outcome = "ok"
        contradictions = [
            Doubt(one.stage_arn, one.session_id, one.participant_id, one)
            for one in known.values()
            if one.on_stage and active.get(one.stage_arn) != one.session_id and _is_settled(one, settled_by)
        ]
        unsettled: list[Doubt] = []
        for arn, session_id in self._sessions.some(sorted(active.items())):
            try:
                doubts = await self._doubts(arn, session_id, known, settled_by)
            except AwsError as error:
                # The others must not wait for the one.
                outcome = failed(error)
                continue
            for doubt, is_contradiction in doubts:
                (contradictions if is_contradiction else unsettled).append(doubt)
        missing: list[Event] = []
        for doubt in (*self._contradictions.some(contradictions), *self._unsettled.some(unsettled)):
            try:
                missing += await self._ask(doubt, began)
            except AwsError as error:
                outcome = failed(error)
        await make_up(self._ingest, missing)
        return outcome

    async def _doubts(
        self, arn: str, session_id: str, known: dict[tuple[str, str, str], Known], settled_by: datetime
    ) -> list[tuple[Doubt, bool]]:
        """Return whom to ask about in a session that goes on, and whether rows and list contradict each other."""
        found: list[tuple[Doubt, bool]] = []
        listed = await stage_sessions.publishers(self._aws, arn, session_id)
        for one in listed:
            ours = known.get((arn, session_id, one.participant_id))
            if ours is not None and not _is_settled(ours, settled_by):
                continue
            on_stage = ours is not None and ours.on_stage
            if one.is_connected or on_stage:
                doubt = Doubt(
                    arn, session_id, one.participant_id, ours, goes_on=True, is_listed=True, user_id=one.user_id
                )
                found.append((doubt, ours is None or not one.is_connected))
        there = {one.participant_id for one in listed}
        for ours in known.values():
            is_here = (ours.stage_arn, ours.session_id) == (arn, session_id) and ours.on_stage
            if is_here and ours.participant_id not in there and _is_settled(ours, settled_by):
                found.append((Doubt(arn, session_id, ours.participant_id, ours, goes_on=True), True))
        return found

    async def _ask(self, doubt: Doubt, now: datetime) -> list[Event]:
        """Return the events of a participant that are missing here."""
        ids = doubt.stage_arn, doubt.session_id, doubt.participant_id
        told = await stage_sessions.publishing(self._aws, *ids)
        if not doubt.goes_on and _stays(doubt.known, told):
            told = await self._over(doubt, told, now)
        elif not told.is_known and not doubt.is_listed:
            told = Publishing(stopped_at=now)
        return [stage_sessions.event(*ids, name, at, doubt.user_id) for name, at in _not_told(doubt.known, told)]

    async def _over(self, doubt: Doubt, told: Publishing, now: datetime) -> Publishing:
        """Let publishing of which no stop is known stop with its session, if that is over, or Amazon knows of none."""
        session = await stage_sessions.session(self._aws, doubt.stage_arn, doubt.session_id)
        if session.is_known and session.ended_at is None:
            return told
        return Publishing(told.started_at, session.ended_at or now)


def _is_settled(one: Known, by: datetime) -> bool:
    return all(at is None or at < by for at in (one.published_at, one.unpublished_at))


def _stays(known: Known | None, told: Publishing) -> bool:
    """Tell whether the participant would stay on stage by what was told."""
    since = known.published_at if known else None
    stopped_at = told.stopped_at
    return stopped_at is None or (since is not None and stopped_at < since and not _is_same(stopped_at, since))


def _not_told(known: Known | None, told: Publishing) -> Iterator[tuple[StageEventName, datetime]]:
    published_at, unpublished_at = (known.published_at, known.unpublished_at) if known else (None, None)
    started_at, stopped_at = told.started_at, told.stopped_at
    if told.goes_on and started_at and unpublished_at and _is_same(started_at, unpublished_at):
        started_at = unpublished_at + _MICROSECOND
    if started_at and (published_at is None or started_at > published_at):
        yield StageEventName.PUBLISHED, started_at
    if stopped_at and published_at and _is_same(stopped_at, published_at):
        stopped_at = max(stopped_at, published_at)
    if stopped_at and (unpublished_at is None or stopped_at > unpublished_at):
        yield StageEventName.UNPUBLISHED, stopped_at


def _is_same(told: datetime, known: datetime) -> bool:
    """Tell whether the two may be one moment: Amazon answers in whole seconds, and its events are finer."""
    return told == known.replace(microsecond=0)


async def _ours(session: AsyncSession, active: dict[str, str]) -> dict[str, str]:
    """Return those of the sessions that are of stages of this installation: others may share the account."""
    wanted = Stage.arn == any_(literal(list(active), ARRAY(Text)))
    return {arn: active[arn] for arn in (await session.execute(select(Stage.arn).where(wanted))).scalars() if arn}


async def _known(session: AsyncSession, active: dict[str, str]) -> dict[tuple[str, str, str], Known]:
    """Return the participants of the sessions that go on, and those whom we believe to be on stage."""
    columns = (
        Stage.arn,
        StageParticipant.ivs_session_id,
        StageParticipant.participant_id,
        StageParticipant.published_at,
        StageParticipant.unpublished_at,
        StageParticipant.on_stage,
    )
    every = select(*columns).join(StageParticipant, StageParticipant.stage_id == Stage.id)
    of_session = any_(literal(list(active.values()), ARRAY(Text)))
    of_stage = Stage.arn == any_(literal(list(active), ARRAY(Text)))
    there = or_(Stage.live_since.is_not(None), of_stage)
    wanted = or_(StageParticipant.on_stage, StageParticipant.ivs_session_id == of_session)
    rows: Any = await session.execute(every.where(Stage.arn.is_not(None), there, wanted))
    return {(row[0], row[1], row[2]): Known(*row) for row in rows}
