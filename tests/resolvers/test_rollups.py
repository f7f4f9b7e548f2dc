"""Roll-ups: analytics are those of the heartbeats, whatever comes late or twice, and whoever rolls up when."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from models import Stream, utcnow
from models.rollup import minute_of
from resolvers.viewer_tokens import Viewing
from schema.base import global_id, parse_id
from subscriptions.rollups import Rollups, RollupsConfig
from tests.accounts import sql
from tests.analysing import Answer
from tests.client import Client, Registered
from tests.conftest import Running, StartServer
from tests.players import Player, broadcast
from tests.reckoning import Sent

LENGTH = 2400


@dataclass
class Show:
    """A stream with viewers whose players began to watch when it began, or say so."""

    running: Running
    door: Client  # a server that does not mind how often a player sends
    reader: Client
    owner: Registered
    stream: Stream
    began: datetime
    ended: datetime | None = None
    viewings: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(5)])
    sent: dict[str, Sent] = field(default_factory=dict)
    batches: list[tuple[int, list[dict[str, Any]]]] = field(default_factory=list)

    def beat(self, second: float, **readings: Any) -> dict[str, Any]:
        """A heartbeat of a second of the stream."""
        return {"id": str(uuid4()), "sentAt": (self.began + timedelta(seconds=second)).isoformat(), **readings}

    async def send(self, viewer: int, beats: Sequence[dict[str, Any]]) -> None:
        """Send one request of a viewer, until it is not too early any more."""
        services = self.running.runtime.services
        _, channel_id = parse_id(self.owner.channel_id, argument="id")
        viewing = Viewing(self.viewings[viewer], channel_id, self.began, utcnow() + timedelta(hours=1))
        player = Player(self.door, services.viewer_tokens.sign(viewing), "")
        while (await player.send(*beats))["accepted"] is None:
            pass
        for beat in beats:
            at = datetime.fromisoformat(beat["sentAt"])
            readings = {name: value for name, value in beat.items() if name not in ("id", "sentAt")}
            stored = Sent(viewing.id, min(at, self.ended) if self.ended else at, readings)
            self.sent.setdefault(f"{viewer} {beat['id']}", stored)

    async def end(self, second: int) -> None:
        """Let the stream have ended, or correct when."""
        ended = self.began + timedelta(seconds=second)
        if self.ended is None or ended > self.ended:
            self.ended = ended
        name = self.stream.ivs_stream_id
        await broadcast(self.running.runtime, self.owner.channel_id, self.began, ended, name=name)

    async def agrees(self, *, start: int | None = None, end: int | None = None, bucket: int | None = None) -> None:
        """Compare an answer with the heartbeats; `start` and `end` are minutes of the stream."""
        answer = Answer(self.reader, self.owner.token, global_id(self.stream), self.began)
        finish = self.ended or utcnow()
        await answer.agrees(list(self.sent.values()), finish, start=start, end=end, bucket=bucket)


@dataclass(frozen=True, repr=False)
class House:
    """Two servers on one database of which nobody else's jobs take care."""

    running: Running
    door: Client
    reader: Client
    owner: Registered

    async def show(self, began: datetime) -> Show:
        await sql(self.running.runtime, "DELETE FROM streams")
        for table in ("metric_marks", "metric_minutes", "metric_counts"):
            assert await sql(self.running.runtime, f"SELECT 1 FROM {table} LIMIT 1") == []  # noqa: S608 - our names
        stream = await broadcast(self.running.runtime, self.owner.channel_id, began)
        return Show(self.running, self.door, self.reader, self.owner, stream, began)


@pytest.fixture(scope="module")
async def house(start_apart: StartServer, start_server: StartServer) -> AsyncIterator[House]:
    async with start_apart(worker=False, bus_heartbeat_seconds=60.0) as running:
        resolved = running.runtime.resolved
        often = {"heartbeat_interval_seconds": 0.05, "heartbeat_grace_seconds": 86_400.0}
        async with start_server(resolved=resolved, worker=False, bus_heartbeat_seconds=60.0, **often) as door:
            clients = Client(door.url), Client(running.url)
            yield House(running, *clients, await clients[1].register())
            for client in clients:
                await client.aclose()


def rollups(running: Running, retention_days: int = 730) -> Rollups:
    services = running.runtime.services
    return Rollups(services.sessions, RollupsConfig(services.playback.rhythm, retention_days))


async def roll_up(running: Running) -> None:
    """Roll up all that is due, by two processes at once."""
    while any(await asyncio.gather(rollups(running).roll_up(), rollups(running).roll_up())):
        pass


QUARTERS = st.integers(0, 40).map(lambda number: number / 4)
SECONDS = st.one_of(
    st.integers(0, LENGTH),
    # Where minutes, windows and intervals meet.
    st.tuples(st.integers(0, 12), st.sampled_from([0, 15, 30, 45, 59, 60])).map(lambda at: at[0] * 60 + at[1]),
)
READINGS = st.fixed_dictionaries(
    {},
    optional={
        "browserName": st.sampled_from(["Chrome", "Firefox"]),
        "os": st.sampled_from(["Linux", "iOS"]),
        "quality": st.sampled_from(["480p", "720p", "1080p"]),
        "latencySeconds": QUARTERS,
        "bufferSeconds": QUARTERS,
        "bitrate": st.integers(0, 10_000_000),
        "framerate": QUARTERS,
    },
)
MINUTES = st.integers(0, LENGTH // 60 + 1)
STEPS = st.one_of(
    st.tuples(
        st.just("send"),
        st.integers(0, 4),
        st.lists(st.tuples(SECONDS, READINGS), min_size=1, max_size=6),
        st.booleans(),
    ),
    st.tuples(st.just("again"), st.integers(0, 20)),
    st.tuples(st.just("roll up")),
    st.tuples(st.just("end"), SECONDS),
    st.tuples(st.just("ask"), MINUTES, MINUTES, st.integers(1, 7)),
)


HISTORY = given(steps=st.lists(STEPS, min_size=8, max_size=25), ago=st.integers(31, 119))


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@HISTORY
async def test_analytics_are_those_of_the_heartbeats(house: House, steps: list[tuple[Any, ...]], ago: int) -> None:
    await agree(house, steps, ago)


@pytest.mark.soak
@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@HISTORY
async def test_they_are_always(house: House, steps: list[tuple[Any, ...]], ago: int) -> None:
    await agree(house, steps, ago)


async def agree(house: House, steps: list[tuple[Any, ...]], ago: int) -> None:
    # The newest are of minutes that are not over, or just; what they stand for is.
    show = await house.show(utcnow().replace(microsecond=0) - timedelta(seconds=LENGTH + ago))
    for step in steps:
        match step:
            case ("send", viewer, told, meanwhile):
                beats = [show.beat(second, **readings) for second, readings in told]
                show.batches.append((viewer, beats))
                await asyncio.gather(show.send(viewer, beats), *([roll_up(house.running)] if meanwhile else []))
            case ("again", number) if show.batches:
                viewer, beats = show.batches[number % len(show.batches)]
                await show.send(viewer, beats)
            case ("roll up",):
                await roll_up(house.running)
            case ("end", second):
                await show.end(second)
            case ("ask", one, other, bucket) if one != other:
                await show.agrees(start=min(one, other), end=max(one, other), bucket=bucket)
    await show.agrees(bucket=1)
    await roll_up(house.running)
    await show.agrees(bucket=1)
    await show.agrees()
    if show.ended is None or show.ended >= show.began + timedelta(minutes=3):
        await show.agrees(start=3, bucket=5)


async def test_a_late_heartbeat_is_where_its_viewer_was_before(house: House) -> None:
    show = await house.show(minute_of(utcnow()) - timedelta(seconds=LENGTH))
    told = {"quality": "720p", "browserName": "Firefox"}
    await show.send(0, [show.beat(1200, **told), show.beat(1500, **told), show.beat(1800, quality="480p")])
    await roll_up(house.running)
    await show.agrees(bucket=1)
    await show.send(0, [show.beat(300, **told), show.beat(330, quality="480p")])
    # Before the job has stored it, and after.
    await show.agrees(bucket=1)
    await roll_up(house.running)
    assert await sql(house.running.runtime, "SELECT 1 FROM metric_marks") == []
    await show.agrees(bucket=1)
    await show.agrees(start=10, end=40, bucket=30)


async def minutes(running: Running, table: str) -> list[datetime]:
    rows = await sql(running.runtime, f"SELECT DISTINCT minute FROM {table} ORDER BY minute")  # noqa: S608 - our names
    return [row.minute for row in rows]


async def test_a_minute_is_stored_as_soon_as_it_is_over(house: House) -> None:
    over = None
    # Once more if another one is over meanwhile.
    while over != minute_of(utcnow()):
        over = minute_of(utcnow())
        found = []
        show = await house.show(over - timedelta(minutes=10))
        for viewer, seconds in (
            (0, (300, 420)),
            # Whoever watches then is there as well when the next minute begins, in which nobody sends.
            (0, (570, 590)),
            # Who comes late is told of at once, and stored when the minute is of some age.
            (1, (580,)),
        ):
            await show.send(viewer, [show.beat(second, quality="720p") for second in seconds])
            await roll_up(house.running)
            await show.agrees(end=10, bucket=1)
            tables = [await minutes(house.running, table) for table in ("metric_minutes", "metric_marks")]
            found.append([[(minute - show.began) // timedelta(minutes=1) for minute in of] for of in tables])
    assert found == [[[5, 7], []], [[5, 7, 9], [10]], [[5, 7, 9], [9, 10]]]


async def test_what_is_rolled_up_needs_no_heartbeats(house: House) -> None:
    show = await house.show(minute_of(utcnow()) - timedelta(seconds=LENGTH))
    await show.send(0, [show.beat(second, bitrate=second) for second in (0, 30, 60, 300, 1200)])
    await show.send(1, [show.beat(second, os="Linux") for second in (40, 70, 600)])
    await show.end(1300)
    await roll_up(house.running)
    runtime = house.running.runtime
    await sql(runtime, "DELETE FROM metrics WHERE viewing_id = :id", id=show.viewings[0])
    await show.agrees(bucket=1)
    # A minute of which less is left than was counted stays as it is, whoever asks to have it computed anew.
    await sql(runtime, "INSERT INTO metric_marks (stream_id, minute) SELECT stream_id, minute FROM metric_minutes")
    await show.agrees(bucket=1)
    await roll_up(house.running)
    await show.agrees(bucket=1)
    await sql(runtime, "DELETE FROM metrics")
    await show.agrees(bucket=2)


async def test_roll_ups_are_forgotten_in_time(house: House) -> None:
    show = await house.show(utcnow() - timedelta(days=3))
    await show.send(0, [show.beat(0)])
    await show.end(60)
    await roll_up(house.running)
    found = "SELECT (SELECT count(*) FROM metric_minutes), (SELECT count(*) FROM metric_counts WHERE kind = 'viewers')"
    assert await rollups(house.running, retention_days=4).forget() == 0
    assert await sql(house.running.runtime, found) == [(1, 1)]
    assert await rollups(house.running, retention_days=2).forget() == 1
    assert await sql(house.running.runtime, found) == [(0, 0)]
    assert await rollups(house.running, retention_days=2).forget() == 0
