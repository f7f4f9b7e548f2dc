"""Whatever becomes of events on their way, and of a worker: in the end everybody is shown what is true.

Random histories of channels and stages are lived by Amazon; their events are lost, doubled, swapped, late, and come by
both doors to two workers, one of which may be killed. After two comparisons with Amazon the graph says what a simple
model says, so do the newest frames of all who watch, and each event that arrived was told to its owner.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.truth.histories import History, histories
from tests.truth.world import World

_ALIKE = {"deadline": None, "print_blob": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=3, derandomize=True, phases=[Phase.explicit, Phase.generate, Phase.shrink], **_ALIKE)
@given(history=histories(channels=2, stages=2, most_steps=14))
async def test_in_the_end_the_truth_is_shown(world: World, history: History) -> None:
    await world.live_through(history)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(2))
@settings(max_examples=6, **_ALIKE)
@given(history=histories(channels=3, stages=3, most_steps=24))
async def test_in_the_end_the_truth_is_shown_always(world: World, history: History, part: int) -> None:
    await world.live_through(history)
