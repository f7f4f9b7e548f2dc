"""Random histories of channels and stages, and what becomes of the events on their way.

A history is a list of steps. A step that makes no sense where it stands (an end of nothing) does nothing, so that
Hypothesis may leave out any of them. Seconds pass by themselves: no two things happen in the same one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

# Yesterday: nobody looks for recordings of long ago.
DAWN: Final = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=1)
# Streams that follow each other within this are one recording.
WINDOW: Final = timedelta(seconds=60)
PAUSES: Final = {"soon": 10, "later": 130}
PARTICIPANTS: Final = 2

OF_CHANNELS: Final = ("go live", "end", "starve", "recover", "give up", "take over", "limit")
OF_STAGES: Final = ("join", "unpublish", "publish", "leave", "join silently")
DOORS: Final = ("queue", "https")


@dataclass(frozen=True)
class Fate:
    """What becomes of one event: a door for each copy that arrives, and whether they come a phase late."""

    doors: tuple[str, ...] = ("queue",)
    late: bool = False

    def __str__(self) -> str:
        return (" and ".join(self.doors) or "lost") + (", late" if self.late and self.doors else "")


@dataclass(frozen=True)
class Step:
    """Somebody does something, a while after the step before; `fates` are of its events, in the order of their names.

    `who` is "channel N" or "stage N"; `participant` is a number, of stages only.
    """

    who: str
    does: str
    participant: int
    pause: str
    fates: tuple[Fate, ...]

    def __str__(self) -> str:
        return f"{self.who}{f', participant {self.participant}' if self.who.startswith('stage') else ''}: {self.does}"


@dataclass(frozen=True, repr=False)
class History:
    """All that happens, in phases: what happened in one is delivered, shuffled by `seed`, before the next begins.

    Attributes:
        kill_after: How many deliveries of the last phase one of the two workers lives through; null if all of them.
        deaf_after: The same of the connections that hear of changes, which are cut.
    """

    phases: tuple[tuple[Step, ...], ...]
    seed: int
    kill_after: int | None
    deaf_after: int | None

    def timed(self) -> Iterator[tuple[int, datetime, Step]]:
        """Yield each step with its phase and its moment."""
        at = DAWN
        for number, phase in enumerate(self.phases):
            for step in phase:
                at += timedelta(seconds=PAUSES[step.pause])
                yield number, at, step

    def __repr__(self) -> str:
        faults = {"a worker killed": self.kill_after, "the bus cut": self.deaf_after}
        said = "".join(f", {what} after {number} of the last" for what, number in faults.items() if number is not None)
        return f"{len(self.phases)} phases, shuffled by {self.seed}{said}; what happens is noted below"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Let Hypothesis print it so."""
        printer.text(repr(self))


_FATES = st.builds(
    Fate,
    # Half of all events arrive as they should; the simplest for shrinking comes first.
    doors=st.sampled_from((("queue",), ("queue",), ("https",), ("queue", "queue"), ("queue", "https"), (), ())),
    late=st.sampled_from((False, False, True)),
)


def _steps(channels: int, stages: int) -> st.SearchStrategy[Step]:
    acts = [("channel", number, does) for number in range(channels) for does in OF_CHANNELS + OF_CHANNELS[:2] * 3]
    acts += [("stage", number, does) for number in range(stages) for does in OF_STAGES + OF_STAGES[:1]]
    return st.builds(
        lambda act, participant, pause, fates: Step(f"{act[0]} {act[1]}", act[2], participant, pause, fates),
        act=st.sampled_from(acts),
        participant=st.integers(0, PARTICIPANTS - 1),
        pause=st.sampled_from(("soon", "soon", "later")),
        fates=st.tuples(_FATES, _FATES, _FATES),
    )


def histories(*, channels: int, stages: int, most_steps: int) -> st.SearchStrategy[History]:
    """Return the strategy of histories of so many channels and stages."""
    # Half of the steps do nothing.
    phase = st.lists(_steps(channels, stages), min_size=most_steps // 2, max_size=most_steps).map(tuple)
    return st.builds(
        History,
        phases=st.lists(phase, min_size=2, max_size=3).map(tuple),
        seed=st.integers(0, 2**16),
        kill_after=st.one_of(st.none(), st.none(), st.integers(0, 20)),
        deaf_after=st.one_of(st.none(), st.none(), st.integers(0, 20)),
    )
