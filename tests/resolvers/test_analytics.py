"""Analytics of a stream: exact figures from heartbeats that are known."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from models import Stream
from tests.accounts import sql
from tests.analysing import DOCUMENT, POINTS, SHARES
from tests.client import Client, Registered
from tests.conftest import Running, StartServer
from tests.players import Written, ago, broadcast, say, write

START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


class Broadcast:
    """A stream of five minutes that is over, and how to write and ask about it."""

    def __init__(self, client: Client, running: Running, owner: Registered, row: Stream, stream_id: str) -> None:
        self.client, self.running, self.owner, self.row, self.id = client, running, owner, row, stream_id

    async def seen(self, *beats: tuple[UUID, float, dict[str, Any]]) -> None:
        """Write heartbeats of viewings at seconds of the stream."""
        rows = [Written(viewing, START + timedelta(seconds=second), told) for viewing, second, told in beats]
        async with self.running.runtime.services.sessions() as session, session.begin():
            await write(session, self.row, rows)

    async def ask(self, token: str | None = None, **range_: Any) -> Any:
        variables = {"id": self.id, **range_}
        data = await self.client.data(DOCUMENT, variables, token=token or self.owner.token)
        return data["stream"]["analytics"]


@pytest.fixture
async def show(client: Client, running: Running) -> Broadcast:
    owner = await client.register()
    row = await broadcast(running.runtime, owner.channel_id, START, START + timedelta(seconds=300))
    document = "query($id: ID!) { channel(by: { id: $id }) { streams { nodes { id } } } }"
    (node,) = (await client.data(document, {"id": owner.channel_id}))["channel"]["streams"]["nodes"]
    return Broadcast(client, running, owner, row, node["id"])


def values(analytics: Any, series: str) -> list[float]:
    """The values of a series, whose buckets must follow one another."""
    points = analytics[series]
    moments = [datetime.fromisoformat(point["startsAt"]) for point in points]
    step = timedelta(seconds=analytics["bucketSeconds"])
    assert moments == [moments[0] + step * index for index in range(len(moments))]
    return [point["value"] for point in points]


def shares(analytics: Any, kind: str) -> list[tuple[str, int, float]]:
    return [(share["name"], share["viewers"], share["fraction"]) for share in analytics[kind]]


async def test_every_series(show: Broadcast) -> None:
    one, two, three = uuid4(), uuid4(), uuid4()
    firefox = {"browser_name": "Firefox", "os": "Linux"}
    await show.seen(
        (one, 0, {**firefox, "latency_seconds": 2.0, "buffer_seconds": 4.0, "bitrate": 1000, "quality": "480p"}),
        (one, 30, {**firefox, "latency_seconds": 4.0, "framerate": 30.0, "quality": "720p"}),
        (one, 60, {**firefox, "latency_seconds": 5.0, "bitrate": 3000, "quality": "720p"}),
        (two, 30, {"browser_name": "Chrome", "latency_seconds": 9.0, "framerate": 60.0, "quality": "720p"}),
        # Away for long, then back.
        (two, 240, {"browser_name": "Chrome", "buffer_seconds": 1.5}),
        # What stands at the end belongs to the stream; it tells nothing.
        (three, 300, {}),
    )
    found = await show.ask(bucket=60)
    assert found["bucketSeconds"] == 60
    assert datetime.fromisoformat(found["viewers"][0]["startsAt"]) == START
    assert values(found, "viewers") == [2, 1, 0, 0, 1, 1]
    assert values(found, "latencySeconds") == [5.0, 5.0, 0, 0, 0, 0]
    assert values(found, "bufferSeconds") == [4.0, 0, 0, 0, 1.5, 0]
    assert values(found, "bitrate") == [1000, 3000, 0, 0, 0, 0]
    assert values(found, "framerate") == [45.0, 0, 0, 0, 0, 0]
    third = pytest.approx(1 / 3)
    assert shares(found, "browsers") == [("Chrome", 1, third), ("Firefox", 1, third)]
    assert shares(found, "operatingSystems") == [("Linux", 1, third)]
    assert shares(found, "qualities") == [("720p", 2, pytest.approx(2 / 3)), ("480p", 1, third)]
    assert (found["peakViewers"], found["uniqueViewers"]) == (2, 3)
    # 30 + 30 + 30 of one, 30 + 30 of the other, nothing after the end.
    assert found["watchTimeSeconds"] == 150


async def test_what_is_asked_alone_is_told_as_with_all_else(show: Broadcast) -> None:
    told = {"browser_name": "Firefox", "os": "Linux", "quality": "720p", "bitrate": 1000, "framerate": 30.0}
    await show.seen(*((uuid4(), second, {**told, "latency_seconds": 2.0, "buffer_seconds": 4.0}) for second in (0, 70)))
    async with show.running.runtime.services.sessions() as session, session.begin():
        await say(session, show.row, START + timedelta(seconds=1))
    whole = await show.ask()
    parts = dict.fromkeys(POINTS, "{ startsAt value }") | dict.fromkeys(SHARES, "{ name viewers fraction }")
    parts |= dict.fromkeys(("bucketSeconds", "peakViewers", "uniqueViewers", "watchTimeSeconds"), "")
    assert whole.keys() == parts.keys()
    assert all(whole.values())
    for name, below in parts.items():
        document = f"""
        query ($id: ID!) {{ stream(id: $id) {{ analytics {{ ...F }} }} }}
        fragment F on StreamAnalytics {{ ... {{ asked: {name} {below} }} }}
        """
        # A plan runs the first, graphql-core the second.
        for query in (document, document.replace("{ stream", "{ __schema { queryType { name } } stream", 1)):
            data = await show.client.data(query, {"id": show.id}, token=show.owner.token)
            assert data["stream"]["analytics"] == {"asked": whole[name]}


async def test_a_part_of_a_stream(show: Broadcast) -> None:
    one, two = uuid4(), uuid4()
    await show.seen(*((one, second, {"bitrate": second}) for second in range(0, 301, 30)), (two, 90, {"bitrate": 10}))
    begin, end = START + timedelta(seconds=60), START + timedelta(seconds=210)
    found = await show.ask(bucket=60, **{"from": begin.isoformat(), "to": end.isoformat()})
    assert datetime.fromisoformat(found["viewers"][0]["startsAt"]) == begin
    # The range grows to whole minutes: 60, 90 (twice); 120, 150; 180, 210; what stands at its end is not in it.
    assert values(found, "viewers") == [2, 1, 1]
    assert values(found, "bitrate") == [pytest.approx((60 + 90 + 10) / 3), 135, 195]
    assert (found["peakViewers"], found["uniqueViewers"]) == (2, 2)
    assert found["watchTimeSeconds"] == 6 * 30 + 30
    wider = {"from": (begin + timedelta(seconds=59)).isoformat(), "to": (end + timedelta(seconds=30)).isoformat()}
    assert await show.ask(bucket=60, **wider) == found


async def test_chat_messages_are_counted_when_they_were_sent(show: Broadcast) -> None:
    async with show.running.runtime.services.sessions() as session, session.begin():
        await say(session, show.row, *(START + timedelta(seconds=second) for second in (0, 1, 59.9, 60, 250, 299)))
    assert values(await show.ask(bucket=60), "chatMessages") == [3, 1, 0, 0, 2, 0]
    begin, end = START + timedelta(seconds=61), START + timedelta(seconds=239)
    part = await show.ask(bucket=60, **{"from": begin.isoformat(), "to": end.isoformat()})
    assert values(part, "chatMessages") == [1, 0, 0]


async def test_a_viewer_who_returns_is_present_twice_but_one(show: Broadcast) -> None:
    one, two = uuid4(), uuid4()
    # The window is 45 seconds: one leaves at 45, when two comes; at 100 and 120 both are there.
    await show.seen((one, 0, {}), (two, 45, {}), (one, 100, {}), (two, 120, {}))
    found = await show.ask()
    assert (found["peakViewers"], found["uniqueViewers"], found["watchTimeSeconds"]) == (2, 2, 120)
    apart = await show.ask(to=(START + timedelta(seconds=100)).isoformat())
    assert (apart["peakViewers"], apart["uniqueViewers"]) == (1, 2)


async def test_nobody_watched(show: Broadcast) -> None:
    found = await show.ask()
    assert all(values(found, series) == [0] * 6 for series in POINTS)
    assert all(found[kind] == [] for kind in SHARES)
    assert [found[name] for name in ("peakViewers", "uniqueViewers", "watchTimeSeconds")] == [0, 0, 0]


async def test_the_most_frequent_values_are_told(show: Broadcast) -> None:
    await show.seen(*((uuid4(), 1, {"quality": f"q{number % 25:02}"}) for number in range(30)))
    found = shares(await show.ask(), "qualities")
    assert len(found) == 20
    assert found[:6] == [*((f"q{number:02}", 2, pytest.approx(2 / 30)) for number in range(5)), ("q05", 1, 1 / 30)]


async def test_a_live_stream_ends_now(client: Client, running: Running, show: Broadcast) -> None:
    began = ago(150)
    await broadcast(running.runtime, show.owner.channel_id, began, name="st-live")
    document = "query($id: ID!) { channel(by: { id: $id }) { currentStream { analytics { viewers { startsAt } } } } }"
    data = await client.data(document, {"id": show.owner.channel_id}, token=show.owner.token)
    starts = [point["startsAt"] for point in data["channel"]["currentStream"]["analytics"]["viewers"]]
    first = began.replace(second=0, microsecond=0)
    assert [datetime.fromisoformat(start) for start in starts] == [
        first + timedelta(seconds=60 * index) for index in range(len(starts))
    ]
    # The newest begins at the last whole minute before the answer.
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(starts[-1]) < timedelta(seconds=70)


async def test_only_the_owner_is_told(client: Client, show: Broadcast) -> None:
    await show.seen((uuid4(), 1, {}))
    stranger = await client.register()
    guest = (await client.data(DOCUMENT, {"id": show.id}))["stream"]["analytics"]
    assert guest is None
    assert await show.ask(stranger.token) is None
    assert (await show.ask())["uniqueViewers"] == 1
    # Nor what is wrong with the question.
    assert (await client.data(DOCUMENT, {"id": show.id, "bucket": 1}))["stream"]["analytics"] is None


async def test_before_the_start_there_is_nothing(running: Running, show: Broadcast) -> None:
    await sql(running.runtime, "UPDATE streams SET started_at = NULL WHERE id = :id", id=show.row.id)
    assert await show.ask() is None


@pytest.mark.parametrize(
    "range_",
    [
        {"bucket": 59},
        {"bucket": 90},
        {"bucket": 0},
        {"bucket": -60},
        {"from": START.isoformat(), "to": START.isoformat()},
        {"from": (START + timedelta(seconds=10)).isoformat(), "to": START.isoformat()},
        {"from": (START + timedelta(seconds=301)).isoformat()},
        {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z", "bucket": 60},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"to": "9999-12-31T23:59:59-14:00", "bucket": 60 * 30_000_000},
        {"from": "2026-03-01"},
    ],
    ids=[
        "short",
        "no minutes",
        "zero",
        "negative",
        "empty",
        "backwards",
        "after the end",
        "too many",
        "early",
        "late",
        "no zone",
    ],
)
async def test_ranges_that_cannot_be_answered(client: Client, show: Broadcast, range_: dict[str, Any]) -> None:
    error = await client.error(DOCUMENT, {"id": show.id, **range_}, token=show.owner.token)
    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_buckets_grow_with_the_range(show: Broadcast, start_server: StartServer) -> None:
    viewing = uuid4()
    await show.seen(*((viewing, second, {}) for second in range(0, 300, 30)))
    async with start_server(worker=False, analytics_max_buckets=3) as running:
        client = Client(running.url)
        found = (await client.data(DOCUMENT, {"id": show.id}, token=show.owner.token))["stream"]["analytics"]
        assert found["bucketSeconds"] == 120
        assert values(found, "viewers") == [1, 1, 1]
        error = await client.error(DOCUMENT, {"id": show.id, "bucket": 60}, token=show.owner.token)
        assert error["message"] == "The range has 6 buckets of 60 seconds; at most 3 are answered."
        await client.aclose()
