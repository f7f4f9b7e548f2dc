"""No event comes at all: what is live is true all the same, and what comes late after all changes nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ivs.client import Aws
from server.runtime import Resolved
from tests.accounts import sql
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.owners import Owner
from tests.registration import fresh_database
from tests.removals import go_live
from tests.subscriptions.comparing import Stage
from tests.subscriptions.queues import make_queue
from tests.waiting import eventually

VIEWS = """
query($id: ID!) {
  channel(by: {id: $id}) { currentStream { concurrentViews } streams { nodes { concurrentViews } } }
}
"""
TIMELINE = """
query($id: ID!) { channel(by: {id: $id}) { streams { nodes { events { nodes { name } } } } } }
"""
WATCH = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { isLive } } }"


def moment(text: str) -> datetime:
    """Amazon's time to the second, as events have it."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)


async def test_a_start_and_an_end_that_nobody_told_are_found_and_pushed(stage: Stage) -> None:
    async with open_socket(stage.owner.client.url) as socket:
        await socket.subscribe("1", WATCH, {"id": stage.owner.id})
        assert (await socket.next("1"))["channelChanged"]["channel"] == {"isLive": False}
        stream = await go_live(stage.emulator, stage.owner.arn)
        assert (await socket.next("1"))["channelChanged"]["channel"] == {"isLive": True}
        started = moment((await stage.broadcast(stream))["startTime"])
        (shown,) = (await stage.becomes(is_live=True))["streams"]["nodes"]
        assert shown == {"state": "LIVE", "startedAt": started.isoformat(), "endedAt": None}

        await stage.emulator.control(f"broadcasts/{stream}/end")
        assert (await socket.next("1"))["channelChanged"]["channel"] == {"isLive": False}
        ended = moment((await stage.broadcast(stream))["endTime"])
        (shown,) = (await stage.becomes(is_live=False))["streams"]["nodes"]
        assert shown == {"state": "ENDED", "startedAt": started.isoformat(), "endedAt": ended.isoformat()}


async def test_health_follows(stage: Stage) -> None:
    stream = await go_live(stage.emulator, stage.owner.arn)
    await stage.becomes(is_live=True, health="HEALTHY")
    await stage.emulator.control(f"broadcasts/{stream}/health", {"state": "STARVING"})
    await stage.becomes(is_live=True, health="STARVING")
    await stage.emulator.control(f"broadcasts/{stream}/health", {"state": "HEALTHY"})
    await stage.becomes(is_live=True, health="HEALTHY")


async def views(stage: Stage) -> list[int | None]:
    """What each stream shows, and the current one."""
    found = (await stage.owner.client.data(VIEWS, {"id": stage.owner.id}))["channel"]
    shown = [*found["streams"]["nodes"], *filter(None, [found["currentStream"]])]
    return [one["concurrentViews"] for one in shown]


async def test_amazon_s_own_count_of_views_comes_along(stage: Stage) -> None:
    stream = await go_live(stage.emulator, stage.owner.arn)
    await stage.becomes(is_live=True)
    for count in (0, 7, 6):
        await stage.emulator.control(f"broadcasts/{stream}/viewers", {"count": count})

        async def shown(count: int = count) -> bool:
            return await views(stage) == [count, count]

        await eventually(shown, f"{count} views")
    rows = "SELECT xmin::text, concurrent_views FROM streams WHERE ivs_stream_id = :id"
    before = await sql(stage.owner.runtime, rows, id=stream)
    for count in (6, -1):
        # The same, and one that Amazon could not count, is nothing to write.
        await stage.emulator.control(f"broadcasts/{stream}/viewers", {"count": count})
        await stage.rounds()
        assert await sql(stage.owner.runtime, rows, id=stream) == before
    await stage.emulator.control(f"broadcasts/{stream}/end")
    await stage.becomes(is_live=False)
    assert await views(stage) == [None]


async def test_what_amazon_has_not_counted_is_not_shown(stage: Stage) -> None:
    stream = (await stage.emulator.control("broadcasts", {"channelArn": stage.owner.arn}))["streamId"]
    await stage.emulator.control(f"broadcasts/{stream}/viewers", {"count": -1})
    await stage.emulator.control(f"broadcasts/{stream}/start")
    await stage.becomes(is_live=True)
    await stage.rounds()
    assert await views(stage) == [None, None]


async def test_the_events_themselves_come_late_and_change_nothing(stage: Stage) -> None:
    stream = await go_live(stage.emulator, stage.owner.arn)
    await stage.becomes(is_live=True)
    await stage.emulator.control(f"broadcasts/{stream}/end")
    before = await stage.becomes(is_live=False)
    rows = await sql(stage.owner.runtime, "SELECT * FROM streams WHERE channel_id = :key", key=stage.owner.key)
    broadcast = await stage.broadcast(stream)
    for name, at in (("Stream End", broadcast["endTime"]), ("Stream Start", broadcast["startTime"])):
        event = json.loads(stage.owner.event(name, moment(at)))
        event["detail"]["stream_id"] = stream
        await stage.owner.happens(json.dumps(event))
    assert await sql(stage.owner.runtime, "SELECT * FROM streams WHERE channel_id = :key", key=stage.owner.key) == rows
    assert await stage.seen() == before
    owner = stage.owner
    found = (await owner.client.data(TIMELINE, {"id": owner.id}, token=owner.user.token))["channel"]
    (shown,) = found["streams"]["nodes"]
    # In one second, by their arrival.
    assert sorted(event["name"] for event in shown["events"]["nodes"]) == ["Stream End", "Stream Start"]


async def test_what_amazon_knows_nothing_of_is_over(stage: Stage) -> None:
    await stage.owner.goes_live()
    (shown,) = (await stage.becomes(is_live=False))["streams"]["nodes"]
    assert shown["state"] == "ENDED"
    assert moment(shown["endedAt"]) >= moment(shown["startedAt"])


async def test_while_amazon_does_not_answer_nothing_is_over(stage: Stage) -> None:
    stream = await go_live(stage.emulator, stage.owner.arn)
    await stage.becomes(is_live=True)
    await stage.emulator.fault("ListStreams", "error", code="AccessDeniedException", times=None)
    await stage.emulator.control(f"broadcasts/{stream}/end")
    await stage.rounds(outcome="AccessDeniedException")
    assert (await stage.seen())["isLive"] is True
    await stage.emulator.lift_faults()
    await stage.emulator.fault("GetStreamSession", "error", code="AccessDeniedException", times=None)
    await stage.rounds(outcome="AccessDeniedException")
    assert (await stage.seen())["isLive"] is True
    await stage.emulator.lift_faults()
    await stage.becomes(is_live=False)


async def test_what_others_do_in_the_account_is_not_ours(stage: Stage) -> None:
    made = await stage.owner.runtime.aws.call("ivs", "create_channel", once=True, name="somebody-else")
    arn = made["channel"]["arn"]
    await go_live(stage.emulator, arn)
    await stage.rounds()
    assert await sql(stage.owner.runtime, "SELECT 1 FROM received_events WHERE resource = :arn", arn=arn) == []


async def test_a_stream_that_has_just_begun_may_be_missing_in_the_list(
    start_server: StartServer, resolved: Resolved, aws: Aws, emulator: Emulator
) -> None:
    queue = await make_queue(aws)
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url, events_queue_url=queue.url)
        async with start_server(resolved=here, reconcile_seconds=0.1, reconcile_grace_seconds=600.0) as running:
            client = Client(running.url)
            stage = Stage(await Owner.register(client, running.runtime), emulator)
            await stage.owner.goes_live()
            await stage.rounds()
            assert (await stage.seen())["isLive"] is True
            await sql(running.runtime, "UPDATE streams SET started_at = now() - interval '11 minutes'")
            await stage.becomes(is_live=False)
            await client.aclose()


async def test_of_several_processes_one_compares(start_server: StartServer, deaf: Running, emulator: Emulator) -> None:
    """Its turn is in the database, whoever takes it."""
    async with start_server(resolved=deaf.runtime.resolved, reconcile_seconds=0.1, reconcile_grace_seconds=0.0):
        await emulator.control("calls/clear")
        before = datetime.now(UTC)
        client = Client(deaf.url)
        stage = Stage(await Owner.register(client, deaf.runtime), emulator)
        await stage.rounds(10)
        calls = [call["at"] for call in await emulator.calls("ListStreams")]
        lasted = datetime.now(UTC) - before
        assert len(calls) <= lasted / timedelta(seconds=0.1) * 1.1 + 2
        await client.aclose()
