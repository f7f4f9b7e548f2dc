"""Counts and analytics reckoned in Python from the heartbeats that were sent: what the server's must be equal to."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WINDOW, INTERVAL, PERIOD = timedelta(seconds=45), timedelta(seconds=30), timedelta(seconds=60)
SHARES = {"browsers": "browserName", "operatingSystems": "os", "qualities": "quality"}
AVERAGES = ("latencySeconds", "bufferSeconds", "bitrate", "framerate")


@dataclass(frozen=True)
class Sent:
    """A heartbeat as it was stored."""

    viewing: Hashable
    at: datetime
    readings: Mapping[str, Any]


def present(sent: Iterable[Sent], now: datetime) -> set[Hashable]:
    """Return the viewings that have sent something within the window that ends now."""
    return {beat.viewing for beat in sent if now - WINDOW < beat.at <= now}


def live_stats(sent: Sequence[Sent], said: Iterable[datetime], now: datetime, peak: int) -> dict[str, Any]:
    """Return what GraphQL tells the streamer of a healthy stream, which had at most `peak` viewers until now."""
    here, before = present(sent, now), present(sent, now - PERIOD)
    newest = list({beat.viewing: beat for beat in sorted(sent, key=_at) if beat.viewing in here}.values())
    told = {name: [beat.readings[name] for beat in newest if name in beat.readings] for name in (*AVERAGES, "quality")}
    return {
        "health": "HEALTHY",
        "viewerCount": len(here),
        "peakViewerCount": max(peak, len(here)),
        "joins": len(here - before),
        "leaves": len(before - here),
        **{name: sum(told[name]) / len(told[name]) if told[name] else None for name in AVERAGES},
        "p95LatencySeconds": _percentile(sorted(told["latencySeconds"]), 0.95),
        "qualities": _shares(newest, "quality", len(here)),
        "chatMessagesPerMinute": sum(now - PERIOD < at <= now for at in said),
    }


def analytics(
    sent: Sequence[Sent],
    start: datetime,
    before: datetime | None,
    finish: datetime,
    seconds: int,
    buckets: int,
    said: Iterable[datetime] = (),
) -> dict[str, Any]:
    """Return what GraphQL answers for the range, whose watching ends at `finish`, or at `before`."""
    length = timedelta(seconds=seconds)

    def place(at: datetime) -> int:
        return min((at - start) // length, buckets - 1)

    def within(at: datetime) -> bool:
        return start <= at and (before is None or at < before)

    beats = [beat for beat in sent if within(beat.at)]
    of: list[list[Sent]] = [[] for _ in range(buckets)]
    for beat in beats:
        of[place(beat.at)].append(beat)
    messages = [0] * buckets
    for at in filter(within, said):
        messages[place(at)] += 1
    total = len({beat.viewing for beat in beats})

    def points(values: Iterable[float]) -> list[dict[str, Any]]:
        return [
            {"startsAt": (start + number * length).isoformat(), "value": float(value)}
            for number, value in enumerate(values)
        ]

    def series(value: Callable[[list[Sent]], float]) -> list[dict[str, Any]]:
        return points(map(value, of))

    def average(name: str) -> Callable[[list[Sent]], float]:
        def of_bucket(bucket: list[Sent]) -> float:
            told = [beat.readings[name] for beat in bucket if beat.readings.get(name) is not None]
            return sum(told) / len(told) if told else 0.0

        return of_bucket

    return {
        "bucketSeconds": seconds,
        "viewers": series(lambda bucket: len({beat.viewing for beat in bucket})),
        "chatMessages": points(messages),
        **{name: series(average(name)) for name in AVERAGES},
        **{name: _shares(beats, column, total) for name, column in SHARES.items()},
        "peakViewers": _peak(beats),
        "uniqueViewers": total,
        "watchTimeSeconds": _watched(beats, finish if before is None else min(before, finish)),
    }


def _shares(beats: Sequence[Sent], column: str, total: int) -> list[dict[str, Any]]:
    had: dict[str, set[Hashable]] = {}
    for beat in beats:
        if beat.readings.get(column) is not None:
            had.setdefault(beat.readings[column], set()).add(beat.viewing)
    ranked = sorted(had.items(), key=lambda share: (-len(share[1]), share[0]))
    return [{"name": name, "viewers": len(who), "fraction": len(who) / total} for name, who in ranked]


def _at(beat: Sent) -> datetime:
    return beat.at


def _moments(beats: Sequence[Sent]) -> dict[Hashable, list[datetime]]:
    moments: dict[Hashable, list[datetime]] = {}
    for beat in sorted(beats, key=_at):
        moments.setdefault(beat.viewing, []).append(beat.at)
    return moments


def _peak(beats: Sequence[Sent]) -> int:
    """Somebody is present from a heartbeat until the window after it, and only once."""
    changes = []
    for of_viewing in _moments(beats).values():
        nexts = [*of_viewing[1:], None]
        for at, then in zip(of_viewing, nexts, strict=True):
            end = at + WINDOW if then is None else min(at + WINDOW, then)
            changes += [(at, 1), (end, -1)]
    count = peak = 0
    # Who leaves at a moment goes before who comes at it.
    for _, change in sorted(changes):
        count += change
        peak = max(peak, count)
    return peak


def _watched(beats: Sequence[Sent], finish: datetime) -> int:
    watched = timedelta(0)
    for of_viewing in _moments(beats).values():
        for place, at in enumerate(of_viewing):
            ends = [at + INTERVAL, finish, *of_viewing[place + 1 : place + 2]]
            watched += max(min(ends) - at, timedelta(0))
    return round(watched.total_seconds())


def _percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which the share of the sorted values lies, between two of them as on a straight line."""
    if not values:
        return None
    place = share * (len(values) - 1)
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))
