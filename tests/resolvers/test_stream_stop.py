"""Stopping a stream: what Amazon does with the encoder, and what the owner is told, whatever fails."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from server.runtime import Resolved
from tests.accounts import metric
from tests.cases import few
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.owners import STOP, Owner, node_id
from tests.removals import go_live
from tests.waiting import eventually

PATH = ["input", "channelId"]
LIVE, OFFLINE = {"isLive": True}, {"isLive": False}


@pytest.fixture
async def server(here: Resolved, start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server(resolved=here, worker=False) as running:
        yield running


@pytest.fixture
async def unrepeating(here: Resolved, start_server: StartServer) -> AsyncIterator[Running]:
    """A server whose SDK repeats nothing."""
    async with start_server(resolved=replace(here, aws=replace(here.aws, max_attempts=1)), worker=False) as running:
        yield running


@pytest.fixture
async def owner(server: Running) -> AsyncIterator[Owner]:
    client = Client(server.url)
    yield await Owner.register(client, server.runtime)
    await client.aclose()


async def outcomes(emulator: Emulator) -> list[str | None]:
    """How each StopStream ended, oldest first."""
    return [call["error"] for call in await emulator.calls("StopStream")]


async def unavailable(owner: Owner, document: str, **given: Any) -> int:
    """Send a mutation that Amazon does not do; return the seconds to wait."""
    payload = await owner.send(document, **given)
    ((error,), channel) = payload["errors"], payload["channel"]
    assert (error["__typename"], error["path"], channel) == ("AmazonUnavailable", None, None)
    seconds: int = error["retryAfterSeconds"]
    return seconds


async def test_a_live_stream_is_stopped_once(owner: Owner, emulator: Emulator) -> None:
    stream = await go_live(emulator, owner.arn)
    await owner.goes_live()
    # Live until Amazon has told of the end; to ask again meanwhile does no harm.
    for _ in range(2):
        assert await owner.done(STOP) == LIVE
        assert not await owner.on_air()
    assert await outcomes(emulator) == [None, "ChannelNotBroadcasting"]
    await owner.happens(owner.event("Stream End", await owner.now()))
    assert await owner.refused(STOP) == [("NotLive", PATH)]
    # The encoder may come back: it is for the key to keep it off.
    assert await go_live(emulator, owner.arn) != stream


async def test_an_encoder_is_disconnected_before_anybody_has_heard_of_it(owner: Owner, emulator: Emulator) -> None:
    await emulator.control("broadcasts", {"channelArn": owner.arn})
    assert await owner.done(STOP) == OFFLINE
    assert await outcomes(emulator) == [None]


async def test_what_is_not_live_is_not_stopped(owner: Owner, emulator: Emulator) -> None:
    assert await owner.refused(STOP) == [("NotLive", PATH)]
    for wrong in (owner.user.id, "", "x", node_id("Channel", uuid4())[:-2]):
        error = await owner.client.error(STOP, {"input": {"channelId": wrong}}, token=owner.user.token)
        assert error["extensions"] == {"code": "BAD_INPUT"}
    assert await outcomes(emulator) == ["ChannelNotBroadcasting"]


@pytest.mark.parametrize("kind", few(["timeout-after"], ["throttle", "error", "timeout", "drop-after", "late"]))
async def test_the_sdk_gets_over_a_passing_fault(owner: Owner, emulator: Emulator, kind: str) -> None:
    await go_live(emulator, owner.arn)
    await owner.goes_live()
    await emulator.fault("StopStream", kind, seconds=0.9)
    # Even if the first attempt was the one that stopped it, and the second is told that there is no stream.
    assert await owner.done(STOP) == LIVE
    assert not await owner.on_air()
    assert len(await outcomes(emulator)) == 2


@pytest.mark.parametrize(
    ("kind", "details", "wait", "done"),
    few(
        [("error", {"code": "AccessDeniedException"}, 60, False), ("timeout-after", {}, 1, True)],
        [
            ("throttle", {}, 1, False),
            ("error", {}, 1, False),
            ("error", {"code": "StreamUnavailable"}, 1, False),
            ("timeout", {}, 1, False),
            ("drop-after", {}, 1, True),
        ],
    ),
)
async def test_a_lasting_fault_is_told_and_another_call_repairs_it(
    unrepeating: Running, emulator: Emulator, kind: str, details: dict[str, str], wait: int, *, done: bool
) -> None:
    client = Client(unrepeating.url)
    owner = await Owner.register(client, unrepeating.runtime)
    await go_live(emulator, owner.arn)
    await owner.goes_live()
    await emulator.fault("StopStream", kind, seconds=30, **details)
    assert await unavailable(owner, STOP) == wait
    assert await owner.on_air() is not done
    assert await owner.done(STOP) == LIVE
    assert not await owner.on_air()
    assert len(await outcomes(emulator)) == 2
    await client.aclose()


async def test_what_amazon_does_late_is_done(unrepeating: Running, emulator: Emulator) -> None:
    client = Client(unrepeating.url)
    owner = await Owner.register(client, unrepeating.runtime)
    await go_live(emulator, owner.arn)
    late = await emulator.control("faults", {"operation": "StopStream", "kind": "late", "seconds": 300})
    assert await unavailable(owner, STOP) == 1
    assert await owner.on_air()
    await emulator.lift_fault(late)

    async def stopped() -> bool:
        return not await owner.on_air()

    await eventually(stopped, "the late call has come")
    assert await owner.refused(STOP) == [("NotLive", PATH)]
    await client.aclose()


async def test_commands_are_limited_per_channel(here: Resolved, start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(resolved=here, worker=False, channel_commands_per_minute=1) as running:
        client = Client(running.url)
        owner, other = [await Owner.register(client, running.runtime) for _ in range(2)]
        sample = 'streamcat_rate_refused_total{limit="channel_commands"}'
        before = await metric(running.url, sample)
        for one in (owner, other):
            await go_live(emulator, one.arn)
            assert await one.done(STOP) == OFFLINE
        await go_live(emulator, owner.arn)
        payload = await owner.send(STOP)
        (error,) = payload["errors"]
        assert (payload["channel"], error["__typename"], error["path"]) == (None, "TooManyAttempts", None)
        assert 58 <= error["retryAfterSeconds"] <= 60
        assert await owner.on_air()
        assert await outcomes(emulator) == [None, None]
        assert await metric(running.url, sample) == before + 1
        await client.aclose()
