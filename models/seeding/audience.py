"""Thinks out who watched which stream, for how long and on what: viewings, and the heartbeats that they sent.

Heartbeats are of the streams of the last week. Of older ones only the greatest number of viewers is left, as if their
heartbeats had been dropped since.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from models.metric import heartbeat_id
from models.rollup import Rhythm
from models.seeding.dice import Dice
from models.seeding.world import Broadcast, Person, World

REMEMBERED: Final = timedelta(days=7)
_MOST_FANS: Final = 300
_LONGEST: Final = timedelta(minutes=30)
# Viewers of a stream that is live who are still there.
_STAYS: Final = 0.5
_SWITCHES: Final = 0.1
_CODECS: Final = "avc1.4D401F,mp4a.40.2"
# Networks that are kept for documentation (RFC 5737, RFC 3849), as METRICS_ADDRESS leaves them.
_NETWORKS: Final = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/48")
_ZONES: Final = (
    "Europe/Berlin",
    "Europe/Lisbon",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Tokyo",
    "Asia/Kolkata",
)
# User agent, browser, its version, system, whether it is mobile, screen.
_DEVICES: Final = (
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0", "Chrome", "142.0", "Windows", False, "1920x1080"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/26.0", "Safari", "26.0", "macOS", False, "2560x1600"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0", "Firefox", "145.0", "Linux", False, "2560x1440"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Edg/142.0", "Edge", "142.0", "Windows", False, "1366x768"),
    ("Mozilla/5.0 (Linux; Android 15) Chrome/142.0 Mobile", "Chrome Mobile", "142.0", "Android", True, "412x915"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0) Safari/26.0", "Mobile Safari", "26.0", "iOS", True, "390x844"),
)
# Rendition, size, bit/s, frames per second.
_LADDER: Final = (
    ("160p30", "284x160", 230_000, 30.0),
    ("360p30", "640x360", 630_000, 30.0),
    ("480p30", "852x480", 1_400_000, 30.0),
    ("720p60", "1280x720", 3_400_000, 60.0),
    ("1080p60", "1920x1080", 7_500_000, 60.0),
)
# In the order in which `heartbeats` yields them.
COLUMNS: Final = (
    "id", "viewing_started_at", "viewing_id", "stream_id", "user_id", "sent_at", "created_at", "ip", "user_agent",
    "browser_name", "browser_version", "os", "is_mobile", "available_resolution", "time_zone", "quality",
    "current_resolution", "bitrate", "framerate", "codecs", "latency_seconds", "buffer_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Viewing:
    """One player's time with a stream: its first heartbeat, and how many there are."""

    id: UUID
    began: datetime
    beats: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who watched a stream: how many at once at most, and how many are there now."""

    stream: Broadcast
    owner: Person
    viewings: Sequence[Viewing]
    peak: int
    present: int


def watch(world: World, rhythm: Rhythm) -> Iterator[Crowd]:
    """Yield the crowd of each stream, by its owner and from the oldest to the newest: always the same."""
    dice = Dice(world.random_seed)
    for person in world.people:
        for stream in person.streams:
            yield _crowd(dice, person, stream, world.now, rhythm)


def heartbeats(crowds: Iterable[Crowd], random_seed: int, rhythm: Rhythm) -> Iterator[tuple[Any, ...]]:
    """Yield the heartbeats of all crowds as rows of `COLUMNS`."""
    dice = Dice(random_seed)
    for crowd in crowds:
        for viewing in crowd.viewings:
            yield from _of_viewing(dice, crowd, viewing, rhythm)


def _crowd(dice: Dice, owner: Person, stream: Broadcast, now: datetime, rhythm: Rhythm) -> Crowd:
    count = int(min(owner.followers, _MOST_FANS) * dice.uniform(0.1, 0.4)) + dice.randrange(3)
    if stream.ended_at is not None and stream.ended_at <= now - REMEMBERED:
        return Crowd(stream, owner, (), peak=-(-count // 2), present=0)
    viewings = [_viewing(dice, stream, now, rhythm) for _ in range(count)]
    present = 0
    if stream.ended_at is None:
        present = sum(_last(one, rhythm) + rhythm.window > now for one in viewings)
    return Crowd(stream, owner, viewings, _peak(viewings, rhythm), present)


def _viewing(dice: Dice, stream: Broadcast, now: datetime, rhythm: Rhythm) -> Viewing:
    end = stream.ended_at or now
    length = dice.span(timedelta(seconds=20), min(_LONGEST, end - stream.started_at))
    if stream.ended_at is None and dice.happens(_STAYS):
        began = end - length
    else:
        began = dice.moment(stream.started_at, end - length)
    return Viewing(dice.key(began), began, 1 + length // rhythm.interval)


def _last(viewing: Viewing, rhythm: Rhythm) -> datetime:
    return viewing.began + (viewing.beats - 1) * rhythm.interval


def _peak(viewings: Iterable[Viewing], rhythm: Rhythm) -> int:
    """Return how many were there at once at most: each from its first heartbeat to the window after its last."""
    changes = []
    for one in viewings:
        changes += [(one.began, 1), (_last(one, rhythm) + rhythm.window, -1)]
    present = peak = 0
    for _, change in sorted(changes):
        present += change
        peak = max(peak, present)
    return peak


def _of_viewing(dice: Dice, crowd: Crowd, viewing: Viewing, rhythm: Rhythm) -> Iterator[tuple[Any, ...]]:
    agent, browser, version, system, is_mobile, screen = dice.choice(_DEVICES)
    network, zone = dice.choice(_NETWORKS), dice.choice(_ZONES)
    step, latency = dice.randrange(len(_LADDER)), dice.uniform(2.5, 6)
    for number in range(viewing.beats):
        if dice.happens(_SWITCHES):
            step = min(max(step + dice.choice((-1, 1)), 0), len(_LADDER) - 1)
        quality, size, bitrate, framerate = _LADDER[step]
        sent_at = viewing.began + number * rhythm.interval
        yield (
            heartbeat_id(viewing.id, dice.key(sent_at), viewing.began),
            viewing.began,
            viewing.id,
            crowd.stream.id,
            crowd.owner.id,
            sent_at,
            sent_at,
            network,
            agent,
            browser,
            version,
            system,
            is_mobile,
            screen,
            zone,
            quality,
            size,
            int(bitrate * dice.uniform(0.9, 1.1)),
            framerate,
            _CODECS,
            round(latency + dice.random(), 2),
            round(1 + 3 * dice.random(), 2),
        )
