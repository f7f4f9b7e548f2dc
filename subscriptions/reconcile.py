"""Repairs what no event has told: asks Amazon IVS what is live, and applies the differences as events.

They take the way of all events, so that what arrives late after all changes nothing any more. A stream that is not
listed is not over for that: the list is seconds behind. Amazon's own record of the stream says whether it has ended,
and when.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from prometheus_client import Counter
from sqlalchemy import Text, any_, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from ivs import streams
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, StreamEventName
from ivs.streams import LiveStream
from models import Channel, Stream, StreamHealth, StreamState, pace
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher

logger = logging.getLogger(__name__)

RECONCILED = Counter("streamcat_reconciled_total", "Differences from what Amazon says, by the event missing", ["event"])
ROUNDS = Counter("streamcat_reconcile_rounds_total", "Rounds of comparing with Amazon", ["outcome"])

_DOOR: Final = "reconcile"
# Of one transaction: it locks the channels of all its events.
_EVENTS_AT_ONCE: Final = 100
# Of one round, below the 5 per second that Amazon grants; the rest is for the next.
_SESSIONS_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class ReconcilerConfig:
    """How often Amazon is asked, and for how long a start may be missing in its list; in seconds."""

    interval: float
    grace: float


@dataclass(frozen=True, slots=True)
class Known:
    """A stream as the database has it."""

    channel_arn: str
    stream_id: str
    state: StreamState
    started_at: datetime | None
    health: StreamHealth | None


class Reconciler:
    """The job that compares. Any number of processes may run it; one compares at a time."""

    def __init__(self, publisher: Publisher, aws: Aws, ingest: Ingest, config: ReconcilerConfig) -> None:
        self._publisher = publisher
        self._aws = aws
        self._ingest = ingest
        self.config = config
        self._asked = 0

    async def compare(self) -> None:
        """Compare the streams once, unless another process has just done so; whatever AWS does not answer waits."""
        async with self._publisher.transaction() as transaction:
            # A little more often than the interval, so that a process's own rounds never miss its turn.
            rate = 1.1 / self.config.interval
            if await pace.attempt(transaction.session, "job:reconcile", rate=rate, burst=1) > 0:
                return
        try:
            outcome = await self._compare()
        except AwsError as error:
            outcome = _failed(error)
        ROUNDS.labels(outcome).inc()

    async def _compare(self) -> str:
        began = datetime.now(UTC)
        listed = await streams.live_streams(self._aws)
        async with self._publisher.transaction() as transaction:
            ours = await _ours(transaction.session, {arn for arn, _ in listed})
            listed = {key: one for key, one in listed.items() if one.channel_arn in ours}
            known = await _known(transaction.session, listed)
        missing = list(_not_told(listed, known, began))
        unlisted = [
            one
            for key, one in known.items()
            if key not in listed and one.state is StreamState.LIVE and self._is_settled(one, began)
        ]
        outcome = "ok"
        for one in self._some(unlisted):
            try:
                missing += await self._end(one, began)
            except AwsError as error:
                # The others must not wait for the one.
                outcome = _failed(error)
        for start in range(0, len(missing), _EVENTS_AT_ONCE):
            await self._ingest.apply(missing[start : start + _EVENTS_AT_ONCE], door=_DOOR)
        for event in missing:
            logger.info("reconciliation: %s", event.envelope.id)
            RECONCILED.labels(event.body["detail"]["event_name"]).inc()
        return outcome

    def _some(self, unlisted: list[Known]) -> list[Known]:
        """Return as many as may be asked about in a round, others than in the last one if there are more."""
        first = self._asked % len(unlisted) if unlisted else 0
        self._asked = first + _SESSIONS_AT_ONCE
        return (unlisted[first:] + unlisted[:first])[:_SESSIONS_AT_ONCE]

    def _is_settled(self, one: Known, began: datetime) -> bool:
        return one.started_at is None or one.started_at < began - timedelta(seconds=self.config.grace)

    async def _end(self, one: Known, now: datetime) -> list[Event]:
        """Return the end of a stream that is not listed, if Amazon knows of one, or nothing of the stream."""
        session = await streams.session(self._aws, one.channel_arn, one.stream_id)
        if session.is_known and session.ended_at is None:
            return []
        return [streams.event(one.channel_arn, one.stream_id, StreamEventName.STREAM_END, session.ended_at or now)]


def _failed(error: AwsError) -> str:
    logger.warning("reconciliation: %s", error)
    return error.code


def _not_told(
    listed: dict[tuple[str, str], LiveStream], known: dict[tuple[str, str], Known], now: datetime
) -> Iterator[Event]:
    for key, stream in listed.items():
        ours = known.get(key)
        # Over is over: the list is seconds behind.
        if ours is None or ours.state in (StreamState.STARTING, StreamState.FAILED):
            yield streams.event(*key, StreamEventName.STREAM_START, stream.started_at)
        elif ours.state is StreamState.ENDED:
            continue
        starving = ours is not None and ours.health is StreamHealth.STARVING
        if stream.starving is not None and stream.starving is not starving:
            name = StreamEventName.STARVATION_START if stream.starving else StreamEventName.STARVATION_END
            yield streams.event(*key, name, now)


async def _ours(session: AsyncSession, arns: Collection[str]) -> set[str]:
    """Return which of the ARNs are of channels of this installation: others may share the account."""
    wanted = Channel.arn == any_(literal(list(arns), ARRAY(Text)))
    return set((await session.execute(select(Channel.arn).where(wanted))).scalars())  # type: ignore[arg-type]


async def _known(session: AsyncSession, listed: dict[tuple[str, str], LiveStream]) -> dict[tuple[str, str], Known]:
    """Return the streams that are listed, or that we believe to be live."""
    columns = (Channel.arn, Stream.ivs_stream_id, Stream.state, Stream.started_at, Stream.health)
    every = select(*columns).join(Stream, Stream.channel_id == Channel.id).where(Channel.arn.is_not(None))
    ids = any_(literal([stream_id for _, stream_id in listed], ARRAY(Text)))
    wanted = or_(Channel.live_stream_id == Stream.id, Stream.ivs_stream_id == ids)
    rows: Any = await session.execute(every.where(wanted))
    return {(row[0], row[1]): Known(*row) for row in rows}
