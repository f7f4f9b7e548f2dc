"""Chat logs are found where the logging configuration says, whatever their version."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ivs.chat_logs import ChatLog, Deletion, Message, RecordMalformed, parse
from ivs.client import Aws, AwsConfig, open_aws
from ivs.errors import AwsError, Terminal
from tests.ivs.account import REGION, Account, invoke

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_MS = int(NOW.timestamp() * 1000)
ROOM = "arn:aws:ivschat:eu-west-1:123456789012:room/AAAAAAAAAAAA"


@pytest.fixture
async def aws(account: Account) -> AsyncIterator[Aws]:
    async with open_aws(AwsConfig(REGION, account.url, "test", "test", max_attempts=1)) as clients:
        yield clients


def record(content: str) -> str:
    payload = {"Type": "MESSAGE", "Id": content, "Content": content, "SendTime": NOW.isoformat()}
    return msgspec.json.encode({"payload": {**payload, "Sender": {"UserId": "42"}}}).decode()


def put(account: Account, stream: str, *contents: str, at: int = NOW_MS) -> None:
    logs = account.client("logs")
    account.call_code("logs", "CreateLogGroup", logGroupName="chat")
    account.call_code("logs", "CreateLogStream", logGroupName="chat", logStreamName=stream)
    events = [{"timestamp": at, "message": record(one)} for one in contents]
    invoke(logs, "PutLogEvents", logGroupName="chat", logStreamName=stream, logEvents=events)


async def read(log: ChatLog, most: int = 100, mark: str | None = None) -> list[list[str]]:
    """Return the contents of each page."""
    pages = []
    while True:
        page = await log.page(ROOM, NOW - timedelta(minutes=1), NOW, mark, most=most)
        pages.append([one.content for one in page.messages])
        mark = page.mark
        if mark is None:
            return pages


async def test_only_the_room_s_own_log(account: Account, aws: Aws) -> None:
    put(account, "aws/IVSChatLogs/1.0/room_AAAAAAAAAAAA", "mine")
    put(account, "aws/IVSChatLogs/1.0/room_BBBBBBBBBBBB", "theirs")
    put(account, "something/else", "noise")
    assert await read(ChatLog(aws, account.logging())) == [["mine"]]


async def test_both_ends_are_included(account: Account, aws: Aws) -> None:
    stream = "aws/IVSChatLogs/1.0/room_AAAAAAAAAAAA"
    for name, offset in (("before", -60_001), ("first", -60_000), ("last", 0), ("after", 1)):
        put(account, stream, name, at=NOW_MS + offset)
    assert await read(ChatLog(aws, account.logging())) == [["first", "last"]]


async def test_every_version_that_is_in_use(account: Account, aws: Aws) -> None:
    put(account, "aws/IVSChatLogs/1.0/room_AAAAAAAAAAAA", "one", "two", "three")
    put(account, "aws/IVSChatLogs/2.0/room_AAAAAAAAAAAA", "four", "five")
    log = ChatLog(aws, account.logging())
    assert await read(log) == [["one", "two", "three"], ["four", "five"]]
    assert await read(log, most=2) == [["one", "two"], ["three"], ["four", "five"]]


async def test_a_room_that_nobody_has_written_in(account: Account, aws: Aws) -> None:
    put(account, "aws/IVSChatLogs/1.0/room_BBBBBBBBBBBB", "theirs")
    assert await read(ChatLog(aws, account.logging())) == [[]]


async def test_an_empty_log_group(account: Account, aws: Aws) -> None:
    invoke(account.client("logs"), "CreateLogGroup", logGroupName="chat")
    assert await read(ChatLog(aws, account.logging())) == [[]]
    assert account.door("GET", "calls?operation=FilterLogEvents")[1]["calls"] == []


async def test_where_it_is_is_asked_once(account: Account, aws: Aws) -> None:
    put(account, "aws/IVSChatLogs/1.0/room_AAAAAAAAAAAA", "mine")
    log = ChatLog(aws, account.logging())
    account.do("calls/clear")
    for _ in range(3):
        assert await read(log) == [["mine"]]
    operations = [call["operation"] for call in account.door("GET", "calls")[1]["calls"]]
    assert operations == ["GetLoggingConfiguration", *["DescribeLogStreams"] * 2, *["FilterLogEvents"] * 3]


async def test_what_cannot_be_read_says_so(account: Account, aws: Aws) -> None:
    bucket = account.chat.create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "chat-logs"}})
    with pytest.raises(Terminal, match="NoLogGroup: the logging configuration's destination is not CloudWatch Logs"):
        await read(ChatLog(aws, bucket["arn"]))
    with pytest.raises(AwsError) as missing:
        await read(ChatLog(aws, account.logging()))
    assert missing.value.code == "ResourceNotFoundException"


def message(**changes: Any) -> str:
    payload = {
        "Type": "MESSAGE",
        "Id": "MMMMMMMMMMMM",
        "RequestId": "",
        "Attributes": None,
        "Content": "hello",
        "SendTime": "2026-05-01T12:00:00.5Z",
        "Sender": {"UserId": "ada", "Attributes": {"displayName": "Ada", "isGuest": "false"}},
        **changes,
    }
    return msgspec.json.encode({"type": payload["Type"], "payload": payload, "version": "1.0"}).decode()


AT = datetime(2026, 5, 1, 12, 0, 0, 500_000, UTC)
AT_MS = int(AT.timestamp() * 1000)


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ({"UserId": "ada", "Attributes": {"displayName": "Ada", "isGuest": "false"}}, "Ada"),
        ({"UserId": "ada", "Attributes": {"displayName": " \0Ada\0 "}}, "Ada"),
        ({"UserId": "guest-1", "Attributes": {}}, "guest-1"),
        ({"UserId": "ada", "Attributes": None}, "ada"),
        ({"UserId": "ada", "Attributes": {"displayName": 7}}, "ada"),
        ({"UserId": "ada"}, "ada"),
    ],
)
def test_senders(sender: dict[str, Any], name: str) -> None:
    said = Message("MMMMMMMMMMMM", "hello", AT, sender["UserId"], name)
    assert parse(message(Sender=sender), AT_MS) == said


@pytest.mark.parametrize(
    "text",
    [
        message(Type="EVENT", EventName="aws:DISCONNECT_USER"),
        message(Type="EVENT", EventName="app:CHEER", Attributes=None),
        message(Type="EVENT"),
        message(Type="SOMETHING_NEW"),
        '{"type": "STATISTICS", "payload": {}}',
    ],
)
def test_of_no_interest(text: str) -> None:
    assert parse(text, AT_MS) is None


@pytest.mark.parametrize("attributes", [{"MessageId": "X"}, {"MessageID": "X"}, {"MessageId": "X", "MessageID": "Y"}])
def test_deletions(attributes: dict[str, str]) -> None:
    text = message(Type="EVENT", EventName="aws:DELETE_MESSAGE", Attributes=attributes)
    assert parse(text, AT_MS) == Deletion("X")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("null", "no payload"),
        ('{"payload": []}', "no payload"),
        ('{"payload": {}}', "no type"),
        ("\ud800", "not JSON"),
        (message(Content=None), "no Content"),
        (message(Content="x" * 501), "Content cannot be kept"),
        (message(Id="x" * 65), "Id cannot be kept"),
        (message(Sender={"UserId": "a\0"}), "UserId cannot be kept"),
        (message(SendTime="soon"), "no SendTime"),
        (message(SendTime="2026-05-03T12:00:00Z"), "SendTime lies elsewhere than the record"),
        (message(SendTime="0001-01-01T00:00:00+14:00"), "no SendTime"),
        (message(Type="EVENT", EventName="aws:DELETE_MESSAGE"), "no Attributes"),
        (message(Type="EVENT", EventName="aws:DELETE_MESSAGE", Attributes={"Reason": ""}), "no MessageID"),
    ],
)
def test_malformed(text: str, reason: str) -> None:
    with pytest.raises(RecordMalformed, match=f"^{reason}$"):
        parse(text, AT_MS)
