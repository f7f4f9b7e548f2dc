"""What was said in rooms of IVS Chat, read from CloudWatch Logs: Amazon keeps it nowhere else.

Source: IVS Chat guide, "Logging"; CloudWatch Logs API reference, FilterLogEvents. Every function of `ChatLog` raises
what `Aws.call` raises.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ivs.client import Aws
from ivs.errors import Terminal

DISPLAY_NAME: Final = "displayName"
"""Attribute of a sender with the name to show, as our tokens carry it."""

LONGEST_CONTENT: Final = 500
_LONGEST_ID: Final = 64
# A record stands in the log where it was sent; what claims to be from elsewhere is not to be believed.
_FARTHEST: Final = timedelta(days=1)
_STREAMS: Final = "aws/IVSChatLogs/"
_REMEMBERED_SECONDS: Final = 600.0
_EMPTY_SECONDS: Final = 2.0


class RecordMalformed(ValueError):
    """A record that tells nothing that could be kept; the text says why, without what stands in it."""


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody said. `sender_id` is Amazon's id of the sender."""

    id: str
    content: str
    sent_at: datetime
    sender_id: str
    sender_name: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """A message that was deleted, perhaps before its own record, perhaps never logged."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a log. `mark` leads to the next one, also from a page on which nothing is; null after the last."""

    messages: Sequence[Message]
    deletions: Sequence[Deletion]
    ignored: int
    malformed: Sequence[str]
    mark: str | None


class ChatLog:
    """The chat logs of all rooms that use one logging configuration.

    Rooms log to log streams `aws/IVSChatLogs/VERSION/room_ID`. Of the versions, only those that are in use in the log
    group are known, by its first and its last log stream: names cannot be searched for what stands behind a version,
    and a list of all rooms' would be long. Each version's log stream is read as a prefix, since a room that nobody has
    written in has none, and Amazon refuses names that do not exist.
    """

    def __init__(self, aws: Aws, configuration_arn: str) -> None:
        self._aws = aws
        self._arn = configuration_arn
        self._place: tuple[str, Sequence[str]] | None = None
        self._forget_at = 0.0
        self._asking = asyncio.Lock()

    async def page(self, room_arn: str, start: datetime, end: datetime, mark: str | None, *, most: int) -> Page:
        """Return at most `most` records from `start` to `end`, both included to the millisecond, from `mark` on."""
        group, versions = await self.place()
        if not versions:
            return Page((), (), 0, (), None)
        version, _, token = (mark or versions[0]).partition(" ")
        further: dict[str, Any] = {"nextToken": token} if token else {}
        answer = await self._aws.call(
            "logs",
            "filter_log_events",
            logGroupName=group,
            logStreamNamePrefix=f"{_STREAMS}{version}/room_{room_arn.rpartition('/')[2]}",
            startTime=math.floor(start.timestamp() * 1000),
            endTime=math.ceil(end.timestamp() * 1000),
            limit=most,
            **further,
        )
        following = f"{version} {answer['nextToken']}" if answer.get("nextToken") else _after(version, versions)
        return _read(answer.get("events", []), following)

    async def place(self) -> tuple[str, Sequence[str]]:
        """Return the log group, and the versions of log streams in it; none while nobody has said anything.

        Raises:
            Terminal: NoLogGroup: the configuration logs to elsewhere than CloudWatch Logs.
        """
        async with self._asking:
            if self._place is None or time.monotonic() > self._forget_at:
                group = await self._group()
                found = [await self._version(group, descending=descending) for descending in (False, True)]
                versions = sorted({version for version in found if version is not None})
                self._place = group, versions
                self._forget_at = time.monotonic() + (_REMEMBERED_SECONDS if versions else _EMPTY_SECONDS)
            return self._place

    async def _group(self) -> str:
        answer = await self._aws.call("ivschat", "get_logging_configuration", identifier=self._arn)
        group = answer["destinationConfiguration"].get("cloudWatchLogs", {}).get("logGroupName")
        if group is None:
            why = "the logging configuration's destination is not CloudWatch Logs"
            raise Terminal("NoLogGroup", "ivschat.get_logging_configuration", why)
        return str(group)

    async def _version(self, group: str, *, descending: bool) -> str | None:
        answer = await self._aws.call(
            "logs",
            "describe_log_streams",
            logGroupName=group,
            logStreamNamePrefix=_STREAMS,
            orderBy="LogStreamName",
            descending=descending,
            limit=1,
        )
        names = [str(one["logStreamName"]) for one in answer.get("logStreams", [])]
        return names[0].removeprefix(_STREAMS).partition("/")[0] if names else None


def _after(version: str, versions: Sequence[str]) -> str | None:
    return next((one for one in versions if one > version), None)


def _read(events: Sequence[dict[str, Any]], mark: str | None) -> Page:
    messages: list[Message] = []
    deletions: list[Deletion] = []
    malformed: list[str] = []
    ignored = 0
    for event in events:
        try:
            record = parse(str(event.get("message", "")), int(event.get("timestamp", 0)))
        except RecordMalformed as error:
            malformed.append(f"{event.get('eventId')}: {error}")
            continue
        match record:
            case Message():
                messages.append(record)
            case Deletion():
                deletions.append(record)
            case None:
                ignored += 1
    return Page(messages, deletions, ignored, malformed, mark)


def parse(text: str, logged_ms: int) -> Message | Deletion | None:
    """Return what a record of a log says that lies at this Unix time in milliseconds; null if it is of no interest.

    Raises:
        RecordMalformed: It is a message or a deletion, and not readable as one.
    """
    try:
        record = msgspec.json.decode(text)
    except ValueError as error:
        raise RecordMalformed("not JSON") from error
    payload = _structure(record, "payload")
    match payload.get("Type", record.get("type")):
        case "MESSAGE":
            return _message(payload, logged_ms)
        case "EVENT" if payload.get("EventName") == "aws:DELETE_MESSAGE":
            attributes = _structure(payload, "Attributes")
            # The second is the deprecated one, and in some records the only one.
            name = "MessageId" if attributes.get("MessageId") else "MessageID"
            return Deletion(_text(attributes, name, _LONGEST_ID))
        case str():
            return None
    raise RecordMalformed("no type")


def _message(payload: dict[str, Any], logged_ms: int) -> Message:
    sender = _structure(payload, "Sender")
    sender_id = _text(sender, "UserId", most=None)
    attributes = sender.get("Attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    name = attributes.get(DISPLAY_NAME)
    name = name.replace("\0", "").strip() if isinstance(name, str) else ""
    return Message(
        _text(payload, "Id", _LONGEST_ID),
        _text(payload, "Content", LONGEST_CONTENT),
        _moment(payload.get("SendTime"), logged_ms),
        sender_id,
        name or sender_id,
    )


def _structure(parent: Any, name: str) -> dict[str, Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(found, dict):
        raise RecordMalformed(f"no {name}")
    return found


def _text(parent: dict[str, Any], name: str, most: int | None) -> str:
    found = parent.get(name)
    if not isinstance(found, str) or not found:
        raise RecordMalformed(f"no {name}")
    if "\0" in found or (most is not None and len(found) > most):
        raise RecordMalformed(f"{name} cannot be kept")
    return found


def _moment(value: Any, logged_ms: int) -> datetime:
    """Return a time of RFC 3339 with 0 to 9 digits of the second's fraction."""
    try:
        told = datetime.fromisoformat(value)
        moment = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
        near = abs(moment - datetime.fromtimestamp(logged_ms / 1000, UTC)) <= _FARTHEST
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise RecordMalformed("no SendTime") from error
    if not near:
        raise RecordMalformed("SendTime lies elsewhere than the record")
    return moment
