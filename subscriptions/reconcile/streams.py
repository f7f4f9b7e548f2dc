"""Channels: what is live by Amazon's list and not here, and the reverse.

The differences become events, so that what arrives late after all changes nothing any more. A stream that is not listed
is not over for that: the list is seconds behind. Amazon's own record of the stream says whether it has ended, and when.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Integer, Text, any_, bindparam, func, literal, or_, select, text, union
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from ivs import streams
from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, StreamEventName
from ivs.streams import LiveStream, Session
from models import Channel, Stream, StreamHealth, StreamState
from models.stream import UNSETTLED
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher
from subscriptions.reconcile.rounds import ROUNDS, ReconcilerConfig, Rotation, failed, is_our_turn, make_up

# Of one round, below the 5 per second that Amazon grants; the rest is for the next.
_SESSIONS_AT_ONCE: Final = 20
_ASKED_FOR: Final = timedelta(days=1)

# A row that somebody else works on is updated in the next round; who waits for nobody cannot wait in a circle.
_STORE_VIEWS: Final = text("""
WITH stale AS (
  SELECT streams.id, told.views
    FROM unnest(:arns, :streams, :views) AS told (arn, stream_id, views)
    JOIN channels ON channels.arn = told.arn
    JOIN streams ON streams.channel_id = channels.id AND streams.ivs_stream_id = told.stream_id
   WHERE streams.concurrent_views IS DISTINCT FROM told.views
     FOR NO KEY UPDATE OF streams SKIP LOCKED
)
UPDATE streams SET concurrent_views = stale.views FROM stale WHERE streams.id = stale.id
""").bindparams(
    bindparam("arns", type_=ARRAY(Text)),
    bindparam("streams", type_=ARRAY(Text)),
    bindparam("views", type_=ARRAY(Integer)),
)


@dataclass(frozen=True, slots=True)
class Known:
    """A stream as the database has it; `over_at` is its end as far as it is known from itself."""

    channel_arn: str
    stream_id: str
    state: StreamState
    first_seen_at: datetime
    started_at: datetime | None
    over_at: datetime | None
    health: StreamHealth | None


class StreamReconciler:
    """The job that compares. Any number of processes may run it; one compares at a time."""

    def __init__(self, publisher: Publisher, aws: Aws, ingest: Ingest, config: ReconcilerConfig) -> None:
        self._publisher = publisher
        self._aws = aws
        self._ingest = ingest
        self.config = config
        self._asked = Rotation(_SESSIONS_AT_ONCE)

    async def compare(self) -> None:
        """Compare the streams once, unless another process has just done so; whatever AWS does not answer waits."""
        if not await is_our_turn(self._publisher, "reconcile-streams", self.config.interval):
            return
        try:
            outcome = await self._compare()
        except AwsError as error:
            outcome = failed(error)
        ROUNDS.labels("streams", outcome).inc()

    async def _compare(self) -> str:
        began = datetime.now(UTC)
        listed = await streams.live_streams(self._aws)
        async with self._publisher.transaction() as transaction:
            ours = await _ours(transaction.session, {arn for arn, _ in listed})
            listed = {key: one for key, one in listed.items() if one.channel_arn in ours}
            known = await _known(transaction.session, listed, began)
        missing = list(_not_told(listed, known, began))
        unlisted = [one for key, one in known.items() if key not in listed and self._is_settled(one, began)]
        outcome = "ok"
        for one in self._asked.some(unlisted):
            try:
                missing += await self._untold(one, began)
            except AwsError as error:
                # The others must not wait for the one.
                outcome = failed(error)
        await make_up(self._ingest, missing)
        await self._store_views(listed)
        return outcome

    async def _store_views(self, listed: dict[tuple[str, str], LiveStream]) -> None:
        counted = [(*key, one.views) for key, one in listed.items() if one.views is not None]
        if counted:
            arns, stream_ids, views = (list(column) for column in zip(*counted, strict=True))
            async with self._publisher.transaction() as transaction:
                told = {"arns": arns, "streams": stream_ids, "views": views}
                await transaction.session.execute(_STORE_VIEWS, told)

    def _is_settled(self, one: Known, began: datetime) -> bool:
        return (one.started_at or one.first_seen_at) < began - timedelta(seconds=self.config.grace)

    async def _untold(self, one: Known, now: datetime) -> Iterator[Event]:
        """Return what is missing of a stream that is not listed, if Amazon knows of it, or nothing of the stream."""
        session = await streams.session(self._aws, one.channel_arn, one.stream_id)
        return _rest(one, session, now)


def _rest(one: Known, session: Session, now: datetime) -> Iterator[Event]:
    """Yield start and end of a stream as far as they are missing; an end now if we alone believe that it goes on."""
    key = one.channel_arn, one.stream_id
    if one.started_at is None and session.started_at is not None:
        yield streams.event(*key, StreamEventName.STREAM_START, session.started_at)
    over_at = session.ended_at
    if over_at is None and not session.is_known and one.state is not StreamState.ENDED:
        over_at = now
    if one.over_at is None and over_at is not None:
        has_started = one.started_at is not None or session.started_at is not None
        # One that never started has no end but its session's.
        name = StreamEventName.STREAM_END if has_started else StreamEventName.SESSION_ENDED
        yield streams.event(*key, name, over_at)


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


async def _known(
    session: AsyncSession, listed: dict[tuple[str, str], LiveStream], began: datetime
) -> dict[tuple[str, str], Known]:
    """Return the streams that are listed, and those of which an end or a start is missing, also behind a later one."""
    arns, ids = ([key[place] for key in listed] for place in (0, 1))
    of_list = (
        select(Stream.id)
        .join(Channel, Channel.id == Stream.channel_id)
        .where(Channel.arn == any_(literal(arns, ARRAY(Text))), Stream.ivs_stream_id == any_(literal(ids, ARRAY(Text))))
    )
    # Of what Amazon knows nothing it is asked no more after a while; what is shown as live is never left so.
    recent = or_(Stream.state == StreamState.LIVE, Stream.created_at > began - _ASKED_FOR)
    wanted = union(of_list, select(Stream.id).where(UNSETTLED, recent)).subquery()
    columns = (
        Channel.arn,
        Stream.ivs_stream_id,
        Stream.state,
        Stream.first_seen_at,
        Stream.started_at,
        func.coalesce(Stream.stream_ended_at, Stream.session_ended_at),
        Stream.health,
    )
    found = (
        select(*columns)
        .join(Stream, Stream.channel_id == Channel.id)
        .join(wanted, wanted.c.id == Stream.id)
        .where(Channel.arn.is_not(None))
    )
    rows: Any = await session.execute(found)
    return {(row[0], row[1]): Known(*row) for row in rows}
