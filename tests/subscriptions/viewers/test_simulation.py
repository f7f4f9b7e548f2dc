"""Thousands of viewers whose joins and leaves are known: every number that anybody is told is the true one."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models import utcnow
from server.runtime import Resolved
from tests.accounts import kinds
from tests.players import beat
from tests.subscriptions.queues import Queue
from tests.subscriptions.viewers.crowd import Crowd
from tests.subscriptions.viewers.plan import GRACE, INTERVAL_OF_ACTS, QUARTER, Moment, Plan
from tests.subscriptions.viewers.theatre import Theatre, named, open_theatre


@pytest.fixture
async def theatre(tmp_path: Path, here: Resolved, queue: Queue) -> AsyncIterator[Theatre]:
    async with open_theatre(tmp_path, here, queue) as theatre:
        yield theatre


SIZES = [(60, 6, 4), pytest.param(5000, 12, 96, marks=pytest.mark.soak)]


@pytest.mark.parametrize(("viewers", "ticks", "at_once"), SIZES)
async def test_what_is_told_of_viewers_is_true(theatre: Theatre, viewers: int, ticks: int, at_once: int) -> None:
    await theatre.goes_live(utcnow().replace(microsecond=0))
    plan = Plan(viewers, theatre.began, random.Random(viewers))
    crowd = Crowd(theatre.owner.channel_id, theatre.doors, at_once)
    early, soon = viewers * 8 // 10, viewers * 9 // 10
    for moment in (*plan.opening(), *plan.act(range(1, early), ticks)):
        await happens(theatre, crowd, moment)
    last = plan.moments[-1]
    await theatre.is_watched(last.count)
    # The newest minutes are not rolled up.
    await theatre.analyses(crowd.stored, last.at)

    # All is, when many come back with what their players have kept; meanwhile one of the processes is killed.
    back = plan.back(range(early, soon))
    await counted(theatre, crowd, back)
    await theatre.is_watched(0)
    await theatre.rolls_up()
    await theatre.analyses(crowd.stored, back.at)
    assert crowd.unanswered == 0
    crowd.may_retry.clear()
    sending = asyncio.create_task(crowd.send(back))
    await crowd.answered(0, len(back.requests) // 8)
    await theatre.kills(0)
    answered, kept = crowd.stored, await theatre.stored()
    assert {kept[named(beat)] for beat in answered} == {1}
    crowd.may_retry.set()
    await sending
    assert 0 < crowd.unanswered < len(back.requests)
    theatre.was_told(crowd.stored, back)
    await theatre.holds(crowd.stored)

    for moment in plan.act(range(soon, viewers), ticks):
        await happens(theatre, crowd, moment)
    await theatre.restarts(0)
    # What some have kept since the first act comes when the second one is rolled up.
    again = plan.again()
    await counted(theatre, crowd, again)
    await theatre.rolls_up()
    await crowd.send(again)
    theatre.was_told(crowd.stored, again)
    await theatre.rolls_up()
    await theatre.analyses(crowd.stored, again.at)

    end = plan.end()
    await happens(theatre, crowd, end)
    await theatre.is_watched(end.count)
    await theatre.ends(end.at)
    late = plan.late(end.at)
    await theatre.clock.stands_at(late.at)
    await crowd.send(late, ended=end.at)
    await theatre.analyses(crowd.stored, end.at)
    await theatre.clock.stands_at(end.at + GRACE + QUARTER)
    refused = await crowd.players[0].send(beat(sentAt=end.at.isoformat()), client=theatre.doors[0])
    assert kinds(refused) == ["NotLive"]
    await theatre.clock.stands_at(end.at + INTERVAL_OF_ACTS)
    await theatre.rolls_up()
    await theatre.analyses(crowd.stored, end.at)
    await theatre.holds(crowd.stored)
    await theatre.is_over()


async def happens(theatre: Theatre, crowd: Crowd, moment: Moment) -> None:
    """Viewers are counted at a moment of the plan, and then send what they send there; the streamer writes a line."""
    await counted(theatre, crowd, moment)
    await crowd.send(moment)
    theatre.was_told(crowd.stored, moment)
    await theatre.says(moment.at)


async def counted(theatre: Theatre, crowd: Crowd, moment: Moment) -> None:
    """The clock comes to the moment; whoever asks or watches is told what is true there."""
    await theatre.clock.stands_at(moment.at)
    await theatre.shows(moment.count)
    await theatre.tells_the_streamer(crowd.stored, moment.at)
