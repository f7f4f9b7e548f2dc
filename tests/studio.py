"""A streamer at the emulator's control door, and what the graph tells of the recordings."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ivs.client import Aws
from ivs.events import parse
from schema.base import parse_id
from server.runtime import Runtime
from tests.accounts import sql
from tests.client import Client, Registered
from tests.conftest import Emulator
from tests.waiting import eventually

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
STREAMS = """
query($name: String!) {
  channel(by: {name: $name}) {
    streams(first: 100) {
      nodes {
        id state startedAt endedAt recordingStartedAt recordingEndedAt recordingDurationMs recordingPath
        recording {
          id state playbackUrl thumbnailUrl durationMs startedAt endedAt channel { name } streams { id }
        }
      }
    }
    recordings { nodes { id } }
  }
}
"""
DELETE = """
mutation($id: ID!) {
  recordingDelete(input: {recordingId: $id}) {
    channel { id recordings { nodes { id } } }
    errors { __typename ... on UserError { message path } }
  }
}
"""


@dataclass
class Studio:
    """One user who streams."""

    runtime: Runtime
    emulator: Emulator
    client: Client
    user: Registered
    arn: str
    told: int = 0

    @classmethod
    async def open(cls, runtime: Runtime, emulator: Emulator, client: Client) -> "Studio":
        user = await client.register()
        ((arn,),) = await sql(runtime, "SELECT arn FROM channels WHERE name = :name", name=user.username)
        return cls(runtime, emulator, client, user, arn)

    async def tell(self, kind: str, at: int, door: str = "test", **detail: Any) -> None:
        """Let an event of this second of the day's noon arrive, as from Amazon's bus."""
        self.told += 1
        event = {
            "id": f"{self.user.username}-{self.told}",
            "detail-type": kind,
            "source": "aws.ivs",
            "time": (NOON + timedelta(seconds=at)).isoformat(),
            "resources": [self.arn],
            "detail": {"channel_name": "", "stream_id": "st-1", **detail},
        }
        await self.runtime.ingest.apply([parse(json.dumps(event))], door=door)

    async def told_of_recording(self, status: str, at: int, **detail: Any) -> str:
        """Let an event about a recording arrive; return the prefix of the recording."""
        prefix = f"ivs/v1/123456789012/{self.arn.rpartition('/')[2]}/2026/5/1/12/0/{detail.get('session', 'rec')}"
        about = {
            "recording_status": status,
            "recording_s3_bucket_name": "recordings",
            "recording_s3_key_prefix": prefix,
            "recording_session_id": detail.pop("session", "rec"),
            "recording_duration_ms": 60_000 if status == "Recording End" else 0,
        }
        await self.tell("IVS Recording State Change", at, **{**about, **detail})
        return prefix

    async def go_live(self) -> str:
        stream = str((await self.emulator.control("broadcasts", {"channelArn": self.arn}))["streamId"])
        await self.emulator.control(f"broadcasts/{stream}/start")
        return stream

    async def end(self, stream: str) -> None:
        await self.emulator.control(f"broadcasts/{stream}/end")

    async def stream(self) -> str:
        stream = await self.go_live()
        await self.end(stream)
        return stream

    async def streams(self) -> list[dict[str, Any]]:
        channel = (await self.client.data(STREAMS, {"name": self.user.username}))["channel"]
        nodes: list[dict[str, Any]] = channel["streams"]["nodes"]
        return nodes

    async def listed(self) -> list[str]:
        channel = (await self.client.data(STREAMS, {"name": self.user.username}))["channel"]
        return [one["id"] for one in channel["recordings"]["nodes"]]

    async def until(self, condition: Callable[[list[dict[str, Any]]], bool], what: str) -> list[dict[str, Any]]:
        """Wait until the channel's streams, newest first, are as wanted; return them."""
        found: list[dict[str, Any]] = []

        async def holds() -> bool:
            found[:] = await self.streams()
            return condition(found)

        await eventually(holds, what)
        return found

    async def recorded(self) -> dict[str, Any]:
        """Stream once; return the recording when its metadata was read."""
        before = len(await self.streams())
        await self.stream()
        streams = await self.until(lambda found: len(found) > before and bool(playable(found[0])), "playable")
        recording: dict[str, Any] = streams[0]["recording"]
        return recording

    async def row(self, column: str, recording_id: str) -> Any:
        """Return a column of the recording, or of its deletion, by its id in the graph."""
        for table in ("recordings", "recording_deletions"):
            statement = f"SELECT {column} FROM {table} WHERE id = :id"  # noqa: S608 - our names
            found = await sql(self.runtime, statement, id=parse_id(recording_id, argument="id")[1])
            if found:
                return found[0][0]
        return None


def playable(stream: dict[str, Any]) -> str | None:
    url: str | None = stream["recording"] and stream["recording"]["playbackUrl"]
    return url


async def objects(aws: Aws, prefix: str, bucket: str = "recordings") -> list[str]:
    """Return the keys below a prefix; all of them, however many."""
    keys: list[str] = []
    token: dict[str, Any] = {}
    while True:
        answer = await aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
        keys += [one["Key"] for one in answer.get("Contents", [])]
        if not answer.get("IsTruncated"):
            return keys
        token = {"ContinuationToken": answer["NextContinuationToken"]}


async def put(aws: Aws, *keys: str, content: bytes = b"x", bucket: str = "recordings") -> None:
    """Store small objects; the bucket is there after the first."""
    await aws.call("s3", "create_bucket", Bucket=bucket)
    turns = asyncio.Semaphore(10)

    async def one(key: str) -> None:
        async with turns:
            await aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=content)

    await asyncio.gather(*(one(key) for key in keys))
