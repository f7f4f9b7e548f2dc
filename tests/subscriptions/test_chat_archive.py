"""What was said in a room is shown, once and as long as nobody deletes it, whatever the log looks like."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from ivs.client import Aws
from server.runtime import Resolved, Runtime
from tests.accounts import delete_user, metric
from tests.chat_logs import LOG_GROUP, Hall, archivist, with_logs
from tests.chat_socket import ChatSocket
from tests.chatting import DELETE, TOKEN, send
from tests.client import Client, Registered
from tests.conftest import Emulator, Running, StartServer
from tests.factories import empty
from tests.registration import fresh_database
from tests.subscriptions.queues import make_queue
from tests.waiting import eventually

PAUSE = "extract(epoch FROM read_after - now())"


@pytest.fixture(scope="module")
async def house(start_server: StartServer, resolved: Resolved, aws: Aws) -> AsyncIterator[Running]:
    """A server without a worker, on a database of its own."""
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url)
        async with start_server(worker=False, resolved=await with_logs(here, aws)) as running:
            yield running


@pytest.fixture
async def hall(house: Running, emulator: Emulator) -> AsyncIterator[Hall]:
    """The only room of its house."""
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    async with house.runtime.services.sessions() as session, session.begin():
        await empty(session)
    client = Client(house.url)
    yield await Hall.open(house.runtime, emulator, client)
    await client.aclose()
    await emulator.lift_faults()


async def records(hall: Hall, outcome: str) -> float:
    return await metric(hall.client.url, f'streamcat_chat_archive_records_total{{outcome="{outcome}"}}')


async def test_from_the_room_to_the_replay(
    start_server: StartServer, here: Resolved, emulator: Emulator, aws: Aws
) -> None:
    """Everything in its place: the worker, its queue, the room's socket, and a broadcast that runs."""
    foundations = replace(await with_logs(here, aws), events_queue_url=await followed(aws))
    quick = {"chat_archive_seconds": 0.3, "chat_archive_settle_seconds": 2.0}
    with ChatSocket() as socket:
        socket.emulator_url = str(here.aws.endpoint_url)
        async with start_server(resolved=foundations, chat_endpoint=socket.url, **quick) as server:
            await replayed(server.url, server.runtime, emulator)


async def speak(hall: Hall, who: Registered, content: str) -> str:
    """Enter the room through its socket and say something; return the message's id."""
    given = await send(hall.client, TOKEN, who.token, chatRoomId=hall.room.id)
    entry = connect(given["chatRoom"]["endpoint"], subprotocols=[Subprotocol(given["token"])], proxy=None)
    async with entry as connection:
        await connection.send(json.dumps({"Action": "SEND_MESSAGE", "RequestId": "1", "Content": content}))
        return str(json.loads(await connection.recv())["Id"])


async def replayed(url: str, runtime: Runtime, emulator: Emulator) -> None:
    client = Client(url)
    hall = await Hall.open(runtime, emulator, client)
    viewer = await client.register()
    stream = str((await emulator.control("broadcasts", {"channelArn": hall.channel_arn}))["streamId"])
    await emulator.control(f"broadcasts/{stream}/start")
    said = [await speak(hall, hall.room.owner, "hello"), await speak(hall, viewer, "hello yourself")]

    async def shown() -> bool:
        return [one["ivsMessageId"] for one in await hall.messages()] == said

    await eventually(shown, "what is said is shown while the stream is live")
    first, second = await hall.messages()
    assert first["sentBy"]["username"] == first["senderName"] == hall.room.owner.username
    assert (second["sentBy"]["username"], second["isGuest"]) == (viewer.username, False)
    assert [one["ivsMessageId"] for one in first["stream"]["chatMessages"]["nodes"]] == said
    assert 0 <= first["offsetMs"] <= second["offsetMs"] < 30_000
    said.append(await speak(hall, viewer, "bye"))
    await emulator.control(f"broadcasts/{stream}/end")

    async def settled() -> bool:
        return await hall.state("read_after IS NULL") is True

    await eventually(settled, "the log is read for the last time")
    assert [one["ivsMessageId"] for one in await hall.messages()] == said
    await client.aclose()


async def followed(aws: Aws) -> str:
    """A queue of the test's own with the events of all broadcasts."""
    url = (await make_queue(aws)).url
    answer = await aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])
    targets: Any = [{"Id": url.rpartition("/")[2], "Arn": answer["Attributes"]["QueueArn"]}]
    await aws.call("events", "put_targets", Rule="streamcat-ivs", Targets=targets)
    return url


async def test_guests_have_a_name_and_no_account(start_server: StartServer, hall: Hall) -> None:
    await hall.start()
    async with start_server(worker=False, resolved=hall.runtime.resolved, chat_guests="write") as server:
        guests = Client(server.url)
        hall.client, usual = guests, hall.client
        await hall.say("hello", name="Eve")
        await hall.say("hello from nobody")
        hall.client = usual
        await guests.aclose()
    assert await hall.work() == 1
    shown = [(one["senderName"], one["isGuest"], one["sentBy"]) for one in await hall.messages()]
    assert shown == [("Eve", True, None), ("Guest", True, None)]


async def test_who_is_gone_by_then_is_no_guest(hall: Hall) -> None:
    await hall.start()
    leaver = await hall.client.register()
    await hall.say("I leave", leaver)
    await delete_user(hall.client, leaver.token)
    await hall.say("I stay", hall.room.owner)
    assert await hall.work() == 1
    shown = [(one["content"], one["senderName"], one["isGuest"], one["sentBy"]) for one in await hall.messages()]
    name = hall.room.owner.username
    assert shown == [("I leave", leaver.username, False, None), ("I stay", name, False, {"username": name})]


@pytest.mark.parametrize("page_records", [1, 1000])
@pytest.mark.parametrize("name", ["MessageId", "MessageID"])
async def test_deleted_in_any_order(hall: Hall, name: str, page_records: int) -> None:
    await hall.start()
    hall.archivist = archivist(hall.runtime, page_records=page_records)
    before, after, kept = hall.message("before"), hall.message("after"), hall.message("kept")
    await hall.log(hall.deletion(before, name=name), before, after, kept, hall.deletion(after, name=name))
    assert await hall.work() == 1
    assert await hall.contents() == ["kept"]
    assert await hall.work() == 1
    assert await hall.contents() == ["kept"]


async def test_deleted_later_and_before_it_was_seen(hall: Hall) -> None:
    stream = await hall.start()
    shown, hidden = hall.message("shown"), hall.message("hidden")
    await hall.log(shown, hall.deletion(hidden))
    assert await hall.work() == 1
    assert await hall.contents() == ["shown"]
    await hall.log(hidden)
    await hall.end(stream)
    await hall.log(hall.deletion(shown), second=5)
    hall.archivist = archivist(hall.runtime, settle=0)
    assert await hall.work() == 1
    # Of what lies behind the last moment nothing is read any more.
    assert await hall.contents() == ["shown"]


async def test_deleted_after_the_end(hall: Hall) -> None:
    stream = await hall.start()
    said = hall.message("said")
    await hall.log(said)
    await hall.end(stream, -10)
    assert await hall.work() == 1
    assert await hall.contents() == ["said"]
    await hall.log(hall.deletion(said), second=-2)
    assert await hall.work() == 1
    assert await hall.contents() == []


async def test_what_the_owner_deletes_does_not_come_back(hall: Hall) -> None:
    """Not even when the log is read again and the deletion is not in what is read."""
    stream = await hall.start()
    shown, unread = hall.message("shown"), hall.message("unread", -20)
    await hall.log(shown)
    assert await hall.work() == 1
    assert await hall.contents() == ["shown"]
    await hall.log(unread, second=-20)
    for message in (shown, unread):
        which = {"chatRoomId": hall.room.id, "ivsMessageId": message["payload"]["Id"]}
        payload = await send(hall.client, DELETE, hall.room.owner.token, **which)
        assert payload["errors"] == []
        assert await hall.contents() == []
    await hall.end(stream, -10)
    hall.archivist = archivist(hall.runtime, settle=0)
    assert await hall.work() == 1
    assert await hall.state("read_after") is None
    assert await hall.messages() == []


async def test_pages_and_empty_ones(hall: Hall, emulator: Emulator) -> None:
    await hall.start()
    hall.archivist = archivist(hall.runtime, page_records=2, pages=2)
    await hall.log(*(hall.message(str(number), -30 + number) for number in range(5)))
    await emulator.fault("FilterLogEvents", "empty-page", times=2)
    # Two pages a turn: two empty ones, two full ones, the rest.
    assert await hall.work() == 1
    assert (await hall.contents(), await hall.state("window_end IS NULL, mark IS NULL")) == ([], (False, False))
    assert await hall.work() == 1
    assert await hall.contents() == ["0", "1", "2", "3"]
    assert await hall.work() == 1
    assert await hall.contents() == ["0", "1", "2", "3", "4"]
    assert await hall.state("window_start, window_end, mark") == (None, None, None)


async def test_one_bad_record_loses_only_itself(hall: Hall) -> None:
    await hall.start()
    bad = [
        "not JSON",
        "[]",
        hall.message("", -30),
        hall.message("x" * 501),
        hall.message("a\0b"),
        hall.message("x", SendTime="yesterday"),
        hall.message("x", SendTime="9999-12-31T23:59:59Z"),
        hall.message("x", SendTime=None),
        hall.message("x", Id=""),
        hall.message("x", Id=7),
        hall.message("x", Sender=None),
        hall.message("\ud800"),
    ]
    good = [
        hall.message("x" * 500, Attributes=None),
        hall.message("who", Sender={"UserId": "f" * 32, "Attributes": None}),
        hall.message("long", Sender={"UserId": "guest-2", "Attributes": {"displayName": "n" * 100}}),
        hall.message("foreign", Sender={"UserId": "42"}),
    ]
    other = [{"type": "EVENT", "payload": {"Type": "EVENT", "EventName": "app:CHEER", "Attributes": None}}]
    before = [await records(hall, outcome) for outcome in ("malformed", "ignored", "kept")]
    await hall.log(good[0], *bad, *other, *good[1:])
    assert await hall.work() == 1
    counted = [await records(hall, outcome) for outcome in ("malformed", "ignored", "kept")]
    assert [now - then for now, then in zip(counted, before, strict=True)] == [len(bad), 1, len(good)]
    shown = {one["content"]: (one["senderName"], one["isGuest"], one["sentBy"]) for one in await hall.messages()}
    assert shown == {
        "x" * 500: ("Guest", True, None),
        "who": ("f" * 32, False, None),
        "long": ("n" * 64, True, None),
        "foreign": ("42", True, None),
    }


async def test_what_postgresql_refuses_loses_only_itself(hall: Hall) -> None:
    """Whatever nobody has thought of; here a rule that no other database has."""
    await hall.sql("ALTER TABLE chat_messages ADD CONSTRAINT ours CHECK (content NOT LIKE 'refused%')")
    await hall.start()
    gone = hall.message("deleted")
    contents = ["one", "refused", "two", "three", "refused too"]
    await hall.log(gone, *(hall.message(content, -29 + place) for place, content in enumerate(contents)))
    await hall.log(hall.deletion(gone), second=-20)
    before = await records(hall, "malformed")
    assert await hall.work() == 1
    assert await hall.contents() == ["one", "two", "three"]
    assert await records(hall, "malformed") == before + 2
    assert await hall.state("window_end, error") == (None, None)


async def test_times_with_any_number_of_digits(hall: Hall) -> None:
    await hall.start()
    stem = hall.at(-30).isoformat().removesuffix("+00:00")
    for fraction in ("", ".1", ".1234567", ".123456789"):
        await hall.log(hall.message(f"0{fraction}", SendTime=f"{stem}{fraction}Z"))
    assert await hall.work() == 1
    shown = {one["content"]: one["offsetMs"] for one in await hall.messages()}
    assert shown == {"0": 30_000, "0.1": 30_100, "0.1234567": 30_123, "0.123456789": 30_123}


async def test_reading_again_adds_nothing(hall: Hall) -> None:
    stream = await hall.start()
    await hall.log(*(hall.message(str(number)) for number in range(3)))
    assert await hall.work() == 1
    once = await hall.messages()
    await hall.end(stream)
    hall.archivist = archivist(hall.runtime, settle=0)
    kept = await records(hall, "kept")
    assert await hall.work() == 1
    assert await hall.messages() == once
    assert await records(hall, "kept") == kept
    assert await hall.work() == 0


async def test_late_lines_are_found(hall: Hall) -> None:
    """Within the overlap while the stream is live, and from its very beginning when the log has settled."""
    stream = await hall.start(-3600)
    await hall.log(hall.message("first", -3500), second=-3500)
    assert await hall.work() == 1
    await hall.log(hall.message("late", -50), second=-50)
    await hall.log(hall.message("very late", -3000), second=-3000)
    assert await hall.work() == 1
    assert await hall.contents() == ["first", "late"]
    await hall.end(stream, -10)
    await hall.log(hall.message("after the end", -20), second=-20)
    assert await hall.work() == 1
    assert await hall.contents() == ["first", "late", "after the end"]
    hall.archivist = archivist(hall.runtime, settle=5)
    assert await hall.work() == 1
    assert await hall.contents() == ["first", "very late", "late", "after the end"]
    assert await hall.work() == 0


async def test_an_end_that_we_hear_of_late(hall: Hall) -> None:
    """While a window is read that lies behind it altogether: the log is read from the beginning all the same."""
    stream = await hall.start(-3600)
    await hall.log(hall.message("first", -3500), second=-3500)
    assert await hall.work() == 1
    await hall.log(hall.message("very late", -3000), second=-3000)
    await hall.log(hall.message("second", -40), hall.message("third", -39), second=-40)
    hall.archivist = archivist(hall.runtime, settle=0, page_records=1, pages=1)
    assert await hall.work() == 1
    assert await hall.contents() == ["first", "second"]
    await hall.end(stream, -20)
    hall.archivist = archivist(hall.runtime, settle=0)
    assert await hall.work() == 1
    assert await hall.contents() == ["first", "second", "third"]
    assert await hall.work() == 1
    assert await hall.contents() == ["first", "very late", "second", "third"]
    assert await hall.work() == 0


async def test_a_stream_whose_end_is_lost(hall: Hall) -> None:
    """Is over when the next one begins, and not read for ever."""
    lost, live = await hall.start(-600), await hall.start(-100)
    await hall.log(hall.message("before", -300), second=-300)
    hall.archivist = archivist(hall.runtime, settle=5)
    assert await hall.work() == 2
    left = await hall.sql(
        "SELECT ivs_stream_id, read_after IS NULL FROM chat_archives JOIN streams ON streams.id = stream_id"
    )
    assert sorted(left) == sorted([(lost, True), (live, False)])
    assert await hall.contents() == ["before"]


async def test_looks_after_the_end(hall: Hall) -> None:
    stream = await hall.start()
    assert await hall.work() == 1
    assert 9 < await hall.state(PAUSE) <= 10
    await hall.end(stream)
    pauses = []
    for _ in range(6):
        assert await hall.work() == 1
        pauses.append(round(await hall.state(PAUSE)))
    # The last of the pauses ends when the log has settled.
    assert pauses[:5] == [10, 20, 40, 80, 160]
    assert 290 <= pauses[5] <= 300
    assert await hall.state("looks") == 6


async def test_streams_that_touch(hall: Hall) -> None:
    first, second = await hall.start(-60), await hall.start(-30)
    await hall.end(first, -30)
    for name, moment in (("before", -61), ("one", -60), ("two", -30.001), ("three", -30), ("four", -1)):
        await hall.log(hall.message(name, moment), second=moment)
    assert await hall.work() == 2
    of_stream = await hall.sql(
        "SELECT content, ivs_stream_id FROM chat_messages LEFT JOIN streams ON streams.id = stream_id ORDER BY sent_at"
    )
    assert of_stream == [("before", None), ("one", first), ("two", first), ("three", second), ("four", second)]


async def test_a_start_that_comes_to_light_later(hall: Hall) -> None:
    stream = await hall.start(-20)
    await hall.log(hall.message("early", -30))
    assert await hall.work() == 1
    assert [one["stream"] for one in await hall.messages()] == [None]
    await hall.start(-40, stream)
    await hall.end(stream)
    hall.archivist = archivist(hall.runtime, settle=0)
    assert await hall.work() == 1
    assert [one["offsetMs"] for one in await hall.messages()] == [10_000]


async def test_amazon_refuses_for_a_while(hall: Hall, emulator: Emulator) -> None:
    await hall.start()
    await hall.log(hall.message("patience"))
    await emulator.fault("FilterLogEvents", "error", code="AccessDeniedException", status=400, times=None)
    pauses = []
    for _ in range(8):
        assert await hall.work() == 1
        pauses.append(round(await hall.state(PAUSE)))
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600]
    assert await hall.state("attempts, error") == (8, "AccessDeniedException")
    await emulator.lift_faults()
    assert await hall.work() == 1
    assert await hall.contents() == ["patience"]
    assert await hall.state("attempts, error") == (0, None)


@pytest.mark.parametrize(
    ("kind", "details", "code"),
    [
        ("throttle", {}, "ThrottlingException"),
        ("error", {"code": "ServiceUnavailableException", "status": 503}, "ServiceUnavailableException"),
        ("drop-after", {}, "ConnectionClosedError"),
    ],
)
async def test_amazon_fails_in_the_middle(
    hall: Hall, emulator: Emulator, kind: str, details: dict[str, Any], code: str
) -> None:
    """What was read stays, and the reading goes on where it was."""
    await hall.start()
    hall.archivist = archivist(hall.runtime, page_records=1)
    await hall.log(hall.message("one", -30), hall.message("two", -29))
    await emulator.fault("FilterLogEvents", kind, skip=1, times=None, **details)
    failed = f'streamcat_chat_archive_turns_total{{outcome="{code}"}}'
    before = await metric(hall.client.url, failed)
    assert await hall.work() == 1
    assert await metric(hall.client.url, failed) == before + 1
    assert await hall.contents() == ["one"]
    assert await hall.state("mark IS NOT NULL, attempts, error") == (True, 1, code)
    await emulator.lift_faults()
    asked = len(await emulator.calls("FilterLogEvents"))
    assert await hall.work() == 1
    assert await hall.contents() == ["one", "two"]
    tokens = [call["params"].get("nextToken") for call in await emulator.calls("FilterLogEvents")]
    assert tokens[asked] == tokens[1]


async def test_a_log_group_that_is_missing(hall: Hall) -> None:
    await hall.start()
    await hall.runtime.aws.call("logs", "delete_log_group", logGroupName=LOG_GROUP)
    assert await hall.work() == 1
    assert await hall.state("attempts, error") == (1, "ResourceNotFoundException")
    await hall.runtime.aws.call("logs", "create_log_group", logGroupName=LOG_GROUP)
    await hall.log(hall.message("after all"))
    assert await hall.work() == 1
    assert await hall.contents() == ["after all"]
    assert await hall.state("attempts, error") == (0, None)


async def test_a_refusal_for_a_week_is_the_last(hall: Hall, emulator: Emulator) -> None:
    stream = await hall.start(-8 * 86_400)
    await hall.end(stream, -7 * 86_400 - 60)
    # Of a log group in which nobody has ever said anything, no log is asked for.
    await hall.log(hall.message("of today"))
    await emulator.fault("FilterLogEvents", "error", code="AccessDeniedException", status=400, times=None)
    assert await hall.work() == 1
    assert await hall.state("read_after, error") == (None, "AccessDeniedException")
    assert await hall.work() == 0


async def test_a_mark_that_amazon_has_forgotten(hall: Hall, emulator: Emulator) -> None:
    await hall.start()
    hall.archivist = archivist(hall.runtime, page_records=1, pages=1)
    await hall.log(hall.message("one", -30), hall.message("two", -29))
    assert await hall.work() == 1
    assert await hall.contents() == ["one"]
    await emulator.fault("FilterLogEvents", "error", code="InvalidParameterException", status=400)
    assert await hall.work() == 1
    assert await hall.state("mark IS NULL, window_end IS NULL, error") == (True, False, "InvalidParameterException")
    for _ in range(2):
        assert await hall.work() == 1
    assert await hall.contents() == ["one", "two"]
    assert await hall.state("window_end, error") == (None, None)


async def test_all_workers_together_read_so_many_pages_a_second(hall: Hall, emulator: Emulator) -> None:
    await hall.end(await hall.start(-60), -40)
    await hall.start(-30)
    await hall.log(*(hall.message(str(number), -20 + number) for number in range(2)), second=-20)
    workers = [archivist(hall.runtime, page_records=1, batch=1, reads_per_second=5) for _ in range(2)]
    await workers[0].run_due()
    await hall.sql("UPDATE chat_archives SET read_after = now() WHERE read_after IS NOT NULL")
    await asyncio.gather(*(worker.run_due() for worker in workers))
    moments = [call["at"] for call in await emulator.calls("FilterLogEvents")]
    assert len(moments) >= 5
    # On average: each call has its own way to the emulator.
    assert (moments[-1] - moments[0]) / (len(moments) - 1) > 0.18


async def test_two_workers_share(hall: Hall, emulator: Emulator) -> None:
    await hall.start()
    await hall.log(hall.message("once"))
    slow, turn = await begun(hall, emulator)
    assert await archivist(hall.runtime).run_due() == 0
    await emulator.lift_fault(slow)
    assert await turn == 1
    assert await hall.contents() == ["once"]


async def begun(hall: Hall, emulator: Emulator) -> tuple[dict[str, Any], asyncio.Task[int]]:
    """Let a worker ask for a page; return what keeps Amazon from answering, and the worker's turn."""
    slow = await emulator.control("faults", {"operation": "FilterLogEvents", "kind": "late", "seconds": 60})
    turn = asyncio.create_task(hall.archivist.run_due())

    async def taken() -> bool:
        calls = await emulator.calls("FilterLogEvents")
        return [call["status"] for call in calls] == [None]

    await eventually(taken, "the page is asked for")
    return slow, turn


async def test_who_has_lost_the_lease_changes_nothing(hall: Hall, emulator: Emulator) -> None:
    await hall.start()
    await hall.log(hall.message("once"))
    slow, turn = await begun(hall, emulator)
    assert await hall.work() == 1
    state = await hall.state("read_until, read_after")
    await emulator.lift_fault(slow)
    assert await turn == 1
    assert await hall.state("read_until, read_after") == state
    assert await hall.contents() == ["once"]


async def test_a_stream_of_long_ago_is_not_taken_up(hall: Hall) -> None:
    """But what is live is, however long we have known it."""
    await hall.end(await hall.start(-60), -50)
    live = await hall.start(-40)
    await hall.sql("UPDATE channels SET live_stream_id = NULL, live_since = NULL")
    await hall.sql("DELETE FROM metric_marks")
    await hall.sql("UPDATE streams SET id = CAST('00000000-0000-7000-8000-' || right(id::text, 12) AS uuid)")
    await hall.sql("""
    UPDATE channels SET live_stream_id = streams.id, live_since = streams.started_at
      FROM streams WHERE streams.channel_id = channels.id AND streams.ended_at IS NULL
    """)
    assert await hall.work() == 1
    query = "SELECT ivs_stream_id FROM chat_archives JOIN streams ON streams.id = stream_id"
    assert await hall.sql(query) == [(live,)]
