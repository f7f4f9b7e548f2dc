"""The journal, and the way from an event to a channel that may not be ours yet."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from ivs.client import Aws
from ivs.events import parse
from models import Channel, ReceivedEvent
from server.runtime import Resolved, Runtime
from subscriptions.ingest import Ingest
from tests.client import PASSWORD, REGISTER, Client, unique
from tests.conftest import Emulator, Running, StartServer
from tests.subscriptions.hearing import ear
from tests.subscriptions.queues import NOON, Queue, Watched, body, watch
from tests.waiting import eventually

REGISTERED = """
query($name: String!) {
  channel(by: {name: $name}) { provisioning isLive currentStream { startedAt state } streams { nodes { state } } }
}
"""


@pytest.fixture
def runtime(running: Running) -> Runtime:
    return running.runtime


@pytest.fixture
async def channel(runtime: Runtime) -> Watched:
    return await watch(runtime.services.sessions)


async def apply(runtime: Runtime, *bodies: str) -> None:
    await runtime.ingest.apply([parse(one) for one in bodies], door="test")


async def test_the_journal_keeps_what_came_and_what_became_of_it(runtime: Runtime, channel: Watched) -> None:
    strange = f"arn:aws:ivs:us-east-1:123456789012:channel/{channel.id.hex[:12]}"
    bodies = {
        "APPLIED": channel.event("Stream Start", second=5),
        "UNMATCHED": body(strange, "Stream Start"),
        "IGNORED": channel.event("", detail_type="IVS Limit Breach", resources=[], detail={"limit_name": "x"}),
    }
    await apply(runtime, *bodies.values())

    for outcome, one in bodies.items():
        sent: dict[str, Any] = json.loads(one)
        async with runtime.services.sessions() as session:
            row = (await session.execute(select(ReceivedEvent).filter_by(event_id=sent["id"]))).scalar_one()
        assert (row.outcome, row.door, row.source, row.body) == (outcome, "test", "aws.ivs", sent)
        assert (row.detail_type, row.resource) == (sent["detail-type"], next(iter(sent["resources"]), None))
        assert row.occurred_at == NOON + timedelta(seconds=5 if outcome == "APPLIED" else 0)
        assert row.received_at > row.occurred_at


async def test_only_what_is_new_is_news(runtime: Runtime, channel: Watched) -> None:
    start, end = channel.event("Stream Start", second=1), channel.event("Stream End", second=9)
    await apply(runtime, start, end)
    changed_at = await channel.changed_at()
    async with ear(runtime.services, channel.id) as listener:
        # The same again; the same by another way, with another id; later starts and earlier ends; takeovers.
        await apply(runtime, start, start, end)
        await apply(runtime, channel.event("Stream Start", second=1), channel.event("Stream End", second=9))
        await apply(runtime, channel.event("Stream Start", second=4), channel.event("Stream End", second=3))
        await apply(runtime, channel.event("Stream Takeover"), channel.event("Stream Takeover Failure", second=60))
        await apply(runtime, body("arn:aws:ivs:us-east-1:123456789012:channel/nobodys", "Stream Start"))
        assert await channel.changed_at() == changed_at
        assert await channel.outcomes() == ["APPLIED"] * 8
        assert await listener.silent(runtime.services)

        await apply(runtime, channel.event("Stream End", second=10))
        await listener.hears()
        assert await channel.changed_at() != changed_at


@pytest.mark.parametrize("event_first", [True, False])
async def test_an_event_that_races_with_the_arn_is_not_lost(
    runtime: Runtime, channel: Watched, event_first: bool
) -> None:
    """Whoever comes second waits: an event cannot be put aside while its channel is being stored."""
    arn = f"{channel.arn}-new"
    start = body(arn, "Stream Start", id=(made := json.loads(channel.event("Stream Start"))["id"]))

    async def store(stored: asyncio.Event, go_on: asyncio.Event) -> None:
        async with runtime.services.publisher.transaction() as transaction:
            row = (
                await transaction.session.execute(
                    update(Channel).where(Channel.id == channel.id).values(arn=arn).returning(Channel)
                )
            ).scalar_one()
            if not event_first:
                await runtime.ingest.adopt(transaction, row)
            stored.set()
            await go_on.wait()
            if event_first:
                await runtime.ingest.adopt(transaction, row)

    stored, go_on = asyncio.Event(), asyncio.Event()
    storing = asyncio.create_task(store(stored, go_on))
    await stored.wait()
    applying = asyncio.create_task(apply(runtime, start))
    if event_first:
        await applying
        assert await channel.outcomes() == ["UNMATCHED"]
    else:

        async def waits() -> bool:
            async with runtime.services.sessions() as session:
                found = text("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'")
                return (await session.execute(found)).first() is not None or applying.done()

        await eventually(waits, "the event waits for the ARN's commit")
    go_on.set()
    await asyncio.gather(storing, applying)

    assert channel.events == [made]
    assert await channel.outcomes() == ["APPLIED"]
    assert await channel.streams() == [("st-one", "LIVE")]


async def test_two_that_start_at_once_see_each_other(runtime: Runtime, channel: Watched) -> None:
    """The first stops, by a trigger of the test, between its look for the live stream and its commit."""
    sessions, other = runtime.services.sessions, Ingest(runtime.services.publisher, batch_rows=100)
    trigger = f"CREATE FUNCTION pause() RETURNS trigger AS $$ BEGIN IF NEW.id = '{channel.id}' THEN\
        PERFORM pg_advisory_xact_lock(4711); END IF; RETURN NULL; END $$ LANGUAGE plpgsql"
    async with sessions() as session, session.begin():
        await session.execute(text(trigger))
        await session.execute(
            text("CREATE TRIGGER pause AFTER UPDATE ON channels FOR EACH ROW EXECUTE FUNCTION pause()")
        )

    async def waiting(count: int) -> bool:
        async with sessions() as session:
            found = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'channels'")
            return bool((await session.execute(found)).scalar_one() >= count)

    try:
        async with sessions() as session, session.begin():
            await session.execute(text("SELECT pg_advisory_xact_lock(4711)"))
            newer = asyncio.create_task(apply(runtime, channel.event("Stream Start", stream="st-newer", second=10)))
            await eventually(lambda: waiting(1), "the first is about to commit")
            event = parse(channel.event("Stream Start", stream="st-older", second=5))
            older = asyncio.create_task(other.apply([event], door="sqs"))
            await eventually(lambda: waiting(2), "the second is stopped by the first")
        await asyncio.gather(newer, older)
    finally:
        async with sessions() as session, session.begin():
            await session.execute(text("DROP FUNCTION pause CASCADE"))
    assert await channel.live() == "st-newer"


async def test_what_came_before_its_channel_is_adopted(
    start_server: StartServer, resolved: Resolved, emulator: Emulator, queue: Queue, aws: Aws
) -> None:
    # AWS makes the channel, its answer is lost, and it cannot be looked up: the row waits, the channel is there.
    name = unique("early")
    await emulator.fault("CreateChannel", "drop-after")
    await emulator.fault("GetChannel", "throttle", times=None)
    own = replace(resolved, events_queue_url=queue.url)
    async with start_server(
        resolved=own, provision_wait_seconds=0.0, aws_max_attempts=1, provision_first_pause_seconds=0.05
    ) as running:
        client = Client(running.url)
        payload = (await client.data(REGISTER, {"input": {"username": name, "password": PASSWORD}}))["userRegister"]
        assert payload["errors"] == []

        async def arns() -> list[str]:
            listed = [one async for one in aws.pages("ivs", "list_channels", "channels")]
            return [one["arn"] for one in listed if name in one["name"]]

        async def made() -> bool:
            return bool(await arns())

        await eventually(made, "AWS has the channel")
        [arn] = await arns()
        await queue.send(body(arn, "Stream Start", second=7), body(arn, "Session Created"))
        await eventually(queue.is_empty, "the events are journalled")
        before = (await client.data(REGISTERED, {"name": name}))["channel"]
        await emulator.lift_faults()

        async def ready() -> bool:
            return bool((await client.data(REGISTERED, {"name": name}))["channel"]["provisioning"] == "READY")

        await eventually(ready, "the channel is found again")
        after = (await client.data(REGISTERED, {"name": name}))["channel"]
        await client.aclose()
    assert before == {"provisioning": "PENDING", "isLive": False, "currentStream": None, "streams": {"nodes": []}}
    assert after == {
        "provisioning": "READY",
        "isLive": True,
        "currentStream": {"startedAt": "2026-05-01T12:00:07+00:00", "state": "LIVE"},
        "streams": {"nodes": [{"state": "LIVE"}]},
    }
