"""AWS's rules: what it refuses, with which code and which HTTP status."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.ivs.account import Account, client

VALIDATION = ("ValidationException", 400)
MISSING = ("ResourceNotFoundException", 404)
CONFLICT = ("ConflictException", 409)
QUOTA = ("ServiceQuotaExceededException", 402)
OFFLINE = ("ChannelNotBroadcasting", 404)

NO_CHANNEL = "arn:aws:ivs:eu-west-1:123456789012:channel/none"
NO_ROOM = "arn:aws:ivschat:eu-west-1:123456789012:room/none"
NO_STAGE = "arn:aws:ivs:eu-west-1:123456789012:stage/none"
NO_RECORDING = "arn:aws:ivs:eu-west-1:123456789012:recording-configuration/none"
NO_LOGGING = "arn:aws:ivschat:eu-west-1:123456789012:logging-configuration/none"

TO_S3 = {"destinationConfiguration": {"s3": {"bucketName": "bucket"}}}


@pytest.mark.parametrize(
    ("service", "operation", "params", "member"),
    [
        ("ivs", "CreateChannel", {"name": "a b"}, "name"),
        ("ivs", "CreateChannel", {"name": "dotted.name"}, "name"),
        ("ivs", "CreateChannel", {"name": "ünïcode"}, "name"),
        ("ivs", "CreateChannel", {"name": "n" * 129}, "name"),
        ("ivs", "CreateChannel", {"name": 7}, "name"),
        ("ivs", "CreateChannel", {"authorized": 1}, "authorized"),
        ("ivs", "CreateChannel", {"type": "GOLD"}, "type"),
        ("ivs", "CreateChannel", {"preset": "HIGHER_BANDWIDTH_DELIVERY"}, "preset"),
        ("ivs", "CreateChannel", {"multitrackInputConfiguration": {"enabled": True}}, "multitrackInputConfiguration"),
        ("ivs", "CreateChannel", {"tags": {f"k{n}": "v" for n in range(51)}}, "tags"),
        ("ivs", "CreateChannel", {"tags": {"k": "v" * 257}}, "tags.k"),
        ("ivs", "CreateChannel", {"tags": {"aws:k": "v"}}, "tags"),
        ("ivs", "GetChannel", {}, "arn"),
        ("ivs", "GetChannel", {"arn": "arn:aws:ivs:eu-west-1:123456789012:stage/x"}, "arn"),
        ("ivs", "BatchGetChannel", {"arns": [NO_CHANNEL] * 51}, "arns"),
        ("ivs", "BatchGetChannel", {"arns": [NO_CHANNEL, "x"]}, "arns.2"),
        ("ivs", "ListChannels", {"maxResults": 101}, "maxResults"),
        ("ivs", "ListChannels", {"maxResults": 0}, "maxResults"),
        ("ivs", "ListChannels", {"nextToken": "bm9uc2Vuc2U="}, "nextToken"),
        (
            "ivs",
            "ListChannels",
            {"filterByName": "n", "filterByRecordingConfigurationArn": NO_RECORDING},
            "filterByRecordingConfigurationArn",
        ),
        ("ivs", "PutMetadata", {"channelArn": NO_CHANNEL, "metadata": ""}, "metadata"),
        (
            "ivs",
            "CreateRecordingConfiguration",
            {"destinationConfiguration": {"s3": {"bucketName": "Bucket"}}},
            "destinationConfiguration.s3.bucketName",
        ),
        ("ivs", "CreateRecordingConfiguration", {**TO_S3, "recordingReconnectWindowSeconds": 301}, "recording"),
        ("ivs", "ImportPlaybackKeyPair", {"publicKeyMaterial": "no key"}, "publicKeyMaterial"),
        ("ivschat", "CreateRoom", {"maximumMessageLength": 501}, "maximumMessageLength"),
        ("ivschat", "CreateRoom", {"messageReviewHandler": {"uri": "http://here"}}, "messageReviewHandler.uri"),
        ("ivschat", "CreateRoom", {"loggingConfigurationIdentifiers": [NO_LOGGING] * 4}, "loggingConf"),
        ("ivschat", "CreateChatToken", {"roomIdentifier": NO_ROOM, "userId": "u" * 129}, "userId"),
        (
            "ivschat",
            "CreateChatToken",
            {"roomIdentifier": NO_ROOM, "userId": "u", "sessionDurationInMinutes": 181},
            "sessionDurationInMinutes",
        ),
        ("ivschat", "CreateLoggingConfiguration", {"destinationConfiguration": {}}, "destinationConfiguration"),
        ("ivschat", "DeleteMessage", {"roomIdentifier": NO_ROOM, "id": "short"}, "id"),
        ("ivschat", "ListRooms", {"maxResults": 51}, "maxResults"),
        ("ivs-realtime", "CreateStage", {"name": "a.b"}, "name"),
        ("ivs-realtime", "CreateStage", {"participantTokenConfigurations": [{}] * 13}, "participantToken"),
        ("ivs-realtime", "CreateParticipantToken", {"stageArn": NO_STAGE, "duration": 20161}, "duration"),
        ("ivs-realtime", "CreateParticipantToken", {"stageArn": NO_STAGE, "capabilities": ["FLY"]}, "capabilities.1"),
        ("ivs-realtime", "ImportPublicKey", {"publicKeyMaterial": "no key"}, "publicKeyMaterial"),
        (
            "ivs-realtime",
            "ListParticipants",
            {"stageArn": NO_STAGE, "sessionId": "st-abcdefghijkLM", "filterByUserId": "u", "filterByPublished": True},
            "filterByPublished",
        ),
    ],
)
def test_a_bad_member_is_named(
    account: Account, service: str, operation: str, params: dict[str, Any], member: str
) -> None:
    with pytest.raises(ClientError) as caught:
        account.call(service, operation, **params)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == VALIDATION
    assert member in (answer["Error"]["Message"] or answer["exceptionMessage"])


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("ivs", "GetChannel", {"arn": NO_CHANNEL}),
        ("ivs", "UpdateChannel", {"arn": NO_CHANNEL}),
        ("ivs", "DeleteChannel", {"arn": NO_CHANNEL}),
        ("ivs", "CreateChannel", {"recordingConfigurationArn": NO_RECORDING}),
        ("ivs", "CreateStreamKey", {"channelArn": NO_CHANNEL}),
        ("ivs", "GetStream", {"channelArn": NO_CHANNEL}),
        ("ivs", "StopStream", {"channelArn": NO_CHANNEL}),
        ("ivs", "PutMetadata", {"channelArn": NO_CHANNEL, "metadata": "m"}),
        ("ivs", "ListStreamSessions", {"channelArn": NO_CHANNEL}),
        ("ivs", "GetStreamSession", {"channelArn": NO_CHANNEL}),
        ("ivs", "DeleteRecordingConfiguration", {"arn": NO_RECORDING}),
        ("ivs", "ListTagsForResource", {"resourceArn": NO_CHANNEL}),
        ("ivschat", "GetRoom", {"identifier": NO_ROOM}),
        ("ivschat", "CreateRoom", {"loggingConfigurationIdentifiers": [NO_LOGGING]}),
        ("ivschat", "CreateChatToken", {"roomIdentifier": NO_ROOM, "userId": "u"}),
        ("ivschat", "SendEvent", {"roomIdentifier": NO_ROOM, "eventName": "e"}),
        ("ivschat", "DisconnectUser", {"roomIdentifier": NO_ROOM, "userId": "u"}),
        ("ivschat", "TagResource", {"resourceArn": NO_ROOM, "tags": {"k": "v"}}),
        ("ivs-realtime", "GetStage", {"arn": NO_STAGE}),
        ("ivs-realtime", "CreateParticipantToken", {"stageArn": NO_STAGE}),
        ("ivs-realtime", "GetStageSession", {"stageArn": NO_STAGE, "sessionId": "st-abcdefghijkLM"}),
        ("ivs-realtime", "UntagResource", {"resourceArn": NO_STAGE, "tagKeys": ["k"]}),
    ],
)
def test_what_does_not_exist_is_not_found(
    account: Account, service: str, operation: str, params: dict[str, Any]
) -> None:
    assert account.refused(service, operation, **params) == MISSING


def test_a_live_channel_cannot_change(account: Account) -> None:
    channel = account.channel(name="before")
    account.go_live(channel)
    assert account.refused("ivs", "UpdateChannel", arn=channel, name="after") == CONFLICT
    assert account.refused("ivs", "DeleteChannel", arn=channel) == CONFLICT
    account.ivs.stop_stream(channelArn=channel)
    assert account.ivs.update_channel(arn=channel, name="after")["channel"]["name"] == "after"
    account.ivs.delete_channel(arn=channel)
    assert account.refused("ivs", "GetChannel", arn=channel) == MISSING


def test_offline_is_channel_not_broadcasting(account: Account) -> None:
    channel = account.channel()
    account.connect(channel)
    assert account.refused("ivs", "GetStream", channelArn=channel) == OFFLINE
    assert account.refused("ivs", "PutMetadata", channelArn=channel, metadata="m") == OFFLINE
    account.ivs.stop_stream(channelArn=channel)
    assert account.refused("ivs", "StopStream", channelArn=channel) == OFFLINE
    assert account.ivs.list_streams()["streams"] == []


def test_metadata_has_at_most_one_kilobyte_of_utf8(account: Account) -> None:
    channel = account.channel()
    account.go_live(channel)
    account.ivs.put_metadata(channelArn=channel, metadata="é" * 512)
    assert account.refused("ivs", "PutMetadata", channelArn=channel, metadata="é" * 513) == VALIDATION


def test_a_channel_has_one_stream_key(account: Account) -> None:
    made = account.ivs.create_channel()
    channel, key = made["channel"]["arn"], made["streamKey"]
    assert account.refused("ivs", "CreateStreamKey", channelArn=channel) == QUOTA
    account.ivs.delete_stream_key(arn=key["arn"])
    assert account.door("POST", "broadcasts", channelArn=channel)[0] == 403
    again = account.ivs.create_stream_key(channelArn=channel)["streamKey"]
    assert again["value"] != key["value"]
    account.ivs.delete_channel(arn=channel)
    assert account.refused("ivs", "GetStreamKey", arn=again["arn"]) == MISSING


def test_a_channel_reads_back_as_it_was_made(account: Account) -> None:
    plain = account.ivs.create_channel(name="n")["channel"]
    assert {name: plain[name] for name in ("authorized", "latencyMode", "preset", "type", "tags")} == {
        "authorized": False,
        "latencyMode": "LOW",
        "preset": "",
        "type": "STANDARD",
        "tags": {},
    }
    assert account.ivs.create_channel(type="ADVANCED_SD")["channel"]["preset"] == "HIGHER_BANDWIDTH_DELIVERY"
    assert account.ivs.get_channel(arn=plain["arn"])["channel"] == plain


def used_recording(account: Account) -> tuple[str, str, dict[str, str]]:
    arn = account.recording()
    account.channel(recordingConfigurationArn=arn)
    return "ivs", "DeleteRecordingConfiguration", {"arn": arn}


def used_logging(account: Account) -> tuple[str, str, dict[str, str]]:
    arn = account.logging()
    account.room(loggingConfigurationIdentifiers=[arn])
    return "ivschat", "DeleteLoggingConfiguration", {"identifier": arn}


@pytest.mark.parametrize("use", [used_recording, used_logging])
def test_a_configuration_in_use_stays(
    account: Account, use: Callable[[Account], tuple[str, str, dict[str, str]]]
) -> None:
    service, operation, params = use(account)
    assert account.refused(service, operation, **params) == CONFLICT


@pytest.mark.parametrize(
    ("kind", "service", "operation", "params"),
    [
        ("channel", "ivs", "CreateChannel", {}),
        ("recording-configuration", "ivs", "CreateRecordingConfiguration", TO_S3),
        ("room", "ivschat", "CreateRoom", {}),
        ("logging-configuration", "ivschat", "CreateLoggingConfiguration", TO_S3),
        ("stage", "ivs-realtime", "CreateStage", {}),
    ],
)
def test_a_quota_is_an_error(account: Account, kind: str, service: str, operation: str, params: dict[str, Any]) -> None:
    account.do("settings", quotas={kind: 1})
    account.call(service, operation, **params)
    assert account.refused(service, operation, **params) == QUOTA


def test_a_recording_configuration_is_attached_when_active(account: Account) -> None:
    account.do("settings", creatingSeconds=60)
    arn = account.recording()
    assert account.ivs.get_recording_configuration(arn=arn)["recordingConfiguration"]["state"] == "CREATING"
    assert account.refused("ivs", "CreateChannel", recordingConfigurationArn=arn) == VALIDATION


def test_rooms_are_found_by_name_and_their_logging_is_overwritten(account: Account) -> None:
    one, two = account.logging(), account.logging()
    room = account.room(name="mine", loggingConfigurationIdentifiers=[one])
    account.room(name="other")
    updated = account.chat.update_room(identifier=room, loggingConfigurationIdentifiers=[two])
    assert updated["loggingConfigurationIdentifiers"] == [two]
    assert [found["arn"] for found in account.chat.list_rooms(name="mine")["rooms"]] == [room]
    assert account.chat.list_rooms(loggingConfigurationIdentifier=one)["rooms"] == []


def test_batch_get_tells_what_is_missing(account: Account) -> None:
    channel = account.channel()
    answer = account.ivs.batch_get_channel(arns=[channel, NO_CHANNEL])
    assert [found["arn"] for found in answer["channels"]] == [channel]
    assert [(error["arn"], error["code"]) for error in answer["errors"]] == [(NO_CHANNEL, MISSING[0])]


def test_tags_are_added_and_removed_by_arn_of_any_service(account: Account) -> None:
    for one, arn in (
        (account.ivs, account.channel()),
        (account.chat, account.room()),
        (account.realtime, account.stage()),
    ):
        one.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        one.tag_resource(resourceArn=arn, tags={"b": "3", "streamcat:user": "é"})
        one.untag_resource(resourceArn=arn, tagKeys=["a", "none"])
        assert one.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "3", "streamcat:user": "é"}


def test_a_region_sees_only_its_own(account: Account) -> None:
    channel = account.channel()
    elsewhere = client(account.url, "ivs", "us-west-2")
    assert elsewhere.list_channels()["channels"] == []
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.get_channel(arn=channel)
    elsewhere.close()


def test_an_error_leaves_nothing_half_done(account: Account) -> None:
    params = {"participantTokenConfigurations": [{"attributes": {"k": "v" * 1025}}]}
    assert account.refused("ivs-realtime", "CreateStage", **params) == VALIDATION
    assert account.realtime.list_stages()["stages"] == []
