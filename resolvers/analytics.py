"""Analytics of a stream: of its heartbeats, by their roll-ups, and of what was said in its chat.

Averages are over heartbeats: each stands for the same time of watching, so a viewer counts as long as he watched.
Viewers are viewings, counted once per bucket, per value and in all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from models import Stream, rollup
from resolvers.buckets import Buckets, buckets_of
from resolvers.context import Context
from resolvers.rollups import Sums, add_up

MOST_SHARES: Final = 20
_MICROSECONDS: Final = 1_000_000

_CHAT = text("""
SELECT least(floor(extract(epoch FROM sent_at - :start) / :seconds), :buckets - 1)::int AS bucket, count(*)
  FROM chat_messages
 WHERE stream_id = :stream AND sent_at >= :start AND (CAST(:before AS timestamptz) IS NULL OR sent_at < :before)
 GROUP BY bucket
""").bindparams(*(bindparam(name, type_=TIMESTAMP(timezone=True)) for name in ("start", "before")))


@dataclass(frozen=True, slots=True)
class Point:
    """Value of a series in the bucket that begins at `starts_at`."""

    starts_at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many viewers had a value, of `total`."""

    name: str
    viewers: int
    total: int


@dataclass(frozen=True, slots=True)
class Analytics:
    """What the heartbeats of a range say."""

    bucket_seconds: int
    viewers: Sequence[Point]
    chat_messages: Sequence[Point]
    latency_seconds: Sequence[Point]
    buffer_seconds: Sequence[Point]
    bitrate: Sequence[Point]
    framerate: Sequence[Point]
    browsers: Sequence[Share]
    operating_systems: Sequence[Share]
    qualities: Sequence[Share]
    peak_viewers: int
    unique_viewers: int
    watch_time_seconds: int


# What is added up for an attribute, unless its name says so itself.
_ADDED_UP: Final = {
    "browsers": {rollup.BROWSERS, rollup.VIEWERS},
    "operating_systems": {rollup.SYSTEMS, rollup.VIEWERS},
    "qualities": {rollup.QUALITIES, rollup.VIEWERS},
    "peak_viewers": {rollup.PRESENT},
    "unique_viewers": {rollup.VIEWERS},
    "watch_time_seconds": {rollup.WATCHED},
}


async def of_stream(
    ctx: Context,
    stream: Stream,
    start: datetime | None,
    end: datetime | None,
    bucket_seconds: int | None,
    *,
    wanted: Collection[str],
) -> Analytics | None:
    """Return the analytics of a stream from `start` to before `end`, in whole minutes; null before the stream's start.

    Of the attributes only those that are `wanted` cost anything; the others are empty or 0.

    Raises:
        RequestError: BAD_INPUT for a range or bucket that is not acceptable.
    """
    rules = ctx.services.playback
    buckets = buckets_of(stream, start, end, bucket_seconds, now=datetime.now(UTC), most=rules.most_buckets)
    if buckets is None:
        return None
    kinds = set().union(*(_ADDED_UP.get(name, {name}) for name in wanted))
    async with ctx.services.read_sessions() as session:
        # What is rolled up between two statements would be missing in both, or in none.
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        sums = await add_up(session, stream.id, buckets, rules.rhythm, kinds)
        chat: dict[int, int] = {}
        if "chat_messages" in wanted:
            scope = {"stream": stream.id, "start": buckets.start, "before": buckets.before}
            asked = {**scope, "seconds": buckets.seconds, "buckets": buckets.number}
            chat = {bucket: number for bucket, number in await session.execute(_CHAT, asked)}  # noqa: C416 - rows
    return _analytics(buckets, sums, chat, wanted)


def _analytics(buckets: Buckets, sums: Sums, chat: Mapping[int, int], wanted: Collection[str]) -> Analytics:
    def points(name: str, told: Mapping[int, float]) -> list[Point]:
        if name not in wanted:
            return []
        return [
            Point(buckets.start + index * buckets.length, float(told.get(index, 0))) for index in range(buckets.number)
        ]

    def averages(name: str) -> list[Point]:
        place = rollup.READINGS.index(name)
        pairs = ((bucket, readings[place]) for bucket, readings in sums.readings.items())
        return points(name, {bucket: total / number for bucket, (total, number) in pairs if number})

    def shares(kind: str) -> list[Share]:
        of_kind = [(name, viewers) for (of, name), viewers in sums.shares.items() if of == kind]
        of_kind.sort(key=lambda share: (-share[1], share[0]))
        return [Share(name, viewers, sums.unique) for name, viewers in of_kind[:MOST_SHARES]]

    return Analytics(
        bucket_seconds=buckets.seconds,
        viewers=points("viewers", sums.viewers),
        chat_messages=points("chat_messages", chat),
        latency_seconds=averages("latency_seconds"),
        buffer_seconds=averages("buffer_seconds"),
        bitrate=averages("bitrate"),
        framerate=averages("framerate"),
        browsers=shares(rollup.BROWSERS),
        operating_systems=shares(rollup.SYSTEMS),
        qualities=shares(rollup.QUALITIES),
        peak_viewers=sums.peak,
        unique_viewers=sums.unique,
        watch_time_seconds=round(Fraction(sums.watched, _MICROSECONDS)),
    )
