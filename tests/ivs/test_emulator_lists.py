"""Paging: opaque marks, sizes, orders, filters."""

from typing import Any

import pytest

from tests.ivs.account import Account


def pages(account: Account, service: str, operation: str, member: str, **params: Any) -> list[list[dict[str, Any]]]:
    found = []
    answer = account.call(service, operation, **params)
    while True:
        found.append(answer[member])
        if "nextToken" not in answer:
            return found
        answer = account.call(service, operation, **params, nextToken=answer["nextToken"])


@pytest.mark.parametrize(
    ("service", "operation", "member", "make"),
    [
        ("ivs", "ListChannels", "channels", Account.channel),
        ("ivs", "ListRecordingConfigurations", "recordingConfigurations", Account.recording),
        ("ivschat", "ListRooms", "rooms", Account.room),
        ("ivschat", "ListLoggingConfigurations", "loggingConfigurations", Account.logging),
        ("ivs-realtime", "ListStages", "stages", Account.stage),
    ],
)
def test_pages_hold_everything_once(account: Account, service: str, operation: str, member: str, make: Any) -> None:
    made = [make(account) for _ in range(5)]
    found = pages(account, service, operation, member, maxResults=2)
    assert [[one["arn"] for one in page] for page in found] == [made[:2], made[2:4], made[4:]]
    assert "nextToken" not in account.call(service, operation, maxResults=5)


def test_a_deletion_between_two_pages_hides_nothing(account: Account) -> None:
    made = [account.channel() for _ in range(4)]
    first = account.ivs.list_channels(maxResults=2)
    account.ivs.delete_channel(arn=made[1])
    second = account.ivs.list_channels(maxResults=2, nextToken=first["nextToken"])
    assert [one["arn"] for one in second["channels"]] == made[2:]


def test_a_mark_belongs_to_its_list(account: Account) -> None:
    for name in ("a", "a", "b"):
        account.channel(name=name)
    mark = account.ivs.list_channels(filterByName="a", maxResults=1)["nextToken"]
    refused = account.refused("ivs", "ListChannels", filterByName="b", nextToken=mark)
    assert refused == ("ValidationException", 400)
    assert account.refused("ivs", "ListStreams", nextToken=mark) == ("ValidationException", 400)
    assert len(account.ivs.list_channels(filterByName="a", nextToken=mark)["channels"]) == 1


def test_channels_are_filtered(account: Account) -> None:
    recording = account.recording()
    recorded, named = account.channel(recordingConfigurationArn=recording), account.channel(name="named")
    by_recording = account.ivs.list_channels(filterByRecordingConfigurationArn=recording)["channels"]
    by_name = account.ivs.list_channels(filterByName="named")["channels"]
    assert ([c["arn"] for c in by_recording], [c["arn"] for c in by_name]) == ([recorded], [named])


def test_streams_are_filtered_by_health(account: Account) -> None:
    healthy, starving = (account.go_live(account.channel()) for _ in range(2))
    account.do(f"broadcasts/{starving}/health", state="STARVING")
    account.do(f"broadcasts/{starving}/viewers", count=7)
    found = account.ivs.list_streams(filterBy={"health": "STARVING"})["streams"]
    assert [(one["streamId"], one["viewerCount"]) for one in found] == [(starving, 7)]
    assert [one["streamId"] for one in account.ivs.list_streams()["streams"]] == [healthy, starving]


def test_sessions_are_newest_first_and_outlive_their_channel(account: Account) -> None:
    channel = account.channel()
    streams = []
    for _ in range(3):
        streams.append(account.go_live(channel))
        account.ivs.stop_stream(channelArn=channel)
    account.ivs.delete_channel(arn=channel)
    found = pages(account, "ivs", "ListStreamSessions", "streamSessions", channelArn=channel, maxResults=2)
    assert [[one["streamId"] for one in page] for page in found] == [[streams[2], streams[1]], [streams[0]]]
    assert all("endTime" in one and not one["hasErrorEvent"] for page in found for one in page)
    assert account.ivs.get_stream_session(channelArn=channel)["streamSession"]["streamId"] == streams[2]


def test_participants_are_filtered(account: Account) -> None:
    stage = account.stage()
    ada, session = account.join(stage, userId="ada")
    bob, _ = account.join(stage, userId="bob", publish=False)
    account.realtime.disconnect_participant(stageArn=stage, participantId=ada)

    def found(**chosen: Any) -> list[str]:
        answer = account.realtime.list_participants(stageArn=stage, sessionId=session, **chosen)
        return [one["participantId"] for one in answer["participants"]]

    assert found() == [bob, ada]
    assert found(filterByState="CONNECTED") == [bob]
    assert found(filterByPublished=True) == [ada]
    assert found(filterByUserId="bob") == [bob]
    assert found(filterByRecordingState="ACTIVE") == []


def test_what_a_participant_did_is_newest_first(account: Account) -> None:
    stage = account.stage()
    eve, session = account.join(stage, userId="eve", publish=False)
    ada, _ = account.join(stage, userId="ada")
    account.do(f"stages/participants/{ada}/unpublish", stageArn=stage)
    account.do(f"stages/participants/{ada}/publish", stageArn=stage)
    account.realtime.delete_stage(arn=stage)

    def told(participant: str, **more: str) -> list[list[str]]:
        of_whom = {"stageArn": stage, "sessionId": session, "participantId": participant, "maxResults": 4, **more}
        found = pages(account, "ivs-realtime", "ListParticipantEvents", "events", **of_whom)
        assert all(one["participantId"] == participant for page in found for one in page)
        return [[one["name"] for one in page] for page in found]

    assert told(ada) == [
        ["LEFT", "PUBLISH_STOPPED", "PUBLISH_STARTED", "PUBLISH_STOPPED"],
        ["PUBLISH_STARTED", "JOINED"],
    ]
    assert told(eve) == [["LEFT", "JOINED"]]
    for stranger in (told("nobody"), told(ada, stageArn=account.stage())):
        assert stranger == [[]]
