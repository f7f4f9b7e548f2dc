"""Who comes to a stream, leaves it, loses the network and comes back: all of it known beforehand.

The clock stands at one moment after another. At each, viewers are counted first, and then requests are sent: so what
is counted at the next moment is known, and differs from what was counted before it.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from server.audience import PLAYERS, QUALITIES
from tests.reckoning import INTERVAL, WINDOW, Sent, present

QUARTER: Final = timedelta(seconds=0.25)
# A player may send so soon after its last request.
SOONEST: Final = INTERVAL * 0.8
# What one request holds at most.
MOST: Final = 20
# All that happens comes later by the database's clock than by that of the machine, on which viewings begin.
AHEAD: Final = timedelta(minutes=10)
# Until the second act, so that the first is rolled up.
INTERVAL_OF_ACTS: Final = timedelta(minutes=7)
GRACE: Final = timedelta(seconds=120)

# `again`: the answer gets lost, and the same is sent once more by the other process. `twice`: to both at once.
Way = Literal["plainly", "again", "twice"]


@dataclass(frozen=True)
class Beat:
    """A heartbeat: its id, whose it is, the player's time and what it tells."""

    id: str
    viewer: int
    at: datetime
    readings: Mapping[str, Any]

    @property
    def variables(self) -> dict[str, Any]:
        """What GraphQL is told."""
        return {"id": self.id, "sentAt": self.at.isoformat(), **self.readings}

    def stored(self, now: datetime) -> Sent:
        """What is kept of it at a moment before which nobody's clock can be ahead."""
        return Sent(self.viewer, min(self.at, now), self.readings)


@dataclass(frozen=True)
class Request:
    """Heartbeats of one viewer."""

    viewer: int
    beats: Sequence[Beat]
    way: Way


@dataclass(frozen=True)
class Moment:
    """What is sent at a moment, and how many are counted there before."""

    at: datetime
    count: int
    requests: Sequence[Request]


@dataclass
class Plan:
    """A stream's evening, made up by a number of dice."""

    viewers: int
    began: datetime
    dice: random.Random
    moments: list[Moment] = field(default_factory=list)
    _sent: dict[str, Sent] = field(default_factory=dict)
    _beats: dict[int, list[Beat]] = field(default_factory=dict)
    _asked: dict[int, datetime] = field(default_factory=dict)
    _staying: set[int] = field(default_factory=set)
    _offline: set[int] = field(default_factory=set)
    _postponed: dict[int, list[Beat]] = field(default_factory=dict)

    def opening(self) -> Iterator[Moment]:
        """One viewer who comes and goes: the counts 0, 1 and 0 show that the clock is known to everybody."""
        first = self.began + AHEAD
        yield self._moment(first, 0, [self._one(0, first)])
        yield self._moment(first + QUARTER, 1, [])

    def act(self, coming: Sequence[int], ticks: int) -> Iterator[Moment]:
        """Those who are coming come in the first half; who is there stays, leaves, or loses the network."""
        entries = {viewer: self.dice.randrange(ticks // 2) for viewer in coming}
        for tick in range(ticks):
            at, count = self._next(self._quarters(4, 12))
            asking = [self._one(viewer, at) for viewer in coming if entries[viewer] == tick]
            asking += self._again(at)
            yield self._moment(at, count, asking)

    def back(self, coming: Sequence[int]) -> Moment:
        """After a long time others come, many of before are back, and all of those who were offline.

        Half of their players send at once what they have kept, the others keep it for longer.
        """
        at, count = self._next(INTERVAL_OF_ACTS)
        kept = [*self._kept(at, postpone=True)]
        return self._moment(
            at, count, [*kept, *(self._one(viewer, at) for viewer in (*coming, *self._some(kept, 0.25)))]
        )

    def again(self) -> Moment:
        """After another long time comes what was kept for longer; what came meanwhile is newer, and rolled up."""
        at, count = self._next(INTERVAL_OF_ACTS)
        kept = [*self._promised()]
        return self._moment(at, count, [*kept, *(self._one(viewer, at) for viewer in self._some(kept, 0.1))])

    def _some(self, busy: Iterable[Request], share: float) -> list[int]:
        """A share of those who were there, are online and not busy otherwise."""
        others = self._offline | {request.viewer for request in busy}
        there = [viewer for viewer in self._beats if viewer not in others]
        return self.dice.sample(there, math.ceil(len(there) * share))

    def _one(self, viewer: int, now: datetime) -> Request:
        return self._request(viewer, [self._beat(viewer, now)])

    def end(self) -> Moment:
        """The end of the stream."""
        at, count = self._next(self._quarters(4, 12))
        return self._moment(at, count, [])

    def late(self, ended: datetime) -> Moment:
        """Within the grace come heartbeats of before, and of players who have not seen the end yet."""
        at = ended + GRACE / 2
        asking = [*self._kept(ended)]
        busy = {request.viewer for request in asking}
        seeing = [viewer for viewer in sorted(self._staying - busy) if at - self._asked[viewer] >= SOONEST]
        asking += [self._one(viewer, at) for viewer in seeing[::3]]
        return self._moment(at, 0, asking)

    def _next(self, pause: timedelta) -> tuple[datetime, int]:
        """Return the next moment at which another number is counted, and the number."""
        last = self.moments[-1]
        at = last.at + pause
        sent = [beat for beat in self._sent.values() if beat.at > last.at - WINDOW]
        while (count := len(present(sent, at))) == last.count:
            at += QUARTER
        return at, count

    def _again(self, at: datetime) -> Iterator[Request]:
        for viewer in sorted(self._staying):
            if at - self._asked[viewer] < SOONEST:
                continue
            match self.dice.choices(("stays", "leaves", "offline"), (4, 4, 2))[0]:
                case "stays":
                    # A player that is not sure of the answer sends its last heartbeat once more.
                    doubted = self._beats[viewer][-1:] if self.dice.random() < 0.2 else []
                    yield self._request(viewer, [*doubted, self._beat(viewer, at)])
                case "offline" if viewer not in self._postponed:
                    self._offline.add(viewer)
                    self._staying.remove(viewer)
                case _:
                    self._staying.remove(viewer)

    def _kept(self, now: datetime, *, postpone: bool = False) -> Iterator[Request]:
        """What players have kept of a time without network, with the last of before."""
        for viewer in sorted(self._offline):
            last = self._beats[viewer][-1]
            postponed = postpone and self.dice.random() < 0.5
            # Some leave minutes between what they have kept and what they send meanwhile.
            most = self.dice.randint(1, MOST // 3 if postponed else MOST - 1)
            number = min((now - last.at) // (INTERVAL + QUARTER), most)
            kept = [self._beat(viewer, last.at + place * (INTERVAL + QUARTER)) for place in range(1, number + 1)]
            if postponed:
                self._postponed[viewer] = [last, *kept]
                kept = [self._beat(viewer, now)]
            yield self._request(viewer, [last, *kept])
        self._offline.clear()

    def _promised(self) -> Iterator[Request]:
        """What players have kept for longer."""
        for viewer, beats in self._postponed.items():
            yield self._request(viewer, beats)
        self._postponed = {}

    def _beat(self, viewer: int, now: datetime) -> Beat:
        """A heartbeat of about now; one in twenty players' clocks is fast."""
        dice, told = self.dice, self._beats.setdefault(viewer, [])
        browser, system = PLAYERS[viewer % len(PLAYERS)]
        quality, bitrate, framerate = dice.choice(QUALITIES)
        readings = {
            # Tells heartbeats apart in the database.
            "browserVersion": f"{viewer}.{len(told)}",
            "browserName": browser,
            "os": system,
            "quality": quality,
            "bitrate": bitrate,
            "framerate": framerate,
            # Sums of such numbers are exact.
            "latencySeconds": dice.randrange(8, 40) / 4,
            "bufferSeconds": dice.randrange(40) / 4,
        }
        lag = -self._quarters(1, 7) if dice.random() < 0.05 else self._quarters(0, 3)
        beat = Beat(str(UUID(int=dice.getrandbits(128), version=4)), viewer, now - lag, readings)
        told.append(beat)
        return beat

    def _request(self, viewer: int, beats: Sequence[Beat]) -> Request:
        way: Way = self.dice.choices(("plainly", "again", "twice"), (17, 2, 1))[0]
        return Request(viewer, beats, way)

    def _moment(self, at: datetime, count: int, requests: Iterable[Request]) -> Moment:
        moment = Moment(at, count, tuple(requests))
        for request in moment.requests:
            self._asked[request.viewer] = at
            self._staying.add(request.viewer)
            for beat in request.beats:
                self._sent.setdefault(beat.id, beat.stored(at))
        self.moments.append(moment)
        return moment

    def _quarters(self, least: int, most: int) -> timedelta:
        return self.dice.randint(4 * least, 4 * most) * QUARTER
