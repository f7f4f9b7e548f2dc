"""From Amazon's bus to a subscriber's screen: whatever the order in which events come, the last frame is the truth."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ivs.client import Aws
from tests.client import Client, Registered, Socket, open_socket
from tests.conftest import Emulator
from tests.waiting import eventually

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
STATE, HEALTH = "IVS Stream State Change", "IVS Stream Health Change"
FIELDS = """
fragment Seen on Channel {
  isLive
  currentStream { state health startedAt endedAt }
  streams { nodes { state startedAt endedAt } }
}
"""
CHANGED = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { ...Seen } } }" + FIELDS
QUERY = "query($name: String!) { channel(by: {name: $name}) { ...Seen } }" + FIELDS
LIVE = "{ channels(filter: {isLive: true}) { nodes { id } } }"
OFFLINE = "{ channels(filter: {isLive: false}) { nodes { id } } }"
ARN = "{ viewer { channel { broadcast { arn } } } }"
OFF: dict[str, Any] = {"isLive": False, "currentStream": None}


def moment(second: int | None) -> str | None:
    return None if second is None else (NOON + timedelta(seconds=second)).isoformat()


def ended(start: int | None, end: int) -> dict[str, Any]:
    return {"state": "ENDED", "startedAt": moment(start), "endedAt": moment(end)}


def live(start: int) -> dict[str, Any]:
    return {"state": "LIVE", "startedAt": moment(start), "endedAt": None}


def on_air(start: int, *others: dict[str, Any], health: str = "HEALTHY") -> dict[str, Any]:
    streams = sorted([live(start), *others], key=lambda one: str(one["startedAt"]), reverse=True)
    return {"isLive": True, "currentStream": {**live(start), "health": health}, "streams": {"nodes": streams}}


def off_air(*streams: dict[str, Any]) -> dict[str, Any]:
    return {**OFF, "streams": {"nodes": list(streams)}}


@dataclass
class Show:
    """A channel, its viewer on a socket, and Amazon's hand on the bus."""

    aws: Aws
    client: Client
    socket: Socket
    user: Registered
    arn: str
    last: dict[str, Any]

    async def put(self, *events: tuple[str, str, int]) -> None:
        """Put events (name, stream, second) on EventBridge, in this order."""
        entries = [
            {
                "Source": "aws.ivs",
                "DetailType": HEALTH if "Starvation" in name else STATE,
                "Time": NOON + timedelta(seconds=second),
                "Resources": [self.arn],
                "Detail": json.dumps(
                    {"event_name": name, "channel_name": "", "stream_id": f"st-{self.user.username[-8:]}-{stream}"}
                ),
            }
            for name, stream, second in events
        ]
        answer = await self.aws.call("events", "put_events", Entries=entries)
        assert answer["FailedEntryCount"] == 0

    async def shows(self, expected: dict[str, Any]) -> None:
        """The subscriber's frames end with the expected one, and everybody who asks is told the same."""
        while self.last != expected:
            self.last = (await self.socket.next("1"))["channelChanged"]["channel"]
        assert (await self.client.data(QUERY, {"name": self.user.username}))["channel"] == expected
        listed = {
            word: self.user.channel_id in [one["id"] for one in (await self.client.data(document))["channels"]["nodes"]]
            for word, document in (("live", LIVE), ("offline", OFFLINE))
        }
        assert listed == {"live": expected["isLive"], "offline": not expected["isLive"]}

    async def ends_with(self, marker: int, expected: dict[str, Any]) -> None:
        """As `shows`, when all that was put before has been applied: its last event makes a stream of its own."""
        await self.put(("Stream Start", "last", marker), ("Stream End", "last", marker + 1))
        expected["streams"]["nodes"].append(ended(marker, marker + 1))
        expected["streams"]["nodes"].sort(key=lambda one: str(one["startedAt"]), reverse=True)
        await self.shows(expected)


@pytest.fixture
async def show(clean: None, client: Client, server_url: str, aws: Aws) -> AsyncIterator[Show]:
    user = await client.register()
    arn = (await client.data(ARN, token=user.token))["viewer"]["channel"]["broadcast"]["arn"]
    async with open_socket(server_url) as socket:
        await socket.subscribe("1", CHANGED, {"id": user.channel_id})
        first = (await socket.next("1"))["channelChanged"]["channel"]
        assert first == off_air()
        yield Show(aws, client, socket, user, arn, first)


START, END, STARVE = ("Stream Start", "m", 10), ("Stream End", "m", 60), ("Starvation Start", "m", 30)


async def test_a_stream_begins_starves_and_ends(show: Show) -> None:
    await show.put(("Session Created", "m", 3))
    await show.put(START)
    await show.shows(on_air(10))
    await show.put(STARVE)
    await show.shows(on_air(10, health="STARVING"))
    await show.put(("Starvation End", "m", 31))
    await show.shows(on_air(10))
    await show.put(("Session Ended", "m", 60), END)
    await show.shows(off_air(ended(10, 60)))


async def test_everything_twice(show: Show) -> None:
    await show.put(START, START)
    await show.shows(on_air(10))
    await show.put(END, END, START)
    await show.ends_with(1, off_air(ended(10, 60)))


async def test_the_end_before_the_start(show: Show) -> None:
    await show.put(END)
    await show.put(START)
    await show.shows(off_air(ended(10, 60)))


async def test_a_start_hours_late_does_not_turn_the_channel_on(show: Show) -> None:
    await show.put(("Session Created", "m", 5), ("Session Ended", "m", 60), END)
    await show.put(("Stream Start", "b", 7200))
    await show.put(START)
    await show.shows(on_air(7200, ended(10, 60)))


async def test_an_end_hours_late_does_not_turn_the_next_stream_off(show: Show) -> None:
    await show.put(START)
    await show.shows(on_air(10))
    await show.put(("Stream Start", "b", 70))
    await show.shows(on_air(70, live(10)))
    await show.put(END)
    await show.shows(on_air(70, ended(10, 60)))
    await show.put(("Stream End", "b", 90))
    await show.shows(off_air(ended(70, 90), ended(10, 60)))
    # And the last of it again, when all is over.
    await show.put(("Stream Start", "b", 70), START)
    await show.ends_with(1, off_air(ended(70, 90), ended(10, 60)))


async def test_a_lost_end_is_told_by_the_session(show: Show) -> None:
    await show.put(START, ("Session Ended", "m", 61))
    await show.shows(off_air(ended(10, 61)))
    await show.put(END)
    await show.shows(off_air(ended(10, 60)))


async def test_a_session_that_failed_is_never_live(show: Show) -> None:
    await show.put(("Session Created", "m", 3), ("Session Ended", "m", 4), ("Stream Failure", "b", 9))
    await show.ends_with(1, off_air())


async def test_an_encoder_at_the_control_door(show: Show, emulator: Emulator) -> None:
    for _ in range(2):
        stream = (await emulator.control("broadcasts", {"channelArn": show.arn}))["streamId"]
        await emulator.control(f"broadcasts/{stream}/start")

        async def watchable(*, wanted: bool) -> bool:
            seen = (await show.client.data(QUERY, {"name": show.user.username}))["channel"]
            return bool(seen["isLive"] is wanted)

        await eventually(lambda: watchable(wanted=True), "live")
        await emulator.control(f"broadcasts/{stream}/health", {"state": "STARVING"})
        while not show.last["isLive"] or show.last["currentStream"]["health"] != "STARVING":
            show.last = (await show.socket.next("1"))["channelChanged"]["channel"]
        await emulator.control(f"broadcasts/{stream}/end")
        await eventually(lambda: watchable(wanted=False), "offline")
        while show.last["isLive"]:
            show.last = (await show.socket.next("1"))["channelChanged"]["channel"]
    assert [one["state"] for one in show.last["streams"]["nodes"]] == ["ENDED", "ENDED"]
