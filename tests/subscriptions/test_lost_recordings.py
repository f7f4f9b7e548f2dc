"""No event tells of a recording, or of its end: it is found on S3, and what comes late after all is the same one."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from ivs.client import Aws
from ivs.events import parse
from models.place import found_at
from models.received import RECONCILIATION
from server.runtime import Resolved
from tests.accounts import metric, sql
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.killing import kill, serve
from tests.registration import fresh_database
from tests.studio import DELETE, Studio, objects, playable, put
from tests.subscriptions.queues import make_queue
from tests.waiting import eventually

TIMELINE = "query($id: ID!) { node(id: $id) { ... on Stream { events { nodes { name } } } } }"
ROUNDS = 'streamcat_reconcile_rounds_total{outcome="%s",subject="recordings"}'
SEARCHING: dict[str, Any] = {
    "reconcile_seconds": 0.1,
    "reconcile_grace_seconds": 0.0,
    "reconcile_recordings_seconds": 0.1,
    "recordings_lost_seconds": 0.1,
    "recordings_lost_looks": 20,
}


@pytest.fixture(scope="module")
async def foundation(resolved: Resolved, aws: Aws) -> AsyncIterator[Resolved]:
    """A database of its own, and a queue that no event ever reaches."""
    queue = await make_queue(aws)
    async with fresh_database(resolved.database_url) as url:
        yield replace(resolved, database_url=url, bus_url=url, events_queue_url=queue.url)


@pytest.fixture(scope="module")
async def deaf(start_server: StartServer, foundation: Resolved) -> AsyncIterator[Running]:
    async with start_server(resolved=foundation, **SEARCHING) as running:
        yield running


@dataclass
class Set:
    """A streamer of whom no event tells."""

    studio: Studio

    async def streams_once(self) -> str:
        """Broadcast; return the stream when it is known to be over."""
        stream = await self.goes_live()
        await self.ends(stream)
        return stream

    async def goes_live(self) -> str:
        before = len(await self.studio.streams())
        stream = await self.studio.go_live()
        await self.studio.until(lambda found: len(found) > before and found[0]["state"] == "LIVE", "live")
        return stream

    async def ends(self, stream: str) -> None:
        await self.studio.end(stream)
        await self.studio.until(lambda found: found[0]["state"] == "ENDED", "over")

    async def configure(self, **configuration: Any) -> None:
        """Let the channel record into the bucket of all tests, as configured."""
        aws = self.studio.runtime.aws
        bucket = {"s3": {"bucketName": "recordings"}}
        made = await aws.call("ivs", "create_recording_configuration", destinationConfiguration=bucket, **configuration)
        arn = made["recordingConfiguration"]["arn"]
        await aws.call("ivs", "update_channel", arn=self.studio.arn, recordingConfigurationArn=arn)

    async def prefix(self) -> str:
        """Return where the channel's only recording lies."""
        (account, channel) = self.studio.arn.split(":")[4], self.studio.arn.rpartition("/")[2]
        keys = await objects(self.studio.runtime.aws, f"ivs/v1/{account}/{channel}/")
        (prefix,) = {key.partition("/events/")[0] for key in keys if "/events/" in key}
        return prefix

    async def rows(self) -> list[tuple[str, str, bool]]:
        """Return id, state and whether there is a playlist of each recording."""
        found = await sql(
            self.studio.runtime,
            "SELECT recording_session_id, state, playlist_key IS NOT NULL FROM recordings r"
            " JOIN channels c ON c.id = r.channel_id WHERE c.arn = :arn ORDER BY r.created_at",
            arn=self.studio.arn,
        )
        return [(row[0], row[1], row[2]) for row in found]

    async def rounds(self, more: int = 3) -> None:
        """Wait for so many more rounds."""
        url = self.studio.client.url
        before = await metric(url, ROUNDS % "ok")

        async def passed() -> bool:
            return await metric(url, ROUNDS % "ok") >= before + more

        await eventually(passed, f"{more} more rounds")

    async def told(self, status: str, stream: str, **detail: Any) -> None:
        """Let Amazon's own event come, late as it is."""
        detail = {"recording_s3_key_prefix": await self.prefix(), **detail}
        about = {"recording_status": status, "recording_s3_bucket_name": "recordings", "stream_id": stream}
        await self.happens({**about, "recording_session_id": "a6RfV23ES97iyfoQ", **detail})

    async def happens(self, *details: dict[str, Any]) -> None:
        events = [
            {
                "id": f"{self.studio.user.username}-{self.studio.told}-{number}",
                "detail-type": "IVS Recording State Change",
                "source": "aws.ivs",
                "time": datetime.now(UTC).isoformat(),
                "resources": [self.studio.arn],
                "detail": detail,
            }
            for number, detail in enumerate(details)
        ]
        self.studio.told += 1
        made_up = details[0]["recording_session_id"].startswith("#")
        door = RECONCILIATION if made_up else "test"
        await self.studio.runtime.ingest.apply([parse(json.dumps(event)) for event in events], door=door)

    async def names(self, stream_id: str) -> list[str]:
        found = await self.studio.client.data(TIMELINE, {"id": stream_id}, token=self.studio.user.token)
        return sorted(event["name"] for event in found["node"]["events"]["nodes"])

    async def next_second(self) -> None:
        """Wait until what begins now cannot be taken for part of what has ended."""
        due = datetime.now(UTC) + timedelta(seconds=2)

        async def there() -> bool:
            return datetime.now(UTC) >= due

        await eventually(there, "two seconds later")


@pytest.fixture
async def scene(deaf: Running, emulator: Emulator) -> AsyncIterator[Set]:
    await emulator.lift_faults()
    client = Client(deaf.url)
    yield Set(await Studio.open(deaf.runtime, emulator, client))
    await emulator.control("settings", {"recordingOutcome": "ended"})
    await emulator.lift_faults()
    await client.aclose()


async def test_a_recording_of_which_no_event_came_is_offered(scene: Set) -> None:
    stream_id = await scene.streams_once()
    (stream,) = await scene.studio.until(lambda found: bool(playable(found[0])), "playable")
    recording, prefix = stream["recording"], await scene.prefix()
    assert await scene.studio.listed() == [recording["id"]]
    assert (recording["state"], recording["streams"]) == ("READY", [{"id": stream["id"]}])
    assert stream["recordingPath"] == prefix
    assert recording["durationMs"] > 0
    assert await scene.rows() == [(found_at(prefix), "READY", True)]
    assert await scene.names(stream["id"]) == ["Recording End", "Stream End", "Stream Start"]

    # What comes late after all, whichever is first, is the same recording under Amazon's own id.
    for status in ("Recording End", "Recording Start"):
        await scene.told(status, stream_id, recording_duration_ms=1)
        assert await scene.rows() == [("a6RfV23ES97iyfoQ", "READY", True)]
    assert await scene.studio.listed() == [recording["id"]]
    assert await scene.names(stream["id"]) == ["Recording End", "Recording Start", "Stream End", "Stream Start"]
    await scene.rounds()
    assert await scene.rows() == [("a6RfV23ES97iyfoQ", "READY", True)]


@pytest.mark.parametrize("together", [True, False])
async def test_one_place_is_one_recording_in_any_order(scene: Set, *, together: bool) -> None:
    for number, order in enumerate(permutations(["real", "found", "found again"])):
        prefix = f"ivs/v1/123456789012/x/2026/5/1/12/0/{number}"
        details = [
            {
                "recording_status": "Recording Start" if kind == "real" else "Recording End",
                "recording_s3_bucket_name": "recordings",
                "recording_s3_key_prefix": prefix,
                "recording_duration_ms": 1000,
                "stream_id": f"st-{number}-{kind == 'real'}",
                "recording_session_id": f"session{number}" if kind == "real" else found_at(prefix),
            }
            for kind in order
        ]
        for batch in [details] if together else [[one] for one in details]:
            await scene.happens(*batch)
    assert [row[0] for row in await scene.rows()] == [f"session{number}" for number in range(6)]
    linked = await sql(
        scene.studio.runtime,
        "SELECT recording_session_id, count(*) FROM recordings r JOIN streams s ON s.recording_id = r.id"
        " JOIN channels c ON c.id = r.channel_id WHERE c.arn = :arn GROUP BY 1 ORDER BY 1",
        arn=scene.studio.arn,
    )
    assert [tuple(row) for row in linked] == [(f"session{number}", 2) for number in range(6)]


async def test_streams_that_share_a_recording_are_all_linked(scene: Set) -> None:
    await scene.configure(recordingReconnectWindowSeconds=2)
    for _ in range(2):
        await scene.streams_once()
    streams = await scene.studio.until(lambda found: all(map(playable, found)), "both playable")
    one, other = (stream["recording"] for stream in streams)
    assert one == other
    assert one["streams"] == [{"id": stream["id"]} for stream in streams[::-1]]
    assert len(await scene.rows()) == 1


async def test_every_stream_finds_its_own(scene: Set) -> None:
    await scene.streams_once()
    await scene.next_second()
    await scene.streams_once()
    streams = await scene.studio.until(lambda found: all(map(playable, found)), "both playable")
    recordings = [stream["recording"] for stream in streams]
    assert [one["streams"] for one in recordings] == [[{"id": stream["id"]}] for stream in streams]
    assert await scene.studio.listed() == [one["id"] for one in recordings]


async def test_names_of_recordings_are_no_order(scene: Set) -> None:
    """Of the same minute, one that sorts first and was over before."""
    stream = await scene.goes_live()
    prefix = await scene.prefix()
    before = datetime.now(UTC) - timedelta(minutes=2)
    document = {"recording_started_at": before.isoformat(), "recording_ended_at": before.isoformat()}
    other = f"{prefix.rpartition('/')[0]}/0/events/recording-ended.json"
    await put(scene.studio.runtime.aws, other, content=json.dumps(document).encode())
    await scene.ends(stream)
    (shown,) = await scene.studio.until(lambda found: bool(playable(found[0])), "playable")
    assert shown["recordingPath"] == prefix


async def test_an_end_that_nobody_told_is_found_soon(scene: Set) -> None:
    """Not after an hour, as while a stream goes on."""
    stream = await scene.goes_live()
    await scene.told("Recording Start", stream)
    (shown,) = await scene.studio.streams()
    assert shown["recording"]["state"] == "RECORDING"
    await scene.rounds()
    waits = "SELECT look_after > now() + interval '59 min' FROM recordings WHERE recording_session_id = :id"
    assert [row[0] for row in await sql(scene.studio.runtime, waits, id="a6RfV23ES97iyfoQ")][-1] is True
    await scene.ends(stream)
    (shown,) = await scene.studio.until(lambda found: bool(playable(found[0])), "playable")
    assert shown["recording"]["state"] == "READY"
    assert await scene.rows() == [("a6RfV23ES97iyfoQ", "READY", True)]


async def test_what_has_begun_is_linked_and_looked_at_again(scene: Set) -> None:
    await scene.configure(recordingReconnectWindowSeconds=300)
    await scene.streams_once()
    await scene.studio.until(lambda found: bool(found[0]["recording"]), "linked")
    prefix = await scene.prefix()
    await scene.rounds()
    assert await scene.rows() == [(found_at(prefix), "RECORDING", False)]
    document = {
        "recording_started_at": datetime.now(UTC).isoformat(),
        "recording_ended_at": datetime.now(UTC).isoformat(),
        "media": {"hls": {"path": "media/hls", "playlist": "master.m3u8", "duration_ms": 5000}},
    }
    key = f"{prefix}/events/recording-ended.json"
    await put(scene.studio.runtime.aws, key, content=json.dumps(document).encode())
    (stream,) = await scene.studio.until(lambda found: bool(playable(found[0])), "playable")
    assert stream["recordingDurationMs"] == 5000
    assert await scene.rows() == [(found_at(prefix), "READY", True)]


async def test_what_failed_is_not_offered(scene: Set, emulator: Emulator) -> None:
    await emulator.control("settings", {"recordingOutcome": "end-failure"})
    await scene.streams_once()
    (stream,) = await scene.studio.until(lambda found: bool(found[0]["recording"]), "linked")
    assert stream["recording"]["state"] == "FAILED"
    assert await scene.studio.listed() == []


async def test_where_nothing_is_recorded_nothing_is_listed(scene: Set, emulator: Emulator) -> None:
    await scene.studio.runtime.aws.call("ivs", "update_channel", arn=scene.studio.arn, recordingConfigurationArn="")
    stream = await scene.streams_once()

    async def given_up() -> bool:
        looks = "SELECT recording_looks FROM streams WHERE ivs_stream_id = :id"
        return (await sql(scene.studio.runtime, looks, id=stream))[0][0] == SEARCHING["recordings_lost_looks"]

    await eventually(given_up, "the search is given up")
    await scene.rounds()
    channel = scene.studio.arn.rpartition("/")[2]
    assert [call for call in await emulator.calls("ListObjectsV2") if channel in str(call["params"])] == []
    asked = [call for call in await emulator.calls("GetStreamSession") if stream in str(call["params"])]
    # Once for its end, once for its recording.
    assert len(asked) == 2


async def test_looks_are_few(start_server: StartServer, foundation: Resolved, emulator: Emulator) -> None:
    async with fresh_database(foundation.database_url) as url:
        here = replace(foundation, database_url=url, bus_url=url)
        few = {**SEARCHING, "recordings_lost_looks": 2, "recordings_lost_seconds": 0.01}
        async with start_server(resolved=here, **few) as running:
            client = Client(running.url)
            scene = Set(await Studio.open(running.runtime, emulator, client))
            await emulator.control("settings", {"recordingOutcome": "start-failure"})
            stream = await scene.streams_once()
            await scene.rounds(6)
            looks = "SELECT recording_looks FROM streams WHERE ivs_stream_id = :id"
            assert [row[0] for row in await sql(running.runtime, looks, id=stream)] == [2]
            channel = scene.studio.arn.rpartition("/")[2]
            listed = [call for call in await emulator.calls("ListObjectsV2") if channel in str(call["params"])]
            assert len(listed) == 2
            assert await scene.rows() == []
            await emulator.control("settings", {"recordingOutcome": "ended"})
            await client.aclose()


async def test_what_its_owner_deleted_does_not_come_back(scene: Set) -> None:
    stream = await scene.streams_once()
    (shown,) = await scene.studio.until(lambda found: bool(playable(found[0])), "playable")
    prefix = await scene.prefix()
    payload = (await scene.studio.client.data(DELETE, {"id": shown["recording"]["id"]}, token=scene.studio.user.token))[
        "recordingDelete"
    ]
    assert payload["errors"] == []
    await scene.told("Recording End", stream, recording_s3_key_prefix=prefix, recording_duration_ms=1)
    await scene.rounds()
    assert await scene.rows() == []
    assert await scene.studio.listed() == []


async def test_while_s3_does_not_answer_nothing_is_given_up(scene: Set, emulator: Emulator) -> None:
    await emulator.fault("ListObjectsV2", "error", service="s3", code="AccessDenied", times=None)
    refused = ROUNDS % "AccessDenied"
    before = await metric(scene.studio.client.url, refused)
    stream = await scene.streams_once()

    async def asked() -> bool:
        return await metric(scene.studio.client.url, refused) >= before + 3

    await eventually(asked, "S3 has refused")
    looks = "SELECT recording_looks <= 1 FROM streams WHERE ivs_stream_id = :id"
    assert [row[0] for row in await sql(scene.studio.runtime, looks, id=stream)] == [True]
    assert await scene.rows() == []
    await emulator.lift_faults()
    await scene.studio.until(lambda found: bool(playable(found[0])), "playable")


async def test_who_is_killed_leaves_it_to_the_next(
    tmp_path: Path, foundation: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with fresh_database(foundation.database_url) as url:
        here = replace(foundation, database_url=url, bus_url=url)
        await emulator.lift_faults()
        async with start_server(resolved=here, **{**SEARCHING, "reconcile_recordings_seconds": 0.0}) as running:
            client = Client(running.url)
            scene = Set(await Studio.open(running.runtime, emulator, client))
            await scene.streams_once()
            await client.aclose()
        await emulator.control("calls/clear")
        await emulator.fault("ListObjectsV2", "timeout", service="s3", seconds=60, times=None)
        async with serve(tmp_path, here, **SEARCHING) as (_, program):

            async def listing() -> bool:
                return await emulator.calls("ListObjectsV2") != []

            await eventually(listing, "S3 is asked", 60)
            await kill(program)
        await emulator.lift_faults()
        async with start_server(resolved=here, **SEARCHING) as running:
            client = Client(running.url)
            scene.studio.runtime, scene.studio.client = running.runtime, client
            await scene.studio.until(lambda found: bool(playable(found[0])), "playable")
            assert len(await scene.rows()) == 1
            await client.aclose()
