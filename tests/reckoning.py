"""Analytics reckoned in Python from the heartbeats that were sent, one by one: what the server's must be equal to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

WINDOW, INTERVAL = timedelta(seconds=45), timedelta(seconds=30)
SHARES = {"browsers": "browserName", "operatingSystems": "os", "qualities": "quality"}
AVERAGES = ("latencySeconds", "bufferSeconds", "bitrate", "framerate")


@dataclass(frozen=True)
class Sent:
    """A heartbeat as it was stored."""

    viewing: UUID
    at: datetime
    readings: Mapping[str, Any]


def analytics(
    sent: Sequence[Sent], start: datetime, before: datetime | None, finish: datetime, seconds: int, buckets: int
) -> dict[str, Any]:
    """Return what GraphQL answers for the range, whose watching ends at `finish`, or at `before`."""
    beats = [beat for beat in sent if start <= beat.at and (before is None or beat.at < before)]
    length = timedelta(seconds=seconds)
    of = [[beat for beat in beats if min((beat.at - start) // length, buckets - 1) == one] for one in range(buckets)]
    total = len({beat.viewing for beat in beats})

    def series(value: Callable[[list[Sent]], float]) -> list[dict[str, Any]]:
        return [
            {"startsAt": (start + place * length).isoformat(), "value": float(value(one))}
            for place, one in enumerate(of)
        ]

    def average(name: str) -> Callable[[list[Sent]], float]:
        def of_bucket(bucket: list[Sent]) -> float:
            told = [beat.readings[name] for beat in bucket if beat.readings.get(name) is not None]
            return sum(told) / len(told) if told else 0.0

        return of_bucket

    return {
        "bucketSeconds": seconds,
        "viewers": series(lambda bucket: len({beat.viewing for beat in bucket})),
        "chatMessages": series(lambda _: 0),
        **{name: series(average(name)) for name in AVERAGES},
        **{name: _shares(beats, column, total) for name, column in SHARES.items()},
        "peakViewers": _peak(beats),
        "uniqueViewers": total,
        "watchTimeSeconds": _watched(beats, finish if before is None else min(before, finish)),
    }


def _shares(beats: Sequence[Sent], column: str, total: int) -> list[dict[str, Any]]:
    had: dict[str, set[UUID]] = {}
    for beat in beats:
        if beat.readings.get(column) is not None:
            had.setdefault(beat.readings[column], set()).add(beat.viewing)
    ranked = sorted(had.items(), key=lambda share: (-len(share[1]), share[0]))
    return [{"name": name, "viewers": len(who), "fraction": len(who) / total} for name, who in ranked]


def _moments(beats: Sequence[Sent]) -> dict[UUID, list[datetime]]:
    moments: dict[UUID, list[datetime]] = {}
    for beat in sorted(beats, key=lambda one: one.at):
        moments.setdefault(beat.viewing, []).append(beat.at)
    return moments


def _peak(beats: Sequence[Sent]) -> int:
    """Somebody is present when he sent within the window before; nobody comes but with a heartbeat."""
    moments = _moments(beats)
    return max(
        (
            sum(any(timedelta(0) <= at - one < WINDOW for one in of_viewing) for of_viewing in moments.values())
            for at in {beat.at for beat in beats}
        ),
        default=0,
    )


def _watched(beats: Sequence[Sent], finish: datetime) -> int:
    watched = timedelta(0)
    for of_viewing in _moments(beats).values():
        for place, at in enumerate(of_viewing):
            ends = [at + INTERVAL, finish, *of_viewing[place + 1 : place + 2]]
            watched += max(min(ends) - at, timedelta(0))
    return round(watched.total_seconds())
