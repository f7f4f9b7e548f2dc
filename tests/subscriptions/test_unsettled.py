"""Streams of which only a part was told, and which Amazon lists no more: it is asked how they were."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from tests.accounts import sql
from tests.conftest import Emulator
from tests.removals import go_live
from tests.subscriptions.comparing import Stage
from tests.subscriptions.queues import NOON
from tests.waiting import eventually

Clock = Callable[[int], Awaitable[datetime]]


@pytest.fixture
async def clock(emulator: Emulator) -> AsyncIterator[Clock]:
    """Amazon's clock, which stands at the second that it is told, until then with encoders that are never silent."""
    await emulator.control("settings", {"silenceSeconds": 1e9})

    async def stands(second: int) -> datetime:
        at = NOON + timedelta(seconds=second)
        await emulator.control("clock", {"at": at.isoformat()})
        return at

    yield stands
    await emulator.control("clock")
    await emulator.control("settings", {"silenceSeconds": 30})


async def shows(stage: Stage, *streams: tuple[datetime, datetime | None]) -> None:
    """Wait until just these are shown, newest first."""
    expected = [
        {
            "state": "ENDED" if ended_at else "LIVE",
            "startedAt": started_at.isoformat(),
            "endedAt": ended_at and ended_at.isoformat(),
        }
        for started_at, ended_at in streams
    ]

    async def so() -> bool:
        return bool((await stage.seen())["streams"]["nodes"] == expected)

    await eventually(so, f"{expected}")


async def told(stage: Stage, stream: str, name: str, at: datetime) -> None:
    """Let Amazon's own event arrive."""
    event = json.loads(stage.owner.event(name, at))
    event["detail"]["stream_id"] = stream
    if name.startswith("Recording"):
        event["detail-type"] = "IVS Recording State Change"
        event["detail"] |= {"recording_status": name, "recording_session_id": "r", "recording_session_stream_ids": []}
    await stage.owner.happens(json.dumps(event))


async def test_an_end_behind_a_later_stream_is_found(stage: Stage, clock: Clock) -> None:
    started_at = await clock(0)
    first = await go_live(stage.emulator, stage.owner.arn)
    await shows(stage, (started_at, None))
    await stage.emulator.fault("ListStreams", "error", code="AccessDeniedException", times=None)
    await stage.rounds(outcome="AccessDeniedException")
    ended_at = await clock(60)
    await stage.emulator.control(f"broadcasts/{first}/end")
    later = await clock(120)
    second = await go_live(stage.emulator, stage.owner.arn)
    await told(stage, second, "Stream Start", later)
    await shows(stage, (later, None), (started_at, None))
    await stage.emulator.lift_faults()
    await shows(stage, (later, None), (started_at, ended_at))
    await stage.emulator.control(f"broadcasts/{second}/end")
    await shows(stage, (later, later), (started_at, ended_at))


@pytest.mark.parametrize("heard", ["Session Created", "Stream Start", "Stream End", "Recording Start", "Recording End"])
async def test_of_a_stream_that_is_over_one_event_is_enough(stage: Stage, clock: Clock, heard: str) -> None:
    await stage.emulator.fault("ListStreams", "error", code="AccessDeniedException", times=None)
    await stage.rounds(outcome="AccessDeniedException")
    started_at = await clock(0)
    stream = await go_live(stage.emulator, stage.owner.arn)
    ended_at = await clock(60)
    await stage.emulator.control(f"broadcasts/{stream}/end")
    # A recording goes on for a while, and the end of the session is told together with the stream's.
    at = {"Stream End": ended_at, "Recording End": await clock(120)}.get(heard, started_at)
    await told(stage, stream, heard, at)
    await stage.emulator.lift_faults()
    await shows(stage, (started_at, ended_at))


async def test_a_session_in_which_nothing_started_is_nothing(stage: Stage, clock: Clock) -> None:
    await stage.emulator.fault("ListStreams", "error", code="AccessDeniedException", times=None)
    await stage.rounds(outcome="AccessDeniedException")
    at = await clock(0)
    stream = (await stage.emulator.control("broadcasts", {"channelArn": stage.owner.arn}))["streamId"]
    await stage.emulator.control(f"broadcasts/{stream}/end")
    await told(stage, stream, "Session Created", at)
    rows = "SELECT state FROM streams WHERE ivs_stream_id = :id"
    assert await sql(stage.owner.runtime, rows, id=stream) == [("STARTING",)]
    await stage.emulator.lift_faults()

    async def over() -> bool:
        return await sql(stage.owner.runtime, rows, id=stream) == [("FAILED",)]

    await eventually(over, "it is over")
    assert (await stage.seen())["streams"]["nodes"] == []
    await stage.emulator.control("calls/clear")
    await stage.rounds()
    assert await stage.emulator.calls("GetStreamSession") == []
