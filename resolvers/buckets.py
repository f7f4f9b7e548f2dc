"""Into which buckets of time a range of a stream falls."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from models import Stream
from models.rollup import MINUTE, minute_of
from resolvers.errors import RequestError, bad_input

# Buckets are whole minutes of UTC, as roll-ups are.
SHORTEST_BUCKET: Final = 60


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets of `seconds` from `start` on, in whole minutes; `before`, if any, cuts heartbeats off."""

    start: datetime
    before: datetime | None
    seconds: int
    number: int

    @property
    def length(self) -> timedelta:
        """The length of a bucket."""
        return timedelta(seconds=self.seconds)

    def of(self, moment: datetime) -> int:
        """Return in which bucket a moment of the range lies; the last takes what comes after it."""
        return min((moment - self.start) // self.length, self.number - 1)


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

    The range grows to whole minutes.

    Raises:
        RequestError: BAD_INPUT for an empty range, buckets that are not of whole minutes, or too many of them.
    """
    if seconds is not None and (seconds < SHORTEST_BUCKET or seconds % SHORTEST_BUCKET):
        raise bad_input(f"`bucketSeconds` is {seconds}; it must be {SHORTEST_BUCKET} or a multiple of it.")
    if stream.started_at is None:
        return None
    begin = _utc(start or stream.started_at)
    # Heartbeats of the last moment stand exactly at the stream's end, and belong to it.
    finish = _utc(end or stream.ended_at or max(now, begin))
    if finish < begin or (end is not None and finish == begin):
        raise bad_input("`from` must lie before `to`, and before the stream's end.")
    begin = minute_of(begin)
    if end is not None:
        finish = _minute_after(finish)
    length = finish - begin
    if seconds is None:
        seconds = SHORTEST_BUCKET * (1 + int(length.total_seconds() / most) // SHORTEST_BUCKET)
    bucket = timedelta(seconds=seconds)
    number = -(-length // bucket) if end is not None else length // bucket + 1
    if number > most:
        raise bad_input(f"The range has {number} buckets of {seconds} seconds; at most {most} are answered.")
    return Buckets(begin, None if end is None else finish, seconds, number)


def _minute_after(moment: datetime) -> datetime:
    whole = minute_of(moment)
    try:
        return whole if whole == moment else whole + MINUTE
    except OverflowError as error:
        raise _out_of_years() from error


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise _out_of_years() from error


def _out_of_years() -> RequestError:
    return bad_input("`from` and `to` must lie in the years 1 to 9999 of UTC.")
