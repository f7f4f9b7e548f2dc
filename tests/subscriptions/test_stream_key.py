"""A reset of the stream key: whatever fails on the way, there is one key afterwards, and the owner sees it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from server.runtime import Resolved
from tests.accounts import metric, sql
from tests.cases import crossed
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.owners import RESET, Owner
from tests.registration import fresh_database, open_sessions
from tests.subscriptions.test_provisioning_crashes import kill, lock_waiters, serve
from tests.waiting import eventually

STEPS = ("DeleteStreamKey", "ListStreamKeys", "CreateStreamKey")
KINDS = ("throttle", "error", "timeout", "timeout-after", "drop-after")
WATCH = "subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { broadcast { streamKey } } } }"


@pytest.fixture
async def here(resolved: Resolved, database_url: str, emulator: Emulator) -> AsyncIterator[Resolved]:
    """A database of its own, an impatient and unrepeating SDK, and an emulator without faults."""
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    async with fresh_database(database_url) as url:
        aws = replace(resolved.aws, read_timeout=0.5, max_attempts=1)
        yield replace(resolved, database_url=url, bus_url=url, aws=aws)
    await emulator.lift_faults()


@pytest.fixture
async def server(here: Resolved, start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server(resolved=here, provision_first_pause_seconds=0.2) as running:
        yield running


@pytest.fixture
async def owner(server: Running) -> AsyncIterator[Owner]:
    client = Client(server.url)
    yield await Owner.register(client, server.runtime)
    await client.aclose()


async def test_a_reset_answers_with_the_new_key(owner: Owner, server: Running, emulator: Emulator) -> None:
    before = await owner.only_key()
    await emulator.control("calls/clear")
    shown = await owner.done(RESET)
    calls = [call["operation"] for call in await emulator.calls() if call["service"] == "ivs"]
    assert calls == list(STEPS)
    after = await owner.only_key()
    assert shown == {"broadcast": {"streamKey": after}}
    assert after != before
    assert await owner.idle()
    ((sealed,),) = await sql(server.runtime, "SELECT stream_key_sealed FROM channels WHERE id = :key", key=owner.key)
    assert after.encode() not in sealed
    (key,) = (await server.runtime.aws.call("ivs", "list_stream_keys", channelArn=owner.arn))["streamKeys"]
    assert key["tags"]["streamcat:username"] == owner.user.username
    assert await owner.done(RESET) == {"broadcast": {"streamKey": await owner.only_key()}}


@pytest.mark.parametrize(("step", "kind"), crossed(STEPS, KINDS))
async def test_a_fault_in_any_step_is_repaired(owner: Owner, emulator: Emulator, step: str, kind: str) -> None:
    before = await owner.only_key()
    async with open_socket(owner.client.url, owner.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": owner.id})
        await socket.next("1")
        await emulator.fault(step, kind, seconds=30)
        assert await owner.refused(RESET) == [("AmazonUnavailable", None)]
        # The old key is not shown any more, whether Amazon still has it or not.
        assert await owner.shown_key() in (None, before) or await owner.idle()
        await eventually(owner.idle, "the worker has finished it")
        after = await owner.only_key()
        assert after != before
        seen = None
        while seen != after:
            seen = (await socket.next("1"))["channelChanged"]["channel"]["broadcast"]["streamKey"]
            assert seen != before
    await emulator.lift_faults()


@pytest.mark.parametrize("step", STEPS)
async def test_another_call_finishes_what_the_first_could_not(
    here: Resolved, start_server: StartServer, emulator: Emulator, step: str
) -> None:
    async with start_server(resolved=here, worker=False) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        before = await owner.only_key()
        for kind in ("error", "timeout-after"):
            await emulator.fault(step, kind, seconds=30)
            assert await owner.refused(RESET) == [("AmazonUnavailable", None)]
        assert await owner.shown_key() is None
        assert [(kind, attempts) for kind, attempts, _ in await owner.chores()] == [("STREAM_KEY", 2)]
        shown = await owner.done(RESET)
        after = await owner.only_key()
        assert shown == {"broadcast": {"streamKey": after}}
        assert after != before
        assert await owner.idle()
        await client.aclose()


async def test_resets_at_once_end_with_one_key(owner: Owner) -> None:
    payloads = await asyncio.gather(*(owner.send(RESET) for _ in range(8)))
    await eventually(owner.idle, "all are through")
    key = await owner.only_key()
    assert {error["__typename"] for one in payloads for error in one["errors"]} <= {"AmazonUnavailable"}
    assert key


async def test_a_late_try_leaves_the_new_key_alone(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    """Two resets share a row: when one has stored the key, the other must not take that key for the old one."""
    async with start_server(resolved=here, worker=False) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        chores = running.runtime.services.chores
        async with running.runtime.services.publisher.transaction() as transaction:
            chore = await chores.reset_key(transaction, owner.key)
        await asyncio.wait(chores.start([chore]))
        key = await owner.only_key()
        await emulator.control("calls/clear")
        await asyncio.wait(chores.start([chore]))
        assert [call for call in await emulator.calls() if call["service"] == "ivs"] == []
        assert await owner.only_key() == key
        assert await owner.done(RESET) != {"broadcast": {"streamKey": key}}
        await client.aclose()


async def test_what_amazon_does_late_changes_nothing(owner: Owner, emulator: Emulator) -> None:
    # Both arrive long after the SDK has given up, and after the worker has gone on without them.
    for step in ("DeleteStreamKey", "CreateStreamKey"):
        await emulator.fault(step, "late", seconds=1.5)
        assert await owner.refused(RESET) == [("AmazonUnavailable", None)]
        await eventually(owner.idle, "the worker has finished it")
        key = await owner.only_key()

        async def came(operation: str = step) -> bool:
            calls = await emulator.calls(operation)
            return len(calls) >= 2 and all(call["status"] or call["error"] for call in calls)

        await eventually(came, "the late one has come")
        assert await owner.only_key() == key
        await emulator.control("calls/clear")


async def test_resets_are_limited(here: Resolved, start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(resolved=here, channel_commands_per_minute=2) as running:
        client = Client(running.url)
        owner, other = [await Owner.register(client, running.runtime) for _ in range(2)]
        refused = 'streamcat_rate_refused_total{limit="channel_commands"}'
        before = await metric(running.url, refused)
        await owner.done(RESET)
        await owner.done(RESET)
        key = await owner.only_key()
        await emulator.control("calls/clear")
        (error,) = (await owner.send(RESET))["errors"]
        assert (error["__typename"], error["retryAfterSeconds"]) == ("TooManyAttempts", 30)
        assert [call for call in await emulator.calls() if call["service"] == "ivs"] == []
        assert await owner.only_key() == key
        assert await metric(running.url, refused) == before + 1
        await other.done(RESET)
        await client.aclose()


@pytest.mark.soak
async def test_killed_in_every_step_of_a_reset(
    here: Resolved, start_server: StartServer, emulator: Emulator, tmp_path: Path
) -> None:
    patient = replace(here, aws=replace(here.aws, read_timeout=2.0))
    async with start_server(resolved=patient, worker=False) as running, AsyncExitStack() as stack:
        client = Client(running.url)
        owners = [await Owner.register(client, running.runtime) for _ in range(6)]
        keys = [await owner.only_key() for owner in owners]
        holding = [("DeleteStreamKey", "late"), ("DeleteStreamKey", "timeout-after"), ("ListStreamKeys", "late")]
        holding += [("CreateStreamKey", "late"), ("CreateStreamKey", "timeout-after")]
        sessions = await stack.enter_async_context(open_sessions(here.database_url))
        async with serve(tmp_path, here, stream_key_wait_seconds=0) as (url, program):
            held = Client(url)
            doomed = [replace(owner, client=held) for owner in owners]
            for owner, (step, kind) in zip(doomed, holding, strict=False):
                await emulator.fault(step, kind, seconds=300)
                assert await owner.refused(RESET) == [("AmazonUnavailable", None)]

                async def arrived(operation: str = step, number: int = 1) -> bool:
                    return len(await emulator.calls(operation)) >= number

                number = len([one for one in holding[: doomed.index(owner) + 1] if one[0] == step])
                await eventually(lambda: arrived(number=number), "it is held")  # noqa: B023 - awaited in the round
            # The last: AWS has answered, the row does not say so yet.
            created = await emulator.control("faults", {"operation": "CreateStreamKey", "kind": "late", "seconds": 300})
            assert await doomed[-1].refused(RESET) == [("AmazonUnavailable", None)]
            lock = await stack.enter_async_context(sessions())
            await lock.execute(text("SELECT id FROM channels WHERE id = :key FOR UPDATE"), {"key": owners[-1].key})
            await emulator.lift_fault(created)

            async def waits() -> bool:
                return await lock_waiters(sessions) == 1

            await eventually(waits, "storing the key waits for the lock")
            await kill(program)
            await lock.rollback()
            await held.aclose()
        await emulator.lift_faults()
        assert [await owner.shown_key() for owner in owners] == [None] * 6
        await sql(running.runtime, "UPDATE chores SET due_at = now()")
        running.runtime.worker.start()
        for owner, before in zip(owners, keys, strict=True):
            await eventually(owner.idle, "the worker has finished it")
            assert await owner.only_key() != before
        await client.aclose()
