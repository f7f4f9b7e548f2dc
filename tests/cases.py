"""Which cases run where: `make test` has a few minutes, `make soak` has as long as it takes."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import pytest


def few(daily: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The first always, the others in soak. A case is the value of a parameter, or a tuple of several parameters'."""
    return [*daily, *(pytest.param(*_values(case), marks=pytest.mark.soak) for case in others)]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


def crossed(steps: Sequence[Any], faults: Sequence[Any]) -> list[Any]:
    """Every step with every fault. `make test` runs as few as have each step and each fault once, the rest is soak."""
    longest = max(len(steps), len(faults))
    daily = set(zip(islice(cycle(steps), longest), islice(cycle(faults), longest), strict=True))
    return [
        pytest.param(step, fault, marks=() if (step, fault) in daily else pytest.mark.soak)
        for step in steps
        for fault in faults
    ]
