"""A channel whose chat is logged, what is said there, and the archive that reads the log when it is told to."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ivs import streams
from ivs.chat_logs import ChatLog
from ivs.client import Aws
from ivs.delivery import ensure_logging_configuration
from ivs.emulator.identity import new_id, stream_id
from ivs.errors import AwsError
from ivs.events import StreamEventName
from server.runtime import Resolved, Runtime
from subscriptions.chat_archive import Archivist, ChatArchiveConfig
from tests.accounts import sql
from tests.chatting import TOKEN, Room, open_room, send
from tests.client import Client, Registered
from tests.conftest import Emulator

LOG_GROUP = "tests-chat"
MESSAGES = """
query Messages($id: ID!) { node(id: $id) { ... on ChatRoom {
  messages(first: 100) { nodes {
    id ivsMessageId content senderName isGuest offsetMs sentAt sentBy { username }
    stream { id chatMessages(first: 100) { nodes { ivsMessageId } } }
  } }
} } }
"""
CONFIG = ChatArchiveConfig(
    interval=10, settle=300, overlap=60, give_up_days=7, page_records=1000, pages=10, reads_per_second=1000, lease=60
)


async def with_logs(resolved: Resolved, aws: Aws) -> Resolved:
    """Return foundations on which new rooms have a log."""
    return replace(resolved, chat_logging_configuration_arn=await ensure_logging_configuration(aws, LOG_GROUP))


@dataclass
class Hall:
    """A room with a log, its owner's streams, and a worker who works when told to."""

    runtime: Runtime
    emulator: Emulator
    client: Client
    room: Room
    channel_arn: str
    archivist: Archivist
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @classmethod
    async def open(cls, runtime: Runtime, emulator: Emulator, client: Client) -> "Hall":
        room = await open_room(client, runtime)
        ((arn,),) = await sql(runtime, "SELECT arn FROM channels WHERE name = :name", name=room.owner.username)
        return cls(runtime, emulator, client, room, arn, archivist(runtime))

    async def sql(self, statement: str, **parameters: Any) -> list[Any]:
        return await sql(self.runtime, statement, **parameters)

    def at(self, second: float) -> datetime:
        """So many seconds after the test's beginning."""
        return self.began + timedelta(seconds=second)

    async def start(self, second: int = -60, stream: str | None = None) -> str:
        """A stream began then."""
        stream = stream or stream_id()
        await self._tell(stream, StreamEventName.STREAM_START, second)
        return stream

    async def end(self, stream: str, second: int = 0) -> None:
        await self._tell(stream, StreamEventName.STREAM_END, second)

    async def _tell(self, stream: str, name: StreamEventName, second: int) -> None:
        event = streams.event(self.channel_arn, stream, name, self.at(second))
        await self.runtime.ingest.apply([event], door="test")

    async def say(self, content: str, who: Registered | None = None, name: str | None = None) -> str:
        """Somebody enters the room and says something; return the message's id."""
        guest = {} if name is None else {"guestName": name}
        given = await send(self.client, TOKEN, who and who.token, chatRoomId=self.room.id, **guest)
        assert given["errors"] == [], given
        said = await self.emulator.control("chat/messages", {"token": given["token"], "content": content})
        return str(said["messageId"])

    async def log(self, *records: "dict[str, Any] | str", second: float = -30) -> None:
        """Put records into the room's log, one second each, whatever they are."""
        stream = f"aws/IVSChatLogs/1.0/room_{self.room.arn.rpartition('/')[2]}"
        try:
            await self.runtime.aws.call("logs", "create_log_stream", logGroupName=LOG_GROUP, logStreamName=stream)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
        events = [
            {
                "timestamp": int(self.at(second + number).timestamp() * 1000),
                "message": one if isinstance(one, str) else json.dumps(one),
            }
            for number, one in enumerate(records)
        ]
        put: Any = self.runtime.aws.call
        await put("logs", "put_log_events", logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)

    def message(self, content: str, second: float = -30, **changes: Any) -> dict[str, Any]:
        """A record of a message that a guest sent then."""
        payload = {
            "Type": "MESSAGE",
            "Id": new_id(),
            "RequestId": "",
            "Attributes": {},
            "Content": content,
            "SendTime": self.at(second).isoformat().replace("+00:00", "Z"),
            "Sender": {"UserId": "guest-1", "Attributes": {"displayName": "Guest", "isGuest": "true"}},
        }
        return {"event_timestamp": "", "type": "MESSAGE", "version": "1.0", "payload": {**payload, **changes}}

    def deletion(self, *messages: dict[str, Any], name: str = "MessageID") -> dict[str, Any]:
        """A record of the deletion of a message."""
        [message] = messages
        attributes = {name: message["payload"]["Id"], "Reason": ""}
        payload = {"Type": "EVENT", "Id": new_id(), "EventName": "aws:DELETE_MESSAGE", "Attributes": attributes}
        return {"event_timestamp": "", "type": "EVENT", "version": "1.0", "payload": payload}

    async def work(self) -> int:
        """Let the time pass until the next readings, and the worker do one turn of each; return how many there were."""
        await self.sql("UPDATE chat_archives SET read_after = now() WHERE read_after IS NOT NULL")
        return await self.archivist.run_due()

    async def messages(self) -> list[dict[str, Any]]:
        node = (await self.client.data(MESSAGES, {"id": self.room.id}))["node"]
        nodes: list[dict[str, Any]] = node["messages"]["nodes"]
        return nodes

    async def contents(self) -> list[str]:
        return [one["content"] for one in await self.messages()]

    async def state(self, columns: str) -> Any:
        """Return columns of the archive's one row."""
        ((*values,),) = await self.sql(f"SELECT {columns} FROM chat_archives")  # noqa: S608 - our names
        return values[0] if len(values) == 1 else tuple(values)


def archivist(runtime: Runtime, **changes: Any) -> Archivist:
    """An archivist of its own, with other ways than CONFIG's."""
    arn = runtime.resolved.chat_logging_configuration_arn
    assert arn is not None
    return Archivist(runtime.services.publisher, ChatLog(runtime.aws, arn), replace(CONFIG, **changes))
