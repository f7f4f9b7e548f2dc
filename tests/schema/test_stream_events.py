"""What Amazon tells about streams, for the owner alone: as a list of each stream, and as it comes."""

from datetime import datetime
from typing import Any

import pytest

from models import Channel, uuid7
from schema.base import global_id
from tests.accounts import delete_user
from tests.client import Client, Socket, open_socket
from tests.conftest import Emulator, Running
from tests.studio import NOON, Studio

STATE, HEALTH, LIMIT = "IVS Stream State Change", "IVS Stream Health Change", "IVS Limit Breach"
FIELDS = "fragment E on StreamEvent { type name code message limitValue limitExceededBy limitUnit occurredAt }"
EVENTS = (
    """
query($name: String!, $first: Int, $after: String) {
  channel(by: {name: $name}) {
    streams { nodes { events(first: $first, after: $after) { nodes { ...E } pageInfo { hasNextPage endCursor } } } }
  }
}
"""
    + FIELDS
)
WATCH = "subscription($id: ID!) { streamEvents(channelId: $id) { ...E } }" + FIELDS


@pytest.fixture
async def studio(running: Running, emulator: Emulator, client: Client) -> Studio:
    return await Studio.open(running.runtime, emulator, client)


async def listed(studio: Studio, token: str | None, **paging: Any) -> list[Any]:
    """The events of each stream of the channel, or null."""
    data = await studio.client.data(EVENTS, {"name": studio.user.username, **paging}, token=token)
    return [stream["events"] for stream in data["channel"]["streams"]["nodes"]]


async def stories(socket: Socket, count: int) -> list[tuple[str, int]]:
    """Type and second of the next events."""
    events = [(await socket.next("1"))["streamEvents"] for _ in range(count)]
    return [(event["type"], second(event["occurredAt"])) for event in events]


def second(moment: str) -> int:
    return int((datetime.fromisoformat(moment) - NOON).total_seconds())


def plain(kind: str, name: str, message: str, at: int, code: str | None = None) -> dict[str, Any]:
    none = {"limitValue": None, "limitExceededBy": None, "limitUnit": None}
    occurred_at = NOON.replace(second=at).isoformat()
    return {"type": kind, "name": name, "code": code, "message": message, **none, "occurredAt": occurred_at}


async def test_the_owner_reads_what_happened_in_order_of_time(studio: Studio) -> None:
    await studio.tell(STATE, 9, event_name="Session Ended", code="")
    await studio.tell(STATE, 2, event_name="Stream Start")
    await studio.tell(HEALTH, 4, event_name="Starvation Start")
    await studio.tell(LIMIT, 5, limit_name="Ingest Bitrate", limit_value=8500000, exceeded_by=1200000, limit_unit="bps")
    await studio.tell(LIMIT, 6, limit_name="Ingest Resolution", limit_value=None, exceeded_by=True)
    await studio.told_of_recording("Recording End Failure", 8, recording_status_reason="InternalServerException")
    await studio.tell(STATE, 3, event_name="Stream Takeover Failure", code="StreamTakeoverInvalidPriority")
    # Of another stream, and of no kind that is known.
    await studio.tell(STATE, 4, event_name="Stream Start", stream_id="st-2")
    await studio.tell(STATE, 4, event_name="Stream Pause")

    other, events = await listed(studio, studio.user.token)

    bitrate = "Ingest Bitrate exceeds Amazon's limit: at most 8,500,000 bps, 1,200,000 more were sent."
    resolution = "Ingest Resolution exceeds Amazon's limit."
    disconnected = "The encoder will probably be disconnected."
    assert [event["type"] for event in other["nodes"]] == ["STREAM_START"]
    assert events["nodes"] == [
        plain("STREAM_START", "Stream Start", "The stream can be watched.", 2),
        plain(
            "STREAM_TAKEOVER_FAILURE",
            "Stream Takeover Failure",
            "Another encoder was refused to take over, because its priority is not higher.",
            3,
            "StreamTakeoverInvalidPriority",
        ),
        plain(
            "STARVATION_START",
            "Starvation Start",
            "No data arrives from the encoder; viewers see a frozen picture.",
            4,
        ),
        {
            **plain("LIMIT_BREACH", "Ingest Bitrate", f"{bitrate} {disconnected}", 5),
            "limitValue": 8_500_000,
            "limitExceededBy": 1_200_000,
            "limitUnit": "bps",
        },
        plain("LIMIT_BREACH", "Ingest Resolution", f"{resolution} {disconnected}", 6),
        plain(
            "RECORDING_END_FAILURE",
            "Recording End Failure",
            "The recording failed and is not offered.",
            8,
            "InternalServerException",
        ),
        plain("SESSION_ENDED", "Session Ended", "The encoder has disconnected.", 9),
    ]
    names, after = [], None
    for _ in range(3):
        page = (await listed(studio, studio.user.token, first=3, after=after))[1]
        names += [event["name"] for event in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert names == [event["name"] for event in events["nodes"]]
    assert page["pageInfo"]["hasNextPage"] is False


async def test_a_failure_is_told_in_amazons_words(studio: Studio) -> None:
    await studio.tell(STATE, 1, event_name="Stream Start")
    reason = "Transcode capacity exceeded. Please try again."
    await studio.tell(STATE, 2, event_name="Stream Failure", reason=reason)
    [events] = await listed(studio, studio.user.token)
    assert events["nodes"][1] == plain(
        "STREAM_FAILURE", "Stream Failure", f"Amazon could not process the stream. It says: {reason}", 2
    )


async def test_nobody_else_reads_them(studio: Studio) -> None:
    await studio.tell(STATE, 1, event_name="Stream Start")
    stranger = await studio.client.register()
    assert await listed(studio, None) == [None]
    assert await listed(studio, stranger.token) == [None]
    assert [len(events["nodes"]) for events in await listed(studio, studio.user.token)] == [1]


async def test_the_owner_sees_the_present_stream_and_then_what_comes(studio: Studio, server_url: str) -> None:
    await studio.tell(STATE, 0, event_name="Stream Start", stream_id="st-0")
    for at in range(1, 26):
        await studio.tell(HEALTH, at, event_name="Starvation Start")
    await studio.tell(STATE, 1, event_name="Stream Start")
    async with open_socket(server_url, studio.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": studio.user.channel_id})
        assert await stories(socket, 20) == [("STARVATION_START", at) for at in range(6, 26)]
        # News are told in the order in which they come, however late they are; those of other streams too.
        await studio.tell(LIMIT, 30, limit_name="Ingest Bitrate")
        await studio.told_of_recording("Recording Start Failure", 2)
        await studio.tell(STATE, 5, event_name="Stream End", stream_id="st-0")
        assert await stories(socket, 3) == [("LIMIT_BREACH", 30), ("RECORDING_START_FAILURE", 2), ("STREAM_END", 5)]


async def test_a_redelivery_is_no_news(studio: Studio, server_url: str) -> None:
    async with open_socket(server_url, studio.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": studio.user.channel_id})
        await studio.tell(STATE, 1, event_name="Stream Start")
        assert await stories(socket, 1) == [("STREAM_START", 1)]
        studio.told -= 1
        await studio.tell(STATE, 1, event_name="Stream Start")
        await studio.tell(STATE, 2, event_name="Stream End")
        assert await stories(socket, 1) == [("STREAM_END", 2)]


@pytest.mark.parametrize(("who", "code"), [("guest", "UNAUTHENTICATED"), ("stranger", "FORBIDDEN")])
async def test_nobody_else_watches(studio: Studio, server_url: str, who: str, code: str) -> None:
    stranger = await studio.client.register()
    async with open_socket(server_url, stranger.token if who == "stranger" else None) as socket:
        for number, wanted in enumerate((studio.user.channel_id, global_id(Channel(id=uuid7())))):
            await socket.subscribe(str(number), WATCH, {"id": wanted})
            payload = (await socket.receive())["payload"]
            errors = payload["errors"] if isinstance(payload, dict) else payload
            assert [error["extensions"] for error in errors] == [{"code": code}]


async def test_only_channels_are_watched(studio: Studio, server_url: str) -> None:
    async with open_socket(server_url, studio.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": studio.user.id})
        payload = (await socket.receive())["payload"]
        errors = payload["errors"] if isinstance(payload, dict) else payload
        assert errors[0]["message"] == "`channelId` is the id of a User; the id of a Channel is needed."


async def test_the_watch_ends_with_the_account(studio: Studio, server_url: str) -> None:
    async with open_socket(server_url, studio.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": studio.user.channel_id})
        await studio.tell(STATE, 1, event_name="Stream Start")
        assert await stories(socket, 1) == [("STREAM_START", 1)]
        assert (await delete_user(studio.client, studio.user.token))["errors"] == []
        assert await socket.closed() == (4403, "Forbidden: the session is over")
