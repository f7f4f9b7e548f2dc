"""What is true after a history, by a model that is as simple as it can be: no events, no order of arrival, no SQL.

Its values are what GraphQL answers to `test_truth`'s documents, but that participants are named `(stage, number)`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.truth.histories import WINDOW, History, Step

_SECOND = timedelta(seconds=1)


@dataclass
class Broadcast:
    """A session of an encoder; `started` is null in one that came to nothing."""

    connected: datetime
    started: datetime | None
    ended: datetime | None = None
    starving: bool = False

    def shown(self) -> dict[str, Any]:
        assert self.started is not None
        if self.ended is not None:
            return {"state": "ENDED", "startedAt": text(self.started), "endedAt": text(self.ended), "health": None}
        health = "STARVING" if self.starving else "HEALTHY"
        return {"state": "LIVE", "startedAt": text(self.started), "endedAt": None, "health": health}


@dataclass
class Channel:
    """A channel's past, oldest first."""

    broadcasts: list[Broadcast] = field(default_factory=list)

    def live(self) -> Broadcast | None:
        last = self.broadcasts[-1] if self.broadcasts else None
        return last if last is not None and last.started is not None and last.ended is None else None

    def does(self, what: str, at: datetime) -> bool:
        """Apply a step; return whether it makes sense."""
        live = self.live()
        if what == "go live" and live is None:
            self.broadcasts.append(Broadcast(at - _SECOND, at))
        elif what == "give up" and live is None:
            self.broadcasts.append(Broadcast(at - _SECOND, None, at))
        elif live is None:
            return False
        elif what == "end":
            live.ended = at
        elif what in ("starve", "recover") and live.starving is not (what == "starve"):
            live.starving = what == "starve"
        else:
            # Of a takeover and of a limit nothing is to be seen but the event.
            return what in ("take over", "limit")
        return True

    def recordings(self, now: datetime) -> list[list[Broadcast]]:
        """Return the streams of each recording that is over by now, newest first."""
        merged: list[list[Broadcast]] = []
        for one in self.broadcasts:
            if one.started is not None:
                before = merged[-1][-1].ended if merged else None
                if before is not None and one.started < before + WINDOW:
                    merged[-1].append(one)
                else:
                    merged.append([one])
        return [streams for streams in reversed(merged) if streams[-1].ended and streams[-1].ended + WINDOW <= now]

    def shown(self, now: datetime) -> dict[str, Any]:
        live = self.live()
        return {
            "isLive": live is not None,
            "currentStream": live and live.shown(),
            "streams": {"nodes": [one.shown() for one in reversed(self.broadcasts) if one.started]},
            "recordings": {"nodes": [_recording(streams) for streams in self.recordings(now)]},
        }


def _recording(streams: list[Broadcast]) -> dict[str, Any]:
    spans = [(one.started, one.ended) for one in streams if one.started and one.ended]
    return {
        "startedAt": text(spans[0][0]),
        "endedAt": text(spans[-1][1] + WINDOW),
        "durationMs": sum(round((ended - started).total_seconds() * 1000) for started, ended in spans),
        "streams": [{"startedAt": text(started)} for started, _ in spans],
    }


@dataclass
class Stage:
    """Who is there, with a number of all who ever were, and since when each publishes; null for who does not."""

    there: dict[int, tuple[int, datetime | None]] = field(default_factory=dict)
    joined: int = 0

    def does(self, what: str, participant: int, at: datetime) -> bool:
        """Apply a step; return whether it makes sense."""
        number, since = self.there.get(participant, (None, None))
        if what.startswith("join") and number is None:
            self.there[participant] = (self.joined, at if what == "join" else None)
            self.joined += 1
        elif number is None:
            return False
        elif what == "leave":
            del self.there[participant]
        elif (what == "publish" and since is None) or (what == "unpublish" and since is not None):
            self.there[participant] = (number, at if what == "publish" else None)
        else:
            return False
        return True

    def shown(self) -> dict[str, Any]:
        publishing = sorted((since, number, who) for who, (number, since) in self.there.items() if since)
        return {
            "isLive": bool(publishing),
            "participants": [
                {"participantId": number, "publishedAt": text(since), "isOwner": who == 0}
                for since, number, who in publishing
            ],
        }


class Truth:
    """All channels and stages, as the steps so far have left them."""

    def __init__(self, *, channels: int, stages: int) -> None:
        self.channels = [Channel() for _ in range(channels)]
        self.stages = [Stage() for _ in range(stages)]

    def does(self, step: Step, at: datetime) -> bool:
        """Apply a step; return whether it makes sense."""
        kind, _, number = step.who.partition(" ")
        if kind == "channel":
            return self.channels[int(number)].does(step.does, at)
        return self.stages[int(number)].does(step.does, step.participant, at)


def text(moment: datetime) -> str:
    return moment.isoformat()


def sensible(history: History, *, channels: int, stages: int) -> Iterable[tuple[int, datetime, Step]]:
    """Yield the steps that do something, each with its phase and moment."""
    truth = Truth(channels=channels, stages=stages)
    for phase, at, step in history.timed():
        if truth.does(step, at):
            yield phase, at, step
