"""Recordings in the graph: from a streamer's encoder to a playlist that can be fetched, and to its end."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ivs.client import Aws
from ivs.events import parse
from models import Category, Channel, Recording, Stream, uuid7
from schema.base import global_id
from server.runtime import Resolved
from tests import factories
from tests.accounts import sql
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.statements import captured
from tests.studio import DELETE, Studio, objects, playable
from tests.waiting import eventually

LIST = """
query($filter: RecordingFilter, $order: RecordingOrder, $first: Int, $after: String, $last: Int) {
  recordings(filter: $filter, orderBy: $order, first: $first, after: $after, last: $last) {
    nodes { id durationMs streams { id } } pageInfo { hasNextPage endCursor }
  }
}
"""
NODE = "query($id: ID!) { node(id: $id) { id ... on Recording { state playbackUrl } } }"


@pytest.fixture
async def studio(running: Running, emulator: Emulator, client: Client) -> AsyncIterator[Studio]:
    yield await Studio.open(running.runtime, emulator, client)
    await emulator.control("settings", {"recordingOutcome": "ended"})


@pytest.fixture
def aws(running: Running) -> Aws:
    return running.runtime.aws


async def fetched(url: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as http:  # noqa: S501 - loopback
        return await http.get(url)


async def test_a_stream_becomes_a_recording_that_can_be_played(studio: Studio, emulator: Emulator) -> None:
    live = await studio.go_live()
    [stream] = await studio.until(lambda found: bool(found and found[0]["recording"]), "being recorded")
    recording = stream["recording"]
    assert recording == {
        "id": recording["id"],
        "state": "RECORDING",
        "playbackUrl": None,
        "thumbnailUrl": None,
        "durationMs": None,
        "startedAt": stream["startedAt"],
        "endedAt": None,
        "channel": {"name": studio.user.username},
        "streams": [{"id": stream["id"]}],
    }
    shown = {name: stream[name] for name in stream if name.startswith("recording") and name != "recording"}
    assert shown == {
        "recordingStartedAt": stream["startedAt"],
        "recordingEndedAt": None,
        "recordingDurationMs": None,
        "recordingPath": None,
    }
    assert await studio.listed() == []

    await studio.end(live)
    [stream] = await studio.until(lambda found: bool(playable(found[0])), "playable")
    after = stream["recording"]
    assert (after["id"], after["state"]) == (recording["id"], "READY")
    path = stream["recordingPath"]
    assert path == await studio.row("prefix", after["id"])
    assert studio.arn.rpartition("/")[2] in path
    assert after["playbackUrl"] == f"{emulator.url}/recordings/{path}/media/hls/master.m3u8"
    assert after["thumbnailUrl"] == f"{emulator.url}/recordings/{path}/media/thumbnails/thumb0.jpg"
    playlist, picture = await fetched(after["playbackUrl"]), await fetched(after["thumbnailUrl"])
    assert (playlist.status_code, playlist.text.splitlines()[0]) == (200, "#EXTM3U")
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
    assert 0 < after["durationMs"] == stream["recordingDurationMs"] < 60_000
    assert (stream["recordingStartedAt"], stream["recordingEndedAt"]) == (after["startedAt"], after["endedAt"])
    assert datetime.fromisoformat(after["endedAt"]) >= datetime.fromisoformat(after["startedAt"])
    assert await studio.listed() == [after["id"]]
    assert (await studio.client.data(NODE, {"id": after["id"]}))["node"] == {
        name: after[name] for name in ("id", "state", "playbackUrl")
    }


async def test_streams_inside_the_reconnect_window_share_one_recording(studio: Studio, aws: Aws) -> None:
    made = await aws.call(
        "ivs",
        "create_recording_configuration",
        destinationConfiguration={"s3": {"bucketName": "recordings"}},
        recordingReconnectWindowSeconds=1,
        thumbnailConfiguration={"recordingMode": "INTERVAL", "storage": ["LATEST"]},
    )
    configuration = made["recordingConfiguration"]["arn"]
    await aws.call("ivs", "update_channel", arn=studio.arn, recordingConfigurationArn=configuration)
    for _ in range(2):
        await studio.stream()
    streams = await studio.until(lambda found: len(found) == 2 and all(map(playable, found)), "both playable")
    one, other = streams[1]["recording"], streams[0]["recording"]
    assert one == other
    assert one["streams"] == [{"id": stream["id"]} for stream in streams[::-1]]
    assert one["thumbnailUrl"].endswith("/media/latest_thumbnail/thumb.jpg")
    assert await studio.listed() == [one["id"]]
    listed = (await studio.client.data(LIST, {"filter": {"channelId": studio.user.channel_id}}))["recordings"]["nodes"]
    assert listed == [{"id": one["id"], "durationMs": one["durationMs"], "streams": one["streams"]}]


@pytest.mark.parametrize("outcome", ["empty", "start-failure", "end-failure"])
async def test_what_failed_or_has_no_length_is_not_offered(studio: Studio, emulator: Emulator, outcome: str) -> None:
    await emulator.control("settings", {"recordingOutcome": outcome})
    await studio.stream()
    [stream] = await studio.until(
        lambda found: bool(
            found
            and found[0]["recording"]
            and (found[0]["recording"]["state"], found[0]["state"]) == ("FAILED", "ENDED")
        ),
        "failed, and the stream over",
    )
    assert (stream["recording"]["playbackUrl"], stream["recordingPath"]) == (None, None)
    assert await studio.row("look_after", stream["recording"]["id"]) is None
    assert await studio.listed() == []
    everything = (await studio.client.data(LIST, {"filter": {"channelId": studio.user.channel_id}}))["recordings"]
    assert everything["nodes"] == []


async def test_a_stream_that_nobody_told_of_has_its_recording(studio: Studio) -> None:
    """Recording End comes alone: it is an upsert, of the streams too."""
    ids = ["st-b", "st-a"]
    for _ in range(2):
        await studio.told_of_recording("Recording End", 0, stream_id=ids[-1], recording_session_stream_ids=ids)
    [listed] = await studio.listed()
    document = "query($id: ID!) { node(id: $id) { ... on Recording { state streams { state startedAt endedAt } } } }"
    over = {"state": "ENDED", "startedAt": None}
    assert (await studio.client.data(document, {"id": listed}))["node"] == {
        "state": "READY",
        "streams": [
            {**over, "endedAt": "2026-05-01T12:00:00+00:00"},
            {**over, "endedAt": "2026-05-01T12:00:00+00:00"},
        ],
    }
    rows = await sql(
        studio.runtime,
        "SELECT ivs_stream_id FROM streams WHERE channel_id = (SELECT id FROM channels WHERE arn = :arn)"
        " ORDER BY first_seen_at, id",
        arn=studio.arn,
    )
    assert [row[0] for row in rows] == ids


async def shelf(running: Running) -> tuple[list[Channel], dict[str, Any]]:
    """Two channels with recordings of all sorts; return them and the ids of two categories."""
    async with running.runtime.services.sessions() as session, session.begin():
        categories = {slug: await factories.category(session, slug) for slug in ("music", "art")}
        channels = [await factories.user(session) for _ in range(2)]
        for number in range(10):
            at = factories.EPOCH + timedelta(hours=number // 2)
            state = {"over_at": at} if number != 9 else {}
            recording = Recording(
                id=uuid7(),
                channel_id=channels[number % 2].id,
                recording_session_id=str(number),
                bucket="b",
                prefix=f"p/{number}",
                duration_ms=(number * 7) % 5 * 1000 if number != 8 else 0,
                **state,
            )
            session.add(recording)
            await session.flush()
            # Several streams of one recording, in one category: listed once all the same.
            for part in range(number % 3 + 1):
                session.add(
                    Stream(
                        id=uuid7(),
                        channel_id=recording.channel_id,
                        category_id=categories["music" if number < 4 else "art"],
                        recording_id=recording.id,
                        ivs_stream_id=f"st-{number}-{part}",
                        title="t",
                        first_seen_at=at,
                    )
                )
        return channels, {slug: global_id(Category(id=key)) for slug, key in categories.items()}


async def numbers(running: Running, client: Client, **variables: Any) -> list[int]:
    nodes = (await client.data(LIST, variables))["recordings"]["nodes"]
    rows = await sql(running.runtime, "SELECT id, recording_session_id FROM recordings")
    known = {global_id(Recording(id=row[0])): int(row[1]) for row in rows}
    return [known[node["id"]] for node in nodes]


async def test_lists_hold_what_is_ready_once_each_in_order(clean: None, running: Running, client: Client) -> None:
    channels, categories = await shelf(running)
    # 0 and 5 have no length (0 * 7 % 5, 35 % 5), 8 neither; 9 runs.
    ready = [7, 6, 4, 3, 2, 1]
    assert await numbers(running, client) == ready
    assert await numbers(running, client, last=2) == ready[-2:]
    longest = sorted(ready, key=lambda number: (number * 7 % 5, number), reverse=True)
    assert await numbers(running, client, order="LONGEST") == longest
    first = global_id(channels[0])
    assert await numbers(running, client, filter={"channelId": first}) == [6, 4, 2]
    assert await numbers(running, client, filter={"categoryId": categories["music"]}) == [3, 2, 1]
    both = {"channelId": first, "categoryId": categories["art"]}
    assert await numbers(running, client, filter=both) == [6, 4]
    assert await numbers(running, client, filter={"channelId": None, "categoryId": None}) == ready
    seen, after = [], None
    for _ in range(3):
        page = (await client.data(LIST, {"first": 2, "after": after}))["recordings"]
        seen += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert page["pageInfo"]["hasNextPage"] is False
    assert len(set(seen)) == len(seen) == len(ready)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ({"channelId": ""}, "`filter.channelId` is not an id: pass the `id` of an object on unchanged."),
        ({"channelId": "x"}, "`filter.channelId` is not an id: pass the `id` of an object on unchanged."),
        ({"categoryId": "VXNlcjow"}, "`filter.categoryId` is not an id: pass the `id` of an object on unchanged."),
    ],
)
async def test_filters_take_ids_of_their_kind(client: Client, filter: dict[str, str], message: str) -> None:
    error = await client.error(LIST, {"filter": filter})
    assert (error["message"], error["extensions"]) == (message, {"code": "BAD_INPUT"})


async def test_a_cursor_of_one_order_is_none_of_the_other(clean: None, running: Running, client: Client) -> None:
    await shelf(running)
    after = (await client.data(LIST, {"first": 1}))["recordings"]["pageInfo"]["endCursor"]
    error = await client.error(LIST, {"after": after, "order": "LONGEST"})
    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_the_owner_deletes_a_recording_with_all_its_files(studio: Studio, aws: Aws) -> None:
    kept, gone = await studio.recorded(), await studio.recorded()
    other, prefix = await studio.row("prefix", kept["id"]), await studio.row("prefix", gone["id"])
    assert len(await objects(aws, f"{prefix}/")) == 7

    payload = (await studio.client.data(DELETE, {"id": gone["id"]}, token=studio.user.token))["recordingDelete"]

    left = {"id": studio.user.channel_id, "recordings": {"nodes": [{"id": kept["id"]}]}}
    assert payload == {"channel": left, "errors": []}
    assert (await studio.client.data(NODE, {"id": gone["id"]}))["node"] is None
    streams = await studio.streams()
    assert sorted(stream["recording"] is None for stream in streams) == [False, True]

    async def emptied() -> bool:
        return await objects(aws, f"{prefix}/") == []

    await eventually(emptied, "the files are gone")
    assert len(await objects(aws, f"{other}/")) == 7
    # Again, as after a lost answer; and a late event does not bring it back.
    again = (await studio.client.data(DELETE, {"id": gone["id"]}, token=studio.user.token))["recordingDelete"]
    assert again == {"channel": left, "errors": []}
    ((body,),) = await sql(
        studio.runtime,
        "SELECT body FROM received_events WHERE body #>> '{detail,recording_s3_key_prefix}' = :prefix"
        " AND body #>> '{detail,recording_status}' = 'Recording End'",
        prefix=prefix,
    )
    await studio.runtime.ingest.apply([parse(json.dumps({**body, "id": body["id"][::-1]}))], door="test")
    assert await studio.listed() == [kept["id"]]


async def test_a_recording_in_progress_is_not_deleted(studio: Studio, emulator: Emulator) -> None:
    live = await studio.go_live()
    [stream] = await studio.until(lambda found: bool(found and found[0]["recording"]), "being recorded")
    payload = (await studio.client.data(DELETE, {"id": stream["recording"]["id"]}, token=studio.user.token))[
        "recordingDelete"
    ]
    error = {
        "__typename": "RecordingInProgress",
        "message": "The recording is not over; delete it when it is.",
        "path": ["input", "recordingId"],
    }
    assert payload == {"channel": None, "errors": [error]}
    await studio.end(live)
    await studio.until(lambda found: bool(playable(found[0])), "playable")


@pytest.mark.parametrize(("who", "code"), [("guest", "UNAUTHENTICATED"), ("stranger", "FORBIDDEN")])
async def test_nobody_else_deletes(studio: Studio, emulator: Emulator, aws: Aws, who: str, code: str) -> None:
    recording, stranger = await studio.recorded(), await studio.client.register()
    prefix = await studio.row("prefix", recording["id"])
    await emulator.control("calls/clear")
    token = stranger.token if who == "stranger" else None
    for wanted in (recording["id"], global_id(Recording(id=uuid7()))):
        error = await studio.client.error(DELETE, {"id": wanted}, token=token)
        assert error["extensions"] == {"code": code}
    # Other tests' recordings may be looked for meanwhile.
    assert [call for call in await emulator.calls() if prefix in str(call["params"])] == []
    assert await studio.listed() == [recording["id"]]
    assert await sql(studio.runtime, "SELECT 1 FROM recording_deletions WHERE prefix = :prefix", prefix=prefix) == []
    assert len(await objects(aws, f"{prefix}/")) == 7


async def test_only_recordings_are_deleted(studio: Studio) -> None:
    error = await studio.client.error(DELETE, {"id": studio.user.channel_id}, token=studio.user.token)
    assert error["message"] == "`input.recordingId` is the id of a Channel; the id of a Recording is needed."
    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_without_a_cdn_nothing_has_an_address(
    start_server: StartServer, studio: Studio, resolved: Resolved
) -> None:
    recording = await studio.recorded()
    async with start_server(worker=False, resolved=replace(resolved, recordings_cdn_url=None)) as bare:
        client = Client(bare.url)
        shown = (await client.data(NODE, {"id": recording["id"]}))["node"]
        await client.aclose()
    assert shown == {"id": recording["id"], "state": "READY", "playbackUrl": None}
    async with start_server(worker=False, recordings_cdn_url="https://cdn.example/") as other:
        client = Client(other.url)
        shown = (await client.data(NODE, {"id": recording["id"]}))["node"]
        await client.aclose()
    key = recording["playbackUrl"].partition("/recordings/")[2]
    assert shown["playbackUrl"] == f"https://cdn.example/{key}"


OF_STREAMS = """
query($name: String!) {
  channel(by: {name: $name}) {
    streams {
      nodes {
        recordingStartedAt recordingEndedAt recordingDurationMs recordingPath
        recording { playbackUrl channel { name } streams { id } }
        events { nodes { type } }
      }
    }
  }
}
"""
OF_ALL = "query($first: Int!) { recordings(first: $first) { nodes { channel { name } streams { title } } } }"


async def test_reading_costs_a_fixed_number_of_statements(start_server: StartServer, studio: Studio) -> None:
    counts = []
    async with start_server(worker=False, bus_heartbeat_seconds=600) as quiet:
        reader = Client(quiet.url, studio.user.token)
        for number in range(3):
            kind, stream_id = "IVS Stream State Change", f"st-{number}"
            await studio.tell(kind, number, event_name="Stream Start", stream_id=stream_id)
            await studio.told_of_recording("Recording End", number, session=str(number), stream_id=stream_id)
            with captured(quiet.runtime) as of_streams:
                shown = (await reader.data(OF_STREAMS, {"name": studio.user.username}))["channel"]["streams"]
            with captured(quiet.runtime) as of_all:
                await reader.data(OF_ALL, {"first": number + 1})
            assert [stream["recordingDurationMs"] for stream in shown["nodes"]] == [60_000] * (number + 1)
            counts.append((len(of_streams), len(of_all)))
        await reader.aclose()
    # The session, the channel, its streams, their recordings once for all five fields, the recordings' streams, events.
    # The session, recordings, their channels and streams.
    assert counts == [(6, 4)] * 3
