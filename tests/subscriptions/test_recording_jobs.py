"""The jobs about recordings on S3: whatever S3 answers, and whoever dies, the end is the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from server.runtime import Resolved
from subscriptions.recordings import RecordingJobs, RecordingsConfig
from tests.accounts import delete_user, sql
from tests.client import Client
from tests.conftest import Emulator, StartServer
from tests.studio import DELETE, NOON, Studio, objects, put

CHANNEL = "query($name: String!) { channel(by: {name: $name}) { isLive } }"
METADATA: dict[str, Any] = {
    "recording_started_at": "2026-05-01T11:59:58.123Z",
    "recording_ended_at": "2026-05-01T12:00:59Z",
    "media": {
        "hls": {"path": "media/hls", "playlist": "other.m3u8", "duration_ms": 59_000},
        "thumbnails": {"path": "media/pictures"},
    },
}
NOTHING = {"playbackUrl": None, "thumbnailUrl": None}


@dataclass
class Workshop:
    """A streamer, and a worker who works when told to."""

    studio: Studio
    jobs: RecordingJobs

    async def sql(self, statement: str, **parameters: Any) -> list[Any]:
        return await sql(self.studio.runtime, statement, **parameters)

    async def work(self) -> int:
        """Let time pass, and the worker do what is due."""
        await self.sql("UPDATE recordings SET look_after = now() WHERE look_after IS NOT NULL")
        await self.sql("UPDATE recording_deletions SET delete_after = now() WHERE delete_after IS NOT NULL")
        return await self.jobs.run_due()

    async def recording(self) -> dict[str, Any]:
        [stream] = [stream for stream in await self.studio.streams() if stream["recording"]]
        recording: dict[str, Any] = stream["recording"]
        return recording

    async def live(self) -> None:
        await self.studio.tell("IVS Stream State Change", 0, event_name="Stream Start")

    async def started(self) -> str:
        """A stream that is live and being recorded."""
        await self.live()
        return await self.studio.told_of_recording("Recording Start", 0)

    async def ended(self) -> str:
        await self.started()
        await self.studio.tell("IVS Stream State Change", 60, event_name="Stream End")
        return await self.studio.told_of_recording("Recording End", 65)

    async def put(self, key: str, content: Any = b"x") -> None:
        await put(
            self.studio.runtime.aws,
            key,
            content=content if isinstance(content, bytes) else json.dumps(content).encode(),
        )

    async def delete(self) -> None:
        recording = await self.recording()
        payload = (await self.studio.client.data(DELETE, {"id": recording["id"]}, token=self.studio.user.token))[
            "recordingDelete"
        ]
        assert payload["errors"] == []

    async def left(self, prefix: str) -> list[str]:
        return await objects(self.studio.runtime.aws, f"{prefix}/")


@pytest.fixture
async def shop(start_server: StartServer, here: Resolved, emulator: Emulator) -> AsyncIterator[Workshop]:
    async with start_server(worker=False, resolved=here) as server:
        client = Client(server.url)
        studio = await Studio.open(server.runtime, emulator, client)
        yield Workshop(studio, jobs_of(studio))
        await client.aclose()


def jobs_of(studio: Studio, **config: Any) -> RecordingJobs:
    return RecordingJobs(studio.runtime.services.publisher, studio.runtime.aws, RecordingsConfig(**config))


async def test_metadata_may_come_late(shop: Workshop, emulator: Emulator) -> None:
    prefix = await shop.ended()
    for tries in (1, 2, 3):
        assert await shop.work() == 1
        recording = await shop.recording()
        assert {"state": "READY", **NOTHING}.items() <= recording.items()
        assert await shop.sql("SELECT look_attempts, look_error FROM recordings") == [(tries, "NoMetadata")]
    await shop.put(f"{prefix}/events/recording-ended.json", METADATA)
    await shop.put(f"{prefix}/media/pictures/one.jpg")
    assert await shop.work() == 1
    after = await shop.recording()
    base = f"{emulator.url}/recordings/{prefix}/media"
    assert (after["playbackUrl"], after["thumbnailUrl"]) == (f"{base}/hls/other.m3u8", f"{base}/pictures/one.jpg")
    # The least start and the greatest end and length of those that were told.
    assert (after["startedAt"], after["durationMs"]) == ("2026-05-01T11:59:58.123000+00:00", 60_000)
    assert after["endedAt"] == NOON.replace(minute=1, second=5).isoformat()
    assert await shop.work() == 0


async def test_pauses_grow_and_looks_end(shop: Workshop) -> None:
    await shop.ended()
    shop.jobs = jobs_of(shop.studio, first_pause=100.0, longest_pause=150.0, max_looks=3)
    pauses = []
    for _ in range(3):
        assert await shop.work() == 1
        ((pause,),) = await shop.sql("SELECT extract(epoch FROM look_after - now()) FROM recordings")
        pauses.append(pause and round(pause / 10) * 10)
    assert pauses == [100, 150, None]
    assert await shop.work() == 0
    assert NOTHING.items() <= (await shop.recording()).items()


@pytest.mark.parametrize(
    "metadata",
    [
        b"no JSON",
        b"\xff",
        {},
        {"media": {"hls": {"path": "media/hls"}}},
        {"media": {"hls": {"path": "..", "playlist": "master.m3u8"}}},
        {"media": {"hls": {"path": "", "playlist": "/"}}},
        {"media": {"hls": {"path": "media\n", "playlist": "master.m3u8"}}},
        {"media": {"hls": {"path": "x" * 1024, "playlist": "master.m3u8"}}},
    ],
)
async def test_no_address_is_made_of_metadata_that_is_wrong(shop: Workshop, metadata: Any) -> None:
    prefix = await shop.ended()
    await shop.put(f"{prefix}/events/recording-ended.json", metadata)
    await shop.work()
    assert NOTHING.items() <= (await shop.recording()).items()
    assert await shop.sql("SELECT look_error FROM recordings") == [("MetadataUnexpected",)]


async def test_a_recording_may_have_no_picture(shop: Workshop) -> None:
    prefix = await shop.ended()
    await shop.put(f"{prefix}/events/recording-ended.json", METADATA)
    await shop.put(f"{prefix}/media/pictures/notes.txt")
    await shop.work()
    recording = await shop.recording()
    assert (bool(recording["playbackUrl"]), recording["thumbnailUrl"]) == (True, None)


async def test_addresses_are_quoted(shop: Workshop, emulator: Emulator) -> None:
    prefix = await shop.ended()
    media = {"hls": {"path": "media hls", "playlist": "a?b#c.m3u8", "duration_ms": 1}}
    await shop.put(f"{prefix}/events/recording-ended.json", {"media": media})
    await shop.work()
    url = f"{emulator.url}/recordings/{prefix}/media%20hls/a%3Fb%23c.m3u8"
    assert (await shop.recording())["playbackUrl"] == url


async def test_an_end_that_nobody_told_is_found(shop: Workshop) -> None:
    """Neither Stream End nor Recording End arrives: the metadata ends the recording and its stream."""
    prefix = await shop.started()
    assert await shop.work() == 1
    assert (await shop.recording())["state"] == "RECORDING"
    ((waits,),) = await shop.sql("SELECT look_after - now() BETWEEN '59 min' AND '60 min' FROM recordings")
    assert waits
    await shop.put(f"{prefix}/events/recording-ended.json", METADATA)
    name = {"name": shop.studio.user.username}
    assert await shop.studio.client.data(CHANNEL, name) == {"channel": {"isLive": True}}
    assert await shop.work() == 1
    [stream] = await shop.studio.streams()
    ended_at = "2026-05-01T12:00:59+00:00"
    assert (stream["state"], stream["endedAt"], stream["recordingEndedAt"]) == ("ENDED", ended_at, ended_at)
    assert (stream["recording"]["state"], stream["recordingDurationMs"]) == ("READY", 59_000)
    assert await shop.studio.client.data(CHANNEL, name) == {"channel": {"isLive": False}}
    # The event that comes after all changes no more than its own time.
    await shop.studio.told_of_recording("Recording End", 65)
    assert [listed["state"] for listed in [await shop.recording()]] == ["READY"]
    assert len(await shop.studio.listed()) == 1


async def test_a_failure_that_nobody_told_is_found(shop: Workshop) -> None:
    prefix = await shop.started()
    await shop.put(f"{prefix}/events/recording-failed.json", {})
    assert await shop.work() == 1
    assert (await shop.recording())["state"] == "FAILED"
    assert await shop.studio.listed() == []
    assert await shop.work() == 0


async def test_nobody_waits_for_ever_for_an_end(shop: Workshop) -> None:
    await shop.started()
    await shop.sql("UPDATE recordings SET created_at = now() - interval '4 days'")
    assert [await shop.work(), await shop.work()] == [1, 0]
    # It may still be told.
    await shop.studio.told_of_recording("Recording End", 65)
    assert (await shop.recording())["state"] == "READY"
    assert await shop.work() == 1


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["throttle", "error", "drop-after"])
async def test_a_deletion_goes_on_where_it_broke_off(shop: Workshop, emulator: Emulator, kind: str) -> None:
    prefix = await shop.ended()
    await put(shop.studio.runtime.aws, *(f"{prefix}/media/{number}.ts" for number in range(1003)))
    # An id that begins alike is another recording's.
    await shop.put(f"{prefix}2/media/0.ts")
    await shop.delete()
    await emulator.control("calls/clear")
    await emulator.fault("DeleteObjects", kind, service="s3", skip=1, times=None)
    assert await shop.work() == 1
    assert len(await shop.left(prefix)) == (0 if kind == "drop-after" else 3)
    assert (await shop.sql("SELECT delete_after IS NULL, delete_error IS NULL FROM recording_deletions")) == [
        (False, False)
    ]
    await emulator.lift_faults()
    assert [await shop.work(), await shop.work()] == [1, 0]
    assert await shop.left(prefix) == []
    assert await shop.left(f"{prefix}2") == [f"{prefix}2/media/0.ts"]


async def test_a_deletion_is_never_given_up(shop: Workshop, emulator: Emulator) -> None:
    prefix = await shop.ended()
    await shop.put(f"{prefix}/media/0.ts")
    await shop.delete()
    await emulator.fault("ListObjectsV2", "error", service="s3", code="AccessDenied", times=None)
    shop.jobs = jobs_of(shop.studio, max_looks=2)
    for tries in range(1, 6):
        assert await shop.work() == 1
        found = await shop.sql("SELECT delete_attempts, delete_error FROM recording_deletions")
        assert found == [(tries, "AccessDenied")]
    await emulator.lift_faults()
    await shop.work()
    assert await shop.left(prefix) == []


async def test_who_dies_leaves_it_to_the_next(shop: Workshop, emulator: Emulator) -> None:
    prefix = await shop.ended()
    await shop.put(f"{prefix}/media/0.ts")
    await shop.delete()
    await emulator.fault("DeleteObjects", "timeout", service="s3", seconds=30, times=None)
    shop.jobs = jobs_of(shop.studio, lease=0.5)
    # Its lease is over before S3 has answered.
    assert await shop.work() == 1
    await emulator.lift_faults()
    assert [await shop.work(), await shop.work()] == [1, 0]
    assert await shop.left(prefix) == []


async def test_nothing_but_a_recording_of_the_channel_is_deleted(shop: Workshop, emulator: Emulator) -> None:
    foreign = "ivs/v1/123456789012/SomebodyElse/2026/5/1/12/0/rec"
    await shop.put(f"{foreign}/media/0.ts")
    await shop.live()
    await shop.studio.told_of_recording("Recording End", 65, recording_s3_key_prefix=foreign)
    await shop.delete()
    await emulator.control("calls/clear")
    assert await shop.work() == 1
    assert await shop.left(foreign) == [f"{foreign}/media/0.ts"]
    assert await emulator.calls("DeleteObjects") == []
    assert await shop.sql("SELECT delete_error FROM recording_deletions") == [("ForeignPrefix",)]


async def test_what_has_no_place_needs_no_job(shop: Workshop) -> None:
    await shop.live()
    await shop.studio.told_of_recording("Recording Start Failure", 5, recording_s3_key_prefix="")
    await shop.delete()
    assert await shop.work() == 0


async def test_a_bucket_that_is_gone_holds_nothing(shop: Workshop) -> None:
    await shop.live()
    await shop.studio.told_of_recording("Recording End", 65, recording_s3_bucket_name="never-was")
    await shop.delete()
    assert [await shop.work(), await shop.work()] == [1, 0]


async def test_two_workers_share_what_is_due(shop: Workshop, emulator: Emulator) -> None:
    for number in range(10):
        prefix = await shop.studio.told_of_recording("Recording End", 65, session=str(number), stream_id=f"st-{number}")
        await shop.put(f"{prefix}/events/recording-ended.json", METADATA)
    await emulator.control("calls/clear")
    assert sum(await asyncio.gather(jobs_of(shop.studio).run_due(), shop.jobs.run_due())) == 10
    assert len(await emulator.calls("GetObject")) == 10
    assert await shop.sql("SELECT count(*) FROM recordings WHERE playlist_key IS NOT NULL") == [(10,)]


async def test_recordings_go_with_their_owner(shop: Workshop) -> None:
    """What is not over is written on for a while; what was deleted before goes too."""
    over = await shop.ended()
    running = await shop.studio.told_of_recording("Recording Start", 70, session="more", stream_id="st-2")
    for prefix in (over, running):
        await shop.put(f"{prefix}/media/0.ts")
    assert (await delete_user(shop.studio.client, shop.studio.user.token))["errors"] == []
    assert await shop.sql("SELECT 1 FROM recordings") == []
    waits = "SELECT channel_id, prefix, delete_after > now() + interval '59 min' FROM recording_deletions ORDER BY 3"
    assert await shop.sql(waits) == [(None, over, False), (None, running, True)]
    assert await shop.jobs.run_due() == 1
    assert (await shop.left(over), await shop.left(running)) == ([], [f"{running}/media/0.ts"])
    assert await shop.work() == 1
    assert await shop.left(running) == []
