"""Events as AWS writes them, through a rule into a queue."""

import re
import uuid
from typing import Any

import pytest

from tests.ivs.account import Account, names

STATE, HEALTH = "IVS Stream State Change", "IVS Stream Health Change"
RECORDING, STAGE = "IVS Recording State Change", "IVS Stage Update"


def check_envelope(envelope: dict[str, Any], kind: str, resources: list[str]) -> None:
    assert list(envelope) == [
        "version",
        "id",
        "detail-type",
        "source",
        "account",
        "time",
        "region",
        "resources",
        "detail",
    ]
    assert uuid.UUID(envelope["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", envelope["time"])
    fixed = {name: envelope[name] for name in ("version", "detail-type", "source", "account", "region", "resources")}
    assert fixed == {
        "version": "0",
        "detail-type": kind,
        "source": "aws.ivs",
        "account": "123456789012",
        "region": "eu-west-1",
        "resources": resources,
    }


def test_a_recorded_broadcast_tells_everything_in_order(account: Account) -> None:
    channel = account.channel(name="ada", recordingConfigurationArn=account.recording())
    queue = account.listen()
    stream = account.go_live(channel)
    for state in ("STARVING", "STARVING", "HEALTHY"):
        account.do(f"broadcasts/{stream}/health", state=state)
    account.do(f"broadcasts/{stream}/end")

    events = account.received(queue, 8)
    assert [event["detail-type"] for event in events] == [
        STATE,
        STATE,
        RECORDING,
        HEALTH,
        HEALTH,
        STATE,
        STATE,
        RECORDING,
    ]
    assert names(events) == [
        "Session Created",
        "Stream Start",
        "Recording Start",
        "Starvation Start",
        "Starvation End",
        "Stream End",
        "Session Ended",
        "Recording End",
    ]
    for event in events:
        check_envelope(event, event["detail-type"], [channel])
        if event["detail-type"] != RECORDING:
            assert event["detail"] == {
                "event_name": event["detail"]["event_name"],
                "channel_name": "ada",
                "stream_id": stream,
            }
    began, ended = events[2]["detail"], events[7]["detail"]
    prefix = rf"ivs/v1/123456789012/{channel.rpartition('/')[2]}/\d{{4}}/\d+/\d+/\d+/\d+/[a-zA-Z0-9]{{12}}"
    assert re.fullmatch(prefix, began["recording_s3_key_prefix"])
    assert began == {
        "channel_name": "ada",
        "stream_id": stream,
        "recording_status": "Recording Start",
        "recording_status_reason": "",
        "recording_s3_bucket_name": "streamcat-recordings",
        "recording_s3_key_prefix": began["recording_s3_key_prefix"],
        "recording_duration_ms": 0,
        "recording_session_id": began["recording_session_id"],
    }
    assert 0 < ended["recording_duration_ms"] < 60_000
    assert ended == {
        **began,
        "recording_status": "Recording End",
        "recording_duration_ms": ended["recording_duration_ms"],
        "recording_session_stream_ids": [stream],
    }
    session = account.ivs.get_stream_session(channelArn=channel)["streamSession"]
    assert [event["name"] for event in session["truncatedEvents"]] == names(events)[::-1]
    assert [event["type"] for event in session["truncatedEvents"]] == [event["detail-type"] for event in events][::-1]
    assert session["ingestConfiguration"]["video"]["videoHeight"] == 1080


def test_stop_stream_ends_a_channel_that_does_not_record(account: Account) -> None:
    channel = account.channel()
    queue = account.listen()
    stream = account.go_live(channel)
    account.ivs.stop_stream(channelArn=channel)
    assert names(account.received(queue, 4)) == ["Session Created", "Stream Start", "Stream End", "Session Ended"]
    assert account.door("POST", f"broadcasts/{stream}/ingest")[0] == 410


def test_an_encoder_that_never_started_only_ends_its_session(account: Account) -> None:
    channel = account.channel()
    queue = account.listen()
    account.do(f"broadcasts/{account.connect(channel)}/end")
    assert names(account.received(queue, 2)) == ["Session Created", "Session Ended"]


def test_a_silent_encoder_is_ended_without_starvation_end(account: Account) -> None:
    channel = account.channel(recordingConfigurationArn=account.recording())
    queue = account.listen()
    account.go_live(channel)
    account.do("settings", silenceSeconds=0.1)
    assert names(account.received(queue, 7)) == [
        "Session Created",
        "Stream Start",
        "Recording Start",
        "Starvation Start",
        "Stream End",
        "Session Ended",
        "Recording End",
    ]
    assert account.ivs.list_streams()["streams"] == []


def test_a_reconnect_inside_the_window_is_one_recording(account: Account) -> None:
    channel = account.channel(recordingConfigurationArn=account.recording(recordingReconnectWindowSeconds=2))
    queue = account.listen()
    streams = []
    for _ in range(2):
        streams.append(account.go_live(channel))
        account.do(f"broadcasts/{streams[-1]}/end")
    events = account.received(queue, 10)
    recorded = [event["detail"] for event in events if event["detail-type"] == RECORDING]
    assert names(events)[-1] == "Recording End"
    assert [one["recording_status"] for one in recorded] == ["Recording Start", "Recording End"]
    assert [one["stream_id"] for one in recorded] == streams
    assert recorded[1]["recording_session_stream_ids"] == streams
    assert recorded[0]["recording_session_id"] == recorded[1]["recording_session_id"]


def test_one_broadcast_per_channel_and_a_quota_for_all(account: Account) -> None:
    first, second = account.channel(), account.channel()
    account.do("settings", quotas={"stream": 1})
    queue = account.listen()
    account.connect(first)
    assert account.door("POST", "broadcasts", channelArn=first)[0] == 409
    assert account.door("POST", "broadcasts", channelArn=second)[0] == 429
    breach = account.received(queue, 2)[1]
    check_envelope(breach, "IVS Limit Breach", [])
    assert breach["detail"] == {
        "limit_name": "Concurrent Broadcasts",
        "limit_value": 1,
        "exceeded_by": 1,
        "limit_unit": "active streams",
    }


def test_publishing_on_a_stage(account: Account) -> None:
    stage = account.stage()
    queue = account.listen()
    account.join(stage, userId="eve", publish=False)
    participant, session = account.join(stage, userId="ada")
    account.do(f"stages/participants/{participant}/unpublish", stageArn=stage)
    account.do(f"stages/participants/{participant}/publish", stageArn=stage)
    account.realtime.delete_stage(arn=stage)
    events = account.received(queue, 4)
    assert names(events) == ["Participant Published", "Participant Unpublished"] * 2
    for event in events:
        check_envelope(event, STAGE, [stage])
        detail = event["detail"]
        assert detail == {
            "session_id": session,
            "event_name": detail["event_name"],
            "event_time": event["time"],
            "event_time_precise": detail["event_time_precise"],
            "user_id": "ada",
            "participant_id": participant,
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", detail["event_time_precise"])
    sessions = account.realtime.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert [(one["sessionId"], "endTime" in one) for one in sessions] == [(session, True)]


def test_the_last_to_leave_ends_the_session(account: Account) -> None:
    stage = account.stage()
    ada, session = account.join(stage, userId="ada")
    bob, _ = account.join(stage, userId="bob")
    account.do(f"stages/participants/{ada}/leave", stageArn=stage)
    assert account.realtime.get_stage(arn=stage)["stage"]["activeSessionId"] == session
    account.realtime.disconnect_participant(stageArn=stage, participantId=bob)
    assert account.realtime.get_stage(arn=stage)["stage"]["activeSessionId"] == ""
    assert account.join(stage, userId="ada")[1] != session


@pytest.mark.parametrize("state", ["DISABLED", "ENABLED"])
def test_a_rule_decides(account: Account, state: str) -> None:
    queue = account.listen()
    account.events.put_rule(Name="all", EventPattern='{"detail-type": ["IVS Stream State Change"]}', State=state)
    stream = account.go_live(account.channel(recordingConfigurationArn=account.recording()))
    account.do(f"broadcasts/{stream}/end")
    count = 4 if state == "ENABLED" else 0
    assert len(account.received(queue, count)) == count
    assert "Messages" not in account.sqs.receive_message(QueueUrl=queue)


def test_a_lost_queue_does_not_stop_the_broadcast(account: Account) -> None:
    queue = account.listen()
    account.sqs.delete_queue(QueueUrl=queue)
    channel = account.channel()
    account.go_live(channel)
    assert account.ivs.get_stream(channelArn=channel)["stream"]["state"] == "LIVE"


def test_an_input_transformer_shapes_the_message(account: Account) -> None:
    queue = account.listen()
    target = account.events.list_targets_by_rule(Rule="all")["Targets"][0]
    shaped = {"InputPathsMap": {"name": "$.detail.event_name"}, "InputTemplate": '{"seen": "<name>"}'}
    account.events.put_targets(Rule="all", Targets=[{**target, "InputTransformer": shaped}])
    account.connect(account.channel())
    assert account.received(queue, 1) == [{"seen": "Session Created"}]
