"""Every operation the emulator claims makes a round trip; `account` checks each answer against botocore's models."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ivs.emulator.models import routes, service_model
from ivs.emulator.operations import CLAIMED
from tests.ivs.account import Account, invoke

TAGS = {"streamcat:username": "ada"}
LOGS = {"cloudWatchLogs": {"logGroupName": "chat"}}


def pem() -> str:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def stream_key(account: Account) -> str:
    return account.ivs.list_stream_keys(channelArn=account.channel())["streamKeys"][0]["arn"]


def live(account: Account) -> str:
    channel = account.channel(recordingConfigurationArn=account.recording())
    account.go_live(channel)
    return channel


def playback_key(account: Account) -> str:
    return account.ivs.import_playback_key_pair(publicKeyMaterial=pem())["keyPair"]["arn"]


def public_key(account: Account) -> str:
    return account.realtime.import_public_key(publicKeyMaterial=pem())["publicKey"]["arn"]


def keyless_channel(account: Account) -> str:
    key = account.ivs.get_stream_key(arn=stream_key(account))["streamKey"]
    account.ivs.delete_stream_key(arn=key["arn"])
    return key["channelArn"]


def occupied(account: Account) -> dict[str, str]:
    stage = account.stage()
    participant, session = account.join(stage, userId="ada", attributes={"name": "Ada"})
    return {"stageArn": stage, "sessionId": session, "participantId": participant}


def without(member: str, params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != member}


# What each operation is called with; the function makes what must exist before.
CALLS: dict[tuple[str, str], Callable[[Account], dict[str, Any]]] = {
    ("ivs", "CreateChannel"): lambda a: {
        "name": "c",
        "type": "ADVANCED_HD",
        "recordingConfigurationArn": a.recording(),
        "tags": TAGS,
    },
    ("ivs", "GetChannel"): lambda a: {"arn": a.channel(tags=TAGS)},
    ("ivs", "BatchGetChannel"): lambda a: {"arns": [a.channel(), a.channel() + "x"]},
    ("ivs", "ListChannels"): lambda a: {"filterByName": a.ivs.create_channel(name="n")["channel"]["name"]},
    ("ivs", "UpdateChannel"): lambda a: {"arn": a.channel(), "name": "new", "latencyMode": "NORMAL"},
    ("ivs", "DeleteChannel"): lambda a: {"arn": a.channel()},
    ("ivs", "CreateStreamKey"): lambda a: {"channelArn": keyless_channel(a), "tags": TAGS},
    ("ivs", "GetStreamKey"): lambda a: {"arn": stream_key(a)},
    ("ivs", "BatchGetStreamKey"): lambda a: {"arns": [stream_key(a), stream_key(a) + "x"]},
    ("ivs", "ListStreamKeys"): lambda a: {"channelArn": a.channel()},
    ("ivs", "DeleteStreamKey"): lambda a: {"arn": stream_key(a)},
    ("ivs", "GetStream"): lambda a: {"channelArn": live(a)},
    ("ivs", "ListStreams"): lambda a: {"filterBy": {"health": "HEALTHY"}, "maxResults": len([live(a)])},
    ("ivs", "ListStreamSessions"): lambda a: {"channelArn": live(a)},
    ("ivs", "GetStreamSession"): lambda a: {"channelArn": live(a)},
    ("ivs", "StopStream"): lambda a: {"channelArn": live(a)},
    ("ivs", "PutMetadata"): lambda a: {"channelArn": live(a), "metadata": "m" * 1024},
    ("ivs", "CreateRecordingConfiguration"): lambda _: {
        "destinationConfiguration": {"s3": {"bucketName": "b.b"}},
        "recordingReconnectWindowSeconds": 30,
        "thumbnailConfiguration": {"storage": ["LATEST"]},
    },
    ("ivs", "GetRecordingConfiguration"): lambda a: {"arn": a.recording()},
    ("ivs", "ListRecordingConfigurations"): lambda a: {"maxResults": len(a.recording())},
    ("ivs", "DeleteRecordingConfiguration"): lambda a: {"arn": a.recording()},
    ("ivs", "ImportPlaybackKeyPair"): lambda _: {"publicKeyMaterial": pem(), "name": "k", "tags": TAGS},
    ("ivs", "GetPlaybackKeyPair"): lambda a: {"arn": playback_key(a)},
    ("ivs", "ListPlaybackKeyPairs"): lambda a: {"maxResults": len([playback_key(a)])},
    ("ivs", "DeletePlaybackKeyPair"): lambda a: {"arn": playback_key(a)},
    ("ivs", "ListTagsForResource"): lambda a: {"resourceArn": a.channel(tags=TAGS)},
    ("ivs", "TagResource"): lambda a: {"resourceArn": a.channel(), "tags": TAGS},
    ("ivs", "UntagResource"): lambda a: {"resourceArn": a.channel(tags=TAGS), "tagKeys": list(TAGS)},
    ("ivschat", "CreateRoom"): lambda a: {
        "name": "r",
        "maximumMessageLength": 200,
        "messageReviewHandler": {"uri": "arn:aws:lambda:eu-west-1:123456789012:function:review"},
        "loggingConfigurationIdentifiers": [a.logging()],
        "tags": TAGS,
    },
    ("ivschat", "GetRoom"): lambda a: {"identifier": a.room(tags=TAGS)},
    ("ivschat", "UpdateRoom"): lambda a: {"identifier": a.room(), "maximumMessageRatePerSecond": 100},
    ("ivschat", "DeleteRoom"): lambda a: {"identifier": a.room()},
    ("ivschat", "ListRooms"): lambda a: {"maxResults": len([a.room()])},
    ("ivschat", "CreateChatToken"): lambda a: {
        "roomIdentifier": a.room(),
        "userId": "ada",
        "capabilities": ["SEND_MESSAGE"],
        "attributes": {"name": "Ada"},
    },
    ("ivschat", "SendEvent"): lambda a: {"roomIdentifier": a.room(), "eventName": "e", "attributes": {"k": "v"}},
    ("ivschat", "DeleteMessage"): lambda a: {"roomIdentifier": a.room(), "id": "abcdefGHIJ12", "reason": "spam"},
    ("ivschat", "DisconnectUser"): lambda a: {"roomIdentifier": a.room(), "userId": "ada"},
    ("ivschat", "CreateLoggingConfiguration"): lambda _: {"destinationConfiguration": LOGS, "name": "l", "tags": TAGS},
    ("ivschat", "GetLoggingConfiguration"): lambda a: {"identifier": a.logging()},
    ("ivschat", "ListLoggingConfigurations"): lambda a: {"maxResults": len([a.logging()])},
    ("ivschat", "UpdateLoggingConfiguration"): lambda a: {"identifier": a.logging(), "name": "new"},
    ("ivschat", "DeleteLoggingConfiguration"): lambda a: {"identifier": a.logging()},
    ("ivschat", "ListTagsForResource"): lambda a: {"resourceArn": a.room(tags=TAGS)},
    ("ivschat", "TagResource"): lambda a: {"resourceArn": a.room(), "tags": TAGS},
    ("ivschat", "UntagResource"): lambda a: {"resourceArn": a.room(tags=TAGS), "tagKeys": list(TAGS)},
    ("ivs-realtime", "CreateStage"): lambda _: {
        "name": "s",
        "tags": TAGS,
        "participantTokenConfigurations": [{"userId": "ada", "capabilities": ["PUBLISH"]}],
    },
    ("ivs-realtime", "GetStage"): lambda a: {"arn": a.stage()},
    ("ivs-realtime", "UpdateStage"): lambda a: {"arn": a.stage(), "name": "new"},
    ("ivs-realtime", "DeleteStage"): lambda a: {"arn": occupied(a)["stageArn"]},
    ("ivs-realtime", "ListStages"): lambda a: {"maxResults": len([a.stage()])},
    ("ivs-realtime", "CreateParticipantToken"): lambda a: {"stageArn": a.stage(), "userId": "ada", "duration": 20160},
    ("ivs-realtime", "DisconnectParticipant"): lambda a: without("sessionId", occupied(a)),
    ("ivs-realtime", "ListStageSessions"): lambda a: {"stageArn": occupied(a)["stageArn"]},
    ("ivs-realtime", "GetStageSession"): lambda a: without("participantId", occupied(a)),
    ("ivs-realtime", "ListParticipants"): lambda a: without("participantId", occupied(a)),
    ("ivs-realtime", "GetParticipant"): occupied,
    ("ivs-realtime", "ListParticipantEvents"): occupied,
    ("ivs-realtime", "ImportPublicKey"): lambda _: {"publicKeyMaterial": pem(), "name": "k", "tags": TAGS},
    ("ivs-realtime", "GetPublicKey"): lambda a: {"arn": public_key(a)},
    ("ivs-realtime", "ListPublicKeys"): lambda a: {"maxResults": len([public_key(a)])},
    ("ivs-realtime", "DeletePublicKey"): lambda a: {"arn": public_key(a)},
    ("ivs-realtime", "ListTagsForResource"): lambda a: {"resourceArn": a.stage(tags=TAGS)},
    ("ivs-realtime", "TagResource"): lambda a: {"resourceArn": a.stage(), "tags": TAGS},
    ("ivs-realtime", "UntagResource"): lambda a: {"resourceArn": a.stage(tags=TAGS), "tagKeys": list(TAGS)},
}

PROMISED = {
    "ivs": """CreateChannel GetChannel BatchGetChannel ListChannels UpdateChannel DeleteChannel CreateStreamKey
        GetStreamKey BatchGetStreamKey ListStreamKeys DeleteStreamKey GetStream ListStreams ListStreamSessions
        GetStreamSession StopStream PutMetadata CreateRecordingConfiguration GetRecordingConfiguration
        ListRecordingConfigurations DeleteRecordingConfiguration ImportPlaybackKeyPair GetPlaybackKeyPair
        ListPlaybackKeyPairs DeletePlaybackKeyPair TagResource UntagResource ListTagsForResource""",
    "ivschat": """CreateRoom GetRoom UpdateRoom DeleteRoom ListRooms CreateChatToken SendEvent DeleteMessage
        DisconnectUser CreateLoggingConfiguration GetLoggingConfiguration ListLoggingConfigurations
        UpdateLoggingConfiguration DeleteLoggingConfiguration TagResource UntagResource ListTagsForResource""",
    "ivs-realtime": """CreateStage GetStage UpdateStage DeleteStage ListStages CreateParticipantToken
        DisconnectParticipant ListStageSessions GetStageSession ListParticipants GetParticipant ListParticipantEvents
        ImportPublicKey GetPublicKey ListPublicKeys DeletePublicKey TagResource UntagResource ListTagsForResource""",
}


@pytest.mark.parametrize(("service", "operation"), sorted(CALLS))
def test_a_claimed_operation_makes_a_round_trip(account: Account, service: str, operation: str) -> None:
    params = CALLS[service, operation](account)
    answer = invoke(account.client(service), operation, **params)
    model = service_model(service).operation_model(operation)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == model.http["responseCode"]
    assert answer["ResponseMetadata"]["RequestId"]


def test_claim_promise_and_round_trips_are_the_same_operations() -> None:
    assert {service: set(operations) for service, operations in CLAIMED.items()} == {
        service: set(text.split()) for service, text in PROMISED.items()
    }
    assert set(CALLS) == {(service, operation) for service in CLAIMED for operation in CLAIMED[service]}


def test_every_claimed_operation_has_its_own_route() -> None:
    routed = [model.name for _, model in [*routes("ivs").values(), *routes("ivschat").values()]]
    claimed = [name for operations in CLAIMED.values() for name in operations if not name.endswith("Resource")]
    assert sorted(name for name in routed if name in claimed) == sorted(claimed)


def test_an_operation_that_is_not_claimed_says_so(account: Account) -> None:
    stage, destinations = account.stage(), [{"channel": {"channelArn": account.channel()}}]
    assert account.refused("ivs-realtime", "StartComposition", stageArn=stage, destinations=destinations) == (
        "NotImplementedException",
        501,
    )


def test_times_are_read_as_times(account: Account) -> None:
    room = account.chat.get_room(identifier=account.room())
    stream = account.ivs.get_stream(channelArn=live(account))["stream"]
    token = account.realtime.create_participant_token(stageArn=account.stage())["participantToken"]
    for value in (room["createTime"], stream["startTime"], token["expirationTime"]):
        assert isinstance(value, datetime)
        assert value.tzinfo is not None


def test_other_services_are_motos(account: Account) -> None:
    account.events.create_event_bus(Name="elsewhere")
    assert [bus["Name"] for bus in account.events.list_event_buses()["EventBuses"]] == ["default", "elsewhere"]
