"""Into which buckets of time a range of a stream falls."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from models import Stream
from resolvers.errors import bad_input

SHORTEST_BUCKET: Final = 60


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets of `seconds` from `start` on, as many as are needed to reach `finish`; `before` cuts heartbeats off."""

    start: datetime
    finish: datetime
    before: datetime | None
    seconds: int
    number: int


def buckets_of(
    stream: Stream,
    start: datetime | None,
    end: datetime | None,
    seconds: int | None,
    *,
    now: datetime,
    most: int,
) -> Buckets | None:
    """Return the buckets that are asked for, of the whole stream if not told otherwise; null if it has not begun.

    Raises:
        RequestError: BAD_INPUT for an empty range, too short buckets or too many of them.
    """
    if seconds is not None and seconds < SHORTEST_BUCKET:
        raise bad_input(f"`bucketSeconds` is {seconds}; it must be at least {SHORTEST_BUCKET}.")
    if stream.started_at is None:
        return None
    begin = _utc(start or stream.started_at)
    # Heartbeats of the last moment stand exactly at the stream's end, and belong to it.
    finish = _utc(end or stream.ended_at or max(now, begin))
    length = finish - begin
    if length < timedelta(0) or (end is not None and not length):
        raise bad_input("`from` must lie before `to`, and before the stream's end.")
    if seconds is None:
        seconds = SHORTEST_BUCKET * (1 + int(length.total_seconds() / most) // SHORTEST_BUCKET)
    bucket = timedelta(seconds=seconds)
    number = -(-length // bucket) if end is not None else length // bucket + 1
    if number > most:
        raise bad_input(f"The range has {number} buckets of {seconds} seconds; at most {most} are answered.")
    return Buckets(begin, finish, None if end is None else finish, seconds, number)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise bad_input("`from` and `to` must lie in the years 1 to 9999 of UTC.") from error
