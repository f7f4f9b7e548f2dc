"""How many watch, and what their owner sees of them: counted from heartbeats, pushed when it changes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from models.metric import add_partition, partition_name, partitions
from schema.base import parse_id
from subscriptions import topics
from subscriptions.viewers import Viewers, ViewersConfig
from tests.accounts import delete_user, sql
from tests.client import Client, Registered, open_socket
from tests.conftest import Running, StartServer
from tests.players import Player, Written, ago, beat, broadcast, say, write
from tests.waiting import eventually

CHANNEL = """
query($id: ID!) {
  channel(by: { id: $id }) { viewerCount currentStream { viewerCount peakViewerCount }
    streams { nodes { viewerCount peakViewerCount } } }
}
"""
COUNT = """
subscription($id: ID!) { viewerCountChanged(channelId: $id) { viewerCount channel { id viewerCount } } }
"""
STATS = """
subscription($id: ID!) {
  liveStats(channelId: $id) {
    stream { title } health viewerCount peakViewerCount joins leaves
    latencySeconds p95LatencySeconds bufferSeconds bitrate framerate chatMessagesPerMinute
    qualities { name viewers fraction }
  }
}
"""
NOBODY = {
    "viewerCount": 0,
    "peakViewerCount": 0,
    "joins": 0,
    "leaves": 0,
    "latencySeconds": None,
    "p95LatencySeconds": None,
    "bufferSeconds": None,
    "bitrate": None,
    "framerate": None,
    "qualities": [],
    "chatMessagesPerMinute": 0,
}


@pytest.fixture
async def owner(client: Client, running: Running) -> Registered:
    """A streamer who has been live for ten minutes."""
    owner = await client.register()
    await broadcast(running.runtime, owner.channel_id, ago(600), name="st-one")
    return owner


async def watch(client: Client, owner: Registered, number: int, **readings: Any) -> list[Player]:
    players = [await Player.start(client, owner.channel_id) for _ in range(number)]
    await asyncio.gather(*(player.beats(beat(**readings)) for player in players))
    return players


async def counted(client: Client, owner: Registered, count: int, peak: int) -> None:
    """Wait until channel and stream show these numbers."""

    async def told() -> bool:
        channel = (await client.data(CHANNEL, {"id": owner.channel_id}))["channel"]
        stream = channel["currentStream"]
        return (channel["viewerCount"], stream) == (count, {"viewerCount": count, "peakViewerCount": peak})

    await eventually(told, f"{count} viewers, {peak} at most")


async def age(running: Running, owner: Registered, seconds: float, limit: int = 1000) -> None:
    """Let the newest heartbeats of the owner's viewers be so much older."""
    statement = """
    UPDATE metrics SET sent_at = sent_at - make_interval(secs => :seconds)
     WHERE id IN (SELECT id FROM metrics WHERE user_id = :owner ORDER BY sent_at DESC LIMIT :limit)
    """
    _, key = parse_id(owner.id, argument="id")
    await sql(running.runtime, statement, seconds=seconds, owner=key, limit=limit)


async def test_viewers_are_those_with_a_heartbeat_of_late(client: Client, owner: Registered, running: Running) -> None:
    await counted(client, owner, 0, 0)
    players = await watch(client, owner, 3)
    await counted(client, owner, 3, 3)
    # Two heartbeats of one player are one viewer; a player without any is none.
    other = await Player.start(client, owner.channel_id)
    await Player.start(client, owner.channel_id)
    await other.beats(beat(), beat())
    await counted(client, owner, 4, 4)
    await age(running, owner, 44.0, limit=2)
    await counted(client, owner, 4, 4)
    await age(running, owner, 46.0, limit=3)
    await counted(client, owner, 1, 4)
    await age(running, owner, 46.0)
    await counted(client, owner, 0, 4)
    assert len(players) == 3


async def test_reading_the_number_looks_at_no_heartbeat(
    client: Client, owner: Registered, running: Running, start_server: StartServer
) -> None:
    await watch(client, owner, 2)
    await counted(client, owner, 2, 2)
    async with start_server(worker=False) as reading:
        door = Client(reading.url)
        async with running.runtime.services.sessions() as session, session.begin():
            # Who so much as plans to read the table waits, and is an error after the statement's timeout.
            await session.execute(text("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE"))
            channel = (await door.data(CHANNEL, {"id": owner.channel_id}))["channel"]
        await door.aclose()
    stream = {"viewerCount": 2, "peakViewerCount": 2}
    assert channel == {"viewerCount": 2, "currentStream": stream, "streams": {"nodes": [stream]}}


async def test_each_stream_has_viewers_of_its_own(client: Client, owner: Registered, running: Running) -> None:
    await watch(client, owner, 2)
    await counted(client, owner, 2, 2)
    await broadcast(running.runtime, owner.channel_id, ago(600), ago(0.01), name="st-one")
    channel = (await client.data(CHANNEL, {"id": owner.channel_id}))["channel"]
    assert (channel["viewerCount"], channel["currentStream"]) == (None, None)
    assert channel["streams"]["nodes"] == [{"viewerCount": None, "peakViewerCount": 2}]
    await broadcast(running.runtime, owner.channel_id, ago(0.005), name="st-two")
    await counted(client, owner, 0, 0)
    await watch(client, owner, 1)
    await counted(client, owner, 1, 1)
    streams = (await client.data(CHANNEL, {"id": owner.channel_id}))["channel"]["streams"]["nodes"]
    assert streams == [{"viewerCount": 1, "peakViewerCount": 1}, {"viewerCount": None, "peakViewerCount": 2}]


async def test_the_count_is_pushed_to_everybody(client: Client, owner: Registered, running: Running) -> None:
    stranger = await client.register()

    def frame(count: int | None) -> dict[str, Any]:
        channel = {"id": owner.channel_id, "viewerCount": count}
        return {"viewerCountChanged": {"viewerCount": count or 0, "channel": channel}}

    async with (
        open_socket(running.url) as guest,
        open_socket(running.url, stranger.token) as signed_in,
        open_socket(running.url, owner.token) as own,
    ):
        sockets = (guest, signed_in, own)
        for socket in sockets:
            await socket.subscribe("1", COUNT, {"id": owner.channel_id})
            assert await socket.next("1") == frame(0)
        await watch(client, owner, 2)
        for socket in sockets:
            # What the count was between the two heartbeats may have been told, or not.
            told = [await socket.next("1")]
            while told[-1] != frame(2):
                told.append(await socket.next("1"))
            assert told in ([frame(2)], [frame(1), frame(2)])
        # A change of something else is no frame; the end of the stream is.
        await look_again(running, owner)
        await broadcast(running.runtime, owner.channel_id, ago(600), ago(0.01), name="st-one")
        for socket in sockets:
            assert await socket.next("1") == frame(None)
        await delete_user(client, owner.token)
        for socket in sockets[:2]:
            assert await socket.receive() == {"type": "complete", "id": "1"}


async def test_many_changes_are_few_frames(client: Client, owner: Registered, running: Running) -> None:
    _, key = parse_id(owner.channel_id, argument="id")
    async with open_socket(running.url) as socket:
        await socket.subscribe("1", COUNT, {"id": owner.channel_id})
        assert (await socket.next("1"))["viewerCountChanged"]["viewerCount"] == 0
        # The heartbeats go before the numbers, so that the job has nothing to correct.
        began = asyncio.get_running_loop().time()
        players = [await Player.start(client, owner.channel_id) for _ in range(25)]
        for player in players:
            await player.beats(beat())
            await asyncio.sleep(0)
        await counted(client, owner, 25, 25)
        seconds = asyncio.get_running_loop().time() - began
        seen = [(await socket.next("1"))["viewerCountChanged"]["viewerCount"]]
        while seen[-1] != 25:
            seen.append((await socket.next("1"))["viewerCountChanged"]["viewerCount"])
    assert seen == sorted(set(seen))
    assert len(seen) <= seconds + 2

    async def left() -> bool:
        return running.runtime.services.hub.listeners(topics.viewers(key)) == 0

    await eventually(left, "nobody listens any more")


@pytest.mark.parametrize("document", [COUNT, STATS])
async def test_other_ids_are_refused(client: Client, owner: Registered, running: Running, document: str) -> None:
    async with open_socket(running.url, owner.token) as socket:
        unknown = "Q2hhbm5lbDowMDAwMDAwMDAwMDA3MDAwODAwMDAwMDAwMDAwMDAwMA"
        expected = {COUNT: "BAD_INPUT", STATS: "FORBIDDEN"}
        for number, (wrong, code) in enumerate(((owner.id, "BAD_INPUT"), (unknown, expected[document]))):
            await socket.subscribe(str(number), document, {"id": wrong})
            message = await socket.receive()
            (error,) = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
            assert error["extensions"] == {"code": code}
            if message["type"] == "next":
                assert await socket.receive() == {"type": "complete", "id": str(number)}


async def test_live_stats_are_the_owners(client: Client, owner: Registered, running: Running) -> None:
    stranger = await client.register()
    for token, code in ((None, "UNAUTHENTICATED"), (stranger.token, "FORBIDDEN")):
        async with open_socket(running.url, token) as socket:
            await socket.subscribe("1", STATS, {"id": owner.channel_id})
            message = await socket.receive()
            assert "viewerCount" not in str(message)
            (error,) = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
            assert error["extensions"] == {"code": code}


async def stats(start_server: StartServer, owner: Registered) -> dict[str, Any]:
    """The first frame that a new socket gets."""
    async with start_server(worker=False) as running, open_socket(running.url, owner.token) as socket:
        await socket.subscribe("1", STATS, {"id": owner.channel_id})
        found: dict[str, Any] = (await socket.next("1"))["liveStats"]
    return found


async def test_live_stats_are_of_each_viewers_newest_heartbeat(
    client: Client, running: Running, start_server: StartServer
) -> None:
    owner = await client.register()
    assert await stats(start_server, owner) == {"stream": None, "health": None, **NOBODY}
    stream = await broadcast(running.runtime, owner.channel_id, ago(600))
    live = {"stream": {"title": stream.title}, "health": "HEALTHY"}
    assert await stats(start_server, owner) == {**live, **NOBODY}
    stays, joins, leaves, gone, silent = (uuid4() for _ in range(5))
    async with running.runtime.services.sessions() as session, session.begin():
        beats = [
            (gone, 300, {"latency_seconds": 50.0, "quality": "160p"}),
            (leaves, 70, {"latency_seconds": 40.0, "quality": "160p"}),
            (stays, 75, {"latency_seconds": 30.0, "quality": "160p"}),
            (stays, 15, {"latency_seconds": 2.0, "buffer_seconds": 4.0, "bitrate": 1_000_000, "quality": "480p"}),
            (joins, 10, {"latency_seconds": 4.0, "buffer_seconds": 8.0, "framerate": 30.0, "quality": "1080p"}),
            (silent, 5, {}),
        ]
        await write(session, stream, (Written(viewing, ago(seconds), told) for viewing, seconds, told in beats))
        await say(session, stream, *(ago(seconds) for seconds in (61, 58, 30, 1)))
    expected = {
        "viewerCount": 3,
        "peakViewerCount": 3,
        "joins": 2,
        "leaves": 1,
        "latencySeconds": 3.0,
        "p95LatencySeconds": 3.9,
        "bufferSeconds": 6.0,
        "bitrate": 1_000_000.0,
        "framerate": 30.0,
        # As many each: by name.
        "qualities": [{"name": name, "viewers": 1, "fraction": 1 / 3} for name in ("1080p", "480p")],
        "chatMessagesPerMinute": 3,
    }
    assert await stats(start_server, owner) == {**live, **expected}


async def test_live_stats_go_on_while_live_and_end_with_it(
    client: Client, owner: Registered, start_server: StartServer
) -> None:
    async with (
        start_server(worker=False, live_stats_interval_seconds=0.05) as running,
        open_socket(running.url, owner.token) as socket,
    ):
        await socket.subscribe("1", STATS.replace("health", "health measuredAt"), {"id": owner.channel_id})
        # Nothing has changed, yet they come.
        moments = []
        for _ in range(3):
            frame = (await socket.next("1"))["liveStats"]
            assert frame["viewerCount"] == 0
            moments.append(datetime.fromisoformat(frame["measuredAt"]))
        assert moments == sorted(set(moments))
        await watch(client, owner, 2)
        while (frame := (await socket.next("1"))["liveStats"])["viewerCount"] != 2:
            pass
        assert frame["stream"] is not None
        await broadcast(running.runtime, owner.channel_id, ago(600), ago(0.01), name="st-one")
        while (frame := (await socket.next("1"))["liveStats"])["stream"] is not None:
            pass
        assert frame == {"stream": None, "health": None, "measuredAt": frame["measuredAt"], **NOBODY}
        # Offline there is nothing to say, even if the timer saw the end before its notice came.
        await look_again(running, owner)
        with pytest.raises(TimeoutError):
            await socket.receive(0.5)
        await look_again(running, owner)
        await broadcast(running.runtime, owner.channel_id, ago(0.005), name="st-two")
        assert (await socket.next("1"))["liveStats"]["stream"] is not None


async def look_again(running: Running, owner: Registered) -> None:
    """Tell whoever watches the channel to look again."""
    async with running.runtime.services.publisher.transaction() as transaction:
        transaction.channel_changed(parse_id(owner.channel_id, argument="id")[1])


async def test_partitions_are_ahead_and_forgotten_in_time(start_apart: StartServer) -> None:
    async with start_apart(worker=False) as running:
        services = running.runtime.services
        today = datetime.now(UTC).date()
        old, kept = today - timedelta(days=31), today - timedelta(days=30)
        async with services.sessions() as session, session.begin():
            await add_partition(session, old)
            await add_partition(session, kept)
        await sql(running.runtime, f"DROP TABLE {partition_name(today + timedelta(days=7))}")
        jobs = Viewers(services.publisher, ViewersConfig(window=45.0, interval=1.0, retention_days=30))
        client = Client(running.url)
        row = await broadcast(running.runtime, (await client.register()).channel_id, ago(600))
        waiting = "INSERT INTO metric_marks (stream_id, minute) VALUES (:id, now() - interval '2 days')"
        await sql(running.runtime, waiting, id=row.id)
        await jobs.keep_partitions()
        async with services.sessions() as session:
            # What is older than that may have to be read for it.
            assert old in await partitions(session)
        await sql(running.runtime, "DELETE FROM metric_marks")
        for _ in range(2):
            await jobs.keep_partitions()
            async with services.sessions() as session:
                found = await partitions(session)
            assert old not in found
            assert kept in found
            assert {today + timedelta(days=ahead) for ahead in range(-1, 8)} <= set(found)
        await client.aclose()
