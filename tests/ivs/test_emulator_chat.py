"""What is said in rooms of the emulator stands in their logs, and these are read as AWS lets them be read."""

import json
import re
from typing import Any

import pytest

from tests.ivs.account import Account, invoke

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"


def stream_of(room: str) -> str:
    return f"aws/IVSChatLogs/1.0/room_{room.rpartition('/')[2]}"


def page(account: Account, room: str, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = account.client("logs").filter_log_events(
        logGroupName="chat", logStreamNamePrefix=stream_of(room), **params
    )
    return found


def payloads(account: Account, room: str) -> list[dict[str, Any]]:
    records = [json.loads(event["message"]) for event in page(account, room)["events"]]
    assert {record["version"] for record in records} <= {"1.0"}
    assert [record["type"] for record in records] == [record["payload"]["Type"] for record in records]
    return [record["payload"] for record in records]


@pytest.fixture
def room(account: Account) -> str:
    invoke(account.client("logs"), "CreateLogGroup", logGroupName="chat")
    return account.room(loggingConfigurationIdentifiers=[account.logging()])


def test_everything_that_a_room_gets_is_logged_in_order(account: Account, room: str) -> None:
    said = account.do("chat/messages", roomArn=room, userId="ada", attributes={"displayName": "Ada"}, content="hello")
    sent = account.chat.send_event(roomIdentifier=room, eventName="app:CHEER", attributes={"count": "3"})
    gone = account.chat.delete_message(roomIdentifier=room, id=said["messageId"], reason="rude")
    account.chat.disconnect_user(roomIdentifier=room, userId="ada")
    found = payloads(account, room)
    assert all(re.fullmatch(TIME, one.pop("SendTime")) for one in found)
    disconnected = found.pop()
    assert disconnected.pop("Id")
    event = {"Type": "EVENT", "RequestId": ""}
    assert disconnected == {**event, "EventName": "aws:DISCONNECT_USER", "Attributes": {"UserId": "ada"}}
    assert found == [
        {
            "Type": "MESSAGE",
            "Id": said["messageId"],
            "RequestId": "",
            "Attributes": None,
            "Content": "hello",
            "Sender": {"UserId": "ada", "Attributes": {"displayName": "Ada"}},
        },
        {**event, "Id": sent["id"], "EventName": "app:CHEER", "Attributes": {"count": "3"}},
        {
            **event,
            "Id": gone["id"],
            "EventName": "aws:DELETE_MESSAGE",
            "Attributes": {"MessageId": said["messageId"], "MessageID": said["messageId"], "Reason": "rude"},
        },
    ]


def test_a_token_speaks_for_whom_it_was_made_for(account: Account, room: str) -> None:
    def token(*capabilities: str) -> str:
        made = account.chat.create_chat_token(
            roomIdentifier=room, userId="eve", attributes={"displayName": "Eve"}, capabilities=list(capabilities)
        )
        return str(made["token"])

    ticket = token("SEND_MESSAGE")
    account.do("chat/messages", token=ticket, content="it is me", requestId="r1")
    [said] = payloads(account, room)
    assert (said["Sender"], said["RequestId"]) == ({"UserId": "eve", "Attributes": {"displayName": "Eve"}}, "r1")
    assert account.door("POST", "chat/messages", token=ticket, content="again")[0] == 403
    assert account.door("POST", "chat/messages", token=token("DELETE_MESSAGE"), content="mute")[0] == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": ""}, 400),
        ({"content": "x" * 501}, 400),
        ({"content": 3}, 400),
        ({"content": "hello", "userId": ""}, 400),
        ({"content": "hello", "roomArn": "arn:aws:ivschat:eu-west-1:123456789012:room/none"}, 404),
    ],
)
def test_what_nobody_could_have_said_is_refused(account: Account, room: str, body: dict[str, Any], status: int) -> None:
    assert account.door("POST", "chat/messages", **{"roomArn": room, "userId": "ada", **body})[0] == status
    assert payloads(account, room) == []


def test_logs_go_where_the_configuration_says_and_nowhere_without_one(account: Account, room: str) -> None:
    other, silent = account.room(loggingConfigurationIdentifiers=[account.logging()]), account.room()
    bucket = account.chat.create_logging_configuration(
        destinationConfiguration={"s3": {"bucketName": "streamcat-chat"}}
    )["arn"]
    elsewhere = account.room(loggingConfigurationIdentifiers=[bucket])
    for one in (room, other, silent, elsewhere):
        account.do("chat/messages", roomArn=one, userId="ada", content=one)
    streams = account.client("logs").describe_log_streams(logGroupName="chat")["logStreams"]
    assert sorted(one["logStreamName"] for one in streams) == sorted([stream_of(room), stream_of(other)])
    assert [one["Content"] for one in payloads(account, room)] == [room]
    assert payloads(account, silent) == []


def test_times_are_inclusive_and_pages_may_be_empty(account: Account, room: str) -> None:
    for content in ("one", "two", "three"):
        account.do("chat/messages", roomArn=room, userId="ada", content=content)
    everything = page(account, room)["events"]
    first, last = everything[0]["timestamp"], everything[-1]["timestamp"]
    assert page(account, room, startTime=first, endTime=last)["events"] == everything
    account.do("faults", operation="FilterLogEvents", kind="empty-page", times=1)
    account.do("faults", operation="FilterLogEvents", kind="empty-page", times=1, skip=1)
    found: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        answer = page(account, room, limit=2, **token)
        found.append([json.loads(event["message"])["payload"]["Content"] for event in answer["events"]])
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert found == [[], ["one", "two"], [], ["three"]]


def test_reading_is_recorded_with_what_was_asked_for(account: Account, room: str) -> None:
    account.do("calls/clear")
    page(account, room, limit=7)
    calls = account.door("GET", "calls?operation=FilterLogEvents")[1]["calls"]
    asked = {"logGroupName": "chat", "logStreamNamePrefix": stream_of(room), "limit": 7}
    assert [(call["params"], call["status"]) for call in calls] == [(asked, 200)]
