"""Amazon's side of a history: the emulator lives it, by a clock that stands, and its events are caught on their way."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from ivs.client import Aws
from tests.conftest import Emulator
from tests.truth.histories import Step

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Happened:
    """An event as Amazon sent it."""

    body: str

    def __getitem__(self, name: str) -> Any:
        return json.loads(self.body)[name]

    @property
    def name(self) -> str:
        detail = self["detail"]
        found = detail.get("event_name") or detail.get("recording_status") or detail.get("limit_name")
        return str(found)

    @property
    def stream(self) -> str | None:
        found: str | None = self["detail"].get("stream_id")
        return found

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self["time"])


@dataclass
class Place:
    """A user's channel or stage on Amazon, with the ids that were given there, oldest first."""

    arn: str
    user_id: str = ""
    given: list[str] = field(default_factory=list)
    present: dict[int, str] = field(default_factory=dict)


class Amazon:
    """The emulated account whose events end in a queue of ours, from which `lives` takes them."""

    def __init__(self, emulator: Emulator, aws: Aws, caught_url: str) -> None:
        self._emulator = emulator
        self._aws = aws
        self._caught_url = caught_url

    async def clock(self, at: datetime) -> list[Happened]:
        """Let the clock stand there; return what happened by itself on the way."""
        await self._emulator.control("clock", {"at": at.isoformat()})
        return await self._caught()

    async def lives(self, place: Place, step: Step, at: datetime) -> list[Happened]:
        """Do what the step says; return all events since the last one."""
        passed = await self.clock(at - _SECOND)
        if step.who.startswith("channel"):
            return passed + await self._broadcasts(place, step.does, at)
        await self.clock(at)
        await self._takes_part(place, step.does, step.participant)
        return passed + await self._caught()

    async def ends(self, place: Place) -> None:
        """Let nothing go on there, so that the next history finds Amazon's lists short."""
        for participant in place.present.values():
            await self._emulator.control(f"stages/participants/{participant}/leave", {"stageArn": place.arn})
        live = [one async for one in self._aws.pages("ivs", "list_streams", "streams")]
        for one in live:
            if one["channelArn"] == place.arn:
                await self._emulator.control(f"broadcasts/{one['streamId']}/end")
        await self._caught()

    async def _broadcasts(self, place: Place, does: str, at: datetime) -> list[Happened]:
        control = self._emulator.control
        if does in ("go live", "give up"):
            place.given.append((await control("broadcasts", {"channelArn": place.arn}))["streamId"])
        await self.clock_only(at)
        stream = place.given[-1]
        if does == "go live":
            await control(f"broadcasts/{stream}/start")
        elif does in ("end", "give up"):
            await control(f"broadcasts/{stream}/end")
        elif does in ("starve", "recover"):
            await control(f"broadcasts/{stream}/health", {"state": "STARVING" if does == "starve" else "HEALTHY"})
        elif does == "take over":
            return [_told(place.arn, at, "IVS Stream State Change", stream, event_name="Stream Takeover")]
        else:
            limit = {"limit_name": "Ingest Bitrate", "limit_value": 1.0, "exceeded_by": 1.0, "limit_unit": "Mbps"}
            return [_told(place.arn, at, "IVS Limit Breach", stream, **limit)]
        return await self._caught()

    async def goes_on(self) -> None:
        """Let the clock go again."""
        await self._emulator.control("clock")

    async def clock_only(self, at: datetime) -> None:
        await self._emulator.control("clock", {"at": at.isoformat()})

    async def _takes_part(self, place: Place, does: str, participant: int) -> None:
        control = self._emulator.control
        if does.startswith("join"):
            user = place.user_id if participant == 0 else ""
            body = {"stageArn": place.arn, "userId": user, "publish": does == "join"}
            made = (await control("stages/participants", body))["participantId"]
            place.given.append(made)
            place.present[participant] = made
            return
        who = place.present.pop(participant) if does == "leave" else place.present[participant]
        await control(f"stages/participants/{who}/{does}", {"stageArn": place.arn})

    async def _caught(self) -> list[Happened]:
        found: list[Happened] = []
        while messages := (
            await self._aws.call(
                "sqs", "receive_message", QueueUrl=self._caught_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
            )
        ).get("Messages", []):
            found += [Happened(one["Body"]) for one in messages]
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            await self._aws.call("sqs", "delete_message_batch", QueueUrl=self._caught_url, Entries=entries)
        return found


def _told(arn: str, at: datetime, kind: str, stream: str, **detail: Any) -> Happened:
    """An event of which the emulator knows nothing, and which changes no state."""
    body = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": kind,
        "source": "aws.ivs",
        "account": "123456789012",
        "time": at.isoformat(),
        "region": "us-east-1",
        "resources": [arn],
        "detail": {"channel_name": "", "stream_id": stream, **detail},
    }
    return Happened(json.dumps(body))
