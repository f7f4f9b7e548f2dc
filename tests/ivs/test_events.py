"""Envelopes as Amazon documents them become values; nonsense becomes an error that says what is wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivs.events import (
    Event,
    EventMalformed,
    LimitEvent,
    OtherEvent,
    RecordingEvent,
    RecordingStatus,
    StageEvent,
    StageEventName,
    StreamEvent,
    StreamEventName,
    parse,
)

ARN = "arn:aws:ivs:us-east-1:123456789012:channel/AbCdEf1H2j3K"
STREAM = "st-1A2b3C4d5E6f7G8h9I0jKlM"
STATE, HEALTH = "IVS Stream State Change", "IVS Stream Health Change"
LIMIT, RECORDING = "IVS Limit Breach", "IVS Recording State Change"
RECORDED = {
    "channel_name": "",
    "stream_id": STREAM,
    "recording_status": "Recording Start",
    "recording_status_reason": "",
    "recording_s3_bucket_name": "bucket",
    "recording_s3_key_prefix": "ivs/v1/123456789012/AbCdEf1H2j3K/2026/6/23/20/12/j8Z9O91ndcVs",
    "recording_duration_ms": 0,
    "recording_session_id": "a6RfV23ES97iyfoQ",
    "recording_session_stream_ids": [STREAM],
}
BREACH = {"limit_name": "Concurrent Viewers", "limit_value": 15000, "exceeded_by": 1, "limit_unit": "viewers"}


def envelope(**changes: Any) -> dict[str, Any]:
    whole = {
        "version": "0",
        "id": "01234567-0123-0123-0123-012345678901",
        "detail-type": STATE,
        "source": "aws.ivs",
        "account": "123456789012",
        "time": "2026-06-23T20:12:36Z",
        "region": "us-east-1",
        "resources": [ARN],
        "detail": {"event_name": "Stream Start", "channel_name": "", "stream_id": STREAM},
    }
    return {**whole, **{name.replace("_", "-"): value for name, value in changes.items()}}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in envelope().items() if name not in names}


def parsed(**changes: Any) -> Event:
    return parse(json.dumps(envelope(**changes)))


def about_stream(event_name: str, **more: Any) -> dict[str, Any]:
    return {"event_name": event_name, "channel_name": "ada", "stream_id": STREAM, **more}


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        (STATE, "Session Created", {}),
        (STATE, "Stream Start", {}),
        (STATE, "Stream End", {}),
        (STATE, "Session Ended", {}),
        (STATE, "Session Ended", {"code": "MultitrackInputNotAllowed"}),
        (STATE, "Stream Failure", {"reason": "Transcode capacity exceeded. Please try again."}),
        (STATE, "Stream Takeover", {}),
        (STATE, "Stream Takeover Failure", {"code": "StreamTakeoverInvalidPriority"}),
        (HEALTH, "Starvation Start", {}),
        (HEALTH, "Starvation End", {}),
    ],
)
def test_what_happens_to_streams_is_typed(kind: str, name: str, more: dict[str, str]) -> None:
    body = envelope(detail_type=kind, detail=about_stream(name, **more))

    event = parse(json.dumps(body).encode())

    assert isinstance(event, StreamEvent)
    assert event.name is StreamEventName(name)
    assert (event.channel_arn, event.stream_id) == (ARN, STREAM)
    assert event.at == datetime(2026, 6, 23, 20, 12, 36, tzinfo=UTC)
    assert (event.code, event.reason) == (more.get("code"), more.get("reason"))
    assert event.body == body
    assert event.envelope.id == "01234567-0123-0123-0123-012345678901"


STAGE = "arn:aws:ivs:us-east-1:123456789012:stage/AbCdEf1H2j3K"


def on_stage(name: str, **more: Any) -> dict[str, Any]:
    participant = {"session_id": "st-1A2b3C4d5E6f7", "event_name": name, "user_id": "ada", "participant_id": "xyz-1"}
    detail = {key: value for key, value in {**participant, **more}.items() if value is not None}
    return {"detail_type": "IVS Stage Update", "resources": [STAGE], "detail": detail}


@pytest.mark.parametrize(
    ("name", "more", "at"),
    [
        ("Participant Published", {}, "2026-06-23T20:12:36+00:00"),
        ("Participant Published", {"event_time": "2026-06-23T20:12:35Z"}, "2026-06-23T20:12:35+00:00"),
        (
            "Participant Unpublished",
            {"event_time": "2026-06-23T20:12:35.123456789Z"},
            "2026-06-23T20:12:35.123457+00:00",
        ),
        (
            "Participant Unpublished",
            {"event_time": "2026-06-23T20:12:35Z", "event_time_precise": "2026-06-23T20:12:35.250000000Z"},
            "2026-06-23T20:12:35.250000+00:00",
        ),
        ("Participant Published", {"event_time": "soon", "event_time_precise": 7}, "2026-06-23T20:12:36+00:00"),
        ("Participant Published", {"replica": True, "source_stage_arn": STAGE}, "2026-06-23T20:12:36+00:00"),
        ("Participant Publish Error", {"error_code": "QUOTA_EXCEEDED"}, "2026-06-23T20:12:36+00:00"),
    ],
)
def test_what_happens_on_stages_is_typed(name: str, more: dict[str, Any], at: str) -> None:
    event = parsed(**on_stage(name, **more))

    assert isinstance(event, StageEvent)
    assert event.name is StageEventName(name)
    assert (event.stage_arn, event.session_id, event.participant_id) == (STAGE, "st-1A2b3C4d5E6f7", "xyz-1")
    assert (event.user_id, event.error_code, event.at.isoformat()) == ("ada", more.get("error_code"), at)


@pytest.mark.parametrize("user_id", [None, "", 7])
def test_participants_may_be_nobody(user_id: Any) -> None:
    event = parsed(**on_stage("Participant Published", user_id=user_id))

    assert isinstance(event, StageEvent)
    assert event.user_id is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"resources": []}, "'IVS Stage Update' without the stage's ARN in resources"),
        ({"detail": {"session_id": None}}, "'IVS Stage Update' with detail.session_id = None"),
        ({"detail": {"participant_id": "x" * 129}}, "'IVS Stage Update' with detail.participant_id = 'xx"),
    ],
)
def test_a_stage_event_says_where_and_who(changes: dict[str, Any], why: str) -> None:
    whole = on_stage("Participant Published")
    with pytest.raises(EventMalformed) as caught:
        parsed(**{**whole, **changes, "detail": {**whole["detail"], **changes.get("detail", {})}})

    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "resource"),
    [
        ({"detail_type": LIMIT, "detail": {**BREACH, "limit_name": None}}, ARN),
        ({"detail_type": RECORDING, "detail": RECORDED | {"recording_status": "Recording Paused"}}, ARN),
        ({"detail_type": RECORDING, "detail": {"event_name": "Recording Start"}}, ARN),
        ({"detail_type": "IVS Ad Break State Change", "detail": about_stream("Stream Start")}, ARN),
        ({"detail_type": "IVS Stage Update", "detail": {"event_name": "Recording Start"}}, ARN),
        ({"detail_type": "IVS Participant Recording State Change", "detail": {"event_name": "Token Exchanged"}}, ARN),
        ({"detail_type": "IVS Composition State Change", "detail": {"event_name": "Session Ended"}}, ARN),
        ({"detail_type": "IVS Publisher Recording State Change", "detail": {"event_name": "Recording Start"}}, ARN),
        ({"detail_type": "AWS API Call via CloudTrail", "resources": [], "detail": {"eventName": "X"}}, None),
        # Tomorrow's names, and what has our detail-type but is not from IVS.
        ({"detail": about_stream("Stream Paused")}, ARN),
        ({"detail": {"event_name": None}}, ARN),
        ({"detail": {"event_name": ["Stream Start"]}}, ARN),
        ({"detail": {}}, ARN),
        ({"source": "my.rehearsal"}, ARN),
    ],
)
def test_other_kinds_are_values(changes: dict[str, Any], resource: str | None) -> None:
    event = parsed(**changes)

    assert isinstance(event, OtherEvent)
    assert event.envelope.resource == resource
    assert event.body == envelope(**changes)


@pytest.mark.parametrize("status", list(RecordingStatus))
def test_what_happens_to_recordings_is_typed(status: RecordingStatus) -> None:
    streams = ["st-first", STREAM]
    detail = {**RECORDED, "recording_status": status, "recording_duration_ms": 99_370_264, "novelty": 1}
    body = envelope(detail_type=RECORDING, detail=detail | {"recording_session_stream_ids": streams})

    event = parse(json.dumps(body))

    assert isinstance(event, RecordingEvent)
    assert (event.status, event.channel_arn, event.stream_id) == (status, ARN, STREAM)
    assert (event.session_id, event.stream_ids) == ("a6RfV23ES97iyfoQ", tuple(streams))
    assert (event.bucket, event.prefix) == ("bucket", RECORDED["recording_s3_key_prefix"])
    assert (event.duration_ms, event.reason, event.body) == (99_370_264, None, body)
    assert event.at == datetime(2026, 6, 23, 20, 12, 36, tzinfo=UTC)


def test_a_recording_may_lack_what_the_guide_leaves_out() -> None:
    detail = {
        "channel_name": "",
        "stream_id": STREAM,
        "recording_status": "Recording Start Failure",
        "recording_status_reason": "ValidationException",
        "recording_s3_bucket_name": "bucket",
        "recording_s3_key_prefix": "",
        "recording_duration_ms": 0,
    }
    event = parsed(detail_type=RECORDING, detail=detail)
    assert isinstance(event, RecordingEvent)
    assert (event.session_id, event.stream_ids, event.prefix) == (None, (STREAM,), None)
    assert (event.reason, event.duration_ms) == ("ValidationException", 0)


@pytest.mark.parametrize(
    ("changes", "streams", "duration"),
    [
        ({"recording_session_stream_ids": [7, "", " st-b "], "recording_duration_ms": "long"}, ("st-b", STREAM), 0),
        ({"recording_session_stream_ids": "st-a", "recording_duration_ms": -5}, (STREAM,), 0),
        (
            {"recording_session_stream_ids": [STREAM, "st-b"], "recording_duration_ms": 1e12},
            (STREAM, "st-b"),
            2**31 - 1,
        ),
    ],
)
def test_a_recording_s_oddities_are_no_error(changes: dict[str, Any], streams: tuple[str, ...], duration: int) -> None:
    event = parsed(detail_type=RECORDING, detail={**RECORDED, **changes})
    assert isinstance(event, RecordingEvent)
    assert (event.stream_ids, event.duration_ms) == (streams, duration)


def test_limits_are_a_channel_s_or_the_account_s() -> None:
    account = parsed(detail_type=LIMIT, resources=[], detail=BREACH)
    assert isinstance(account, LimitEvent)
    assert (account.limit, account.channel_arn, account.stream_id) == ("Concurrent Viewers", None, None)
    detail = {**BREACH, "limit_name": "Ingest Bitrate", "channel_name": "", "stream_id": STREAM}
    channel = parsed(detail_type=LIMIT, detail=detail)
    assert isinstance(channel, LimitEvent)
    assert (channel.limit, channel.channel_arn, channel.stream_id) == ("Ingest Bitrate", ARN, STREAM)


def test_fields_that_nobody_reads_may_be_absent_or_new() -> None:
    body = {**without("version", "account", "region"), "replay-name": "again", "novelty": {"a": [1, None, 2.5]}}

    event = parse(json.dumps(body))

    assert isinstance(event, StreamEvent)
    assert event.body == body


@pytest.mark.parametrize("name", ["resources", "detail"])
def test_events_of_the_account_need_neither_resources_nor_detail(name: str) -> None:
    body = {**without(name), "detail-type": LIMIT}
    assert isinstance(parse(json.dumps(body)), OtherEvent)


def test_stray_blanks_of_published_samples_are_cut() -> None:
    detail = {**about_stream("Stream End"), "stream_id": f" {STREAM} ", "code": "", "reason": 7}

    event = parsed(resources=[f"{ARN} ", "arn:second"], detail=detail)

    assert isinstance(event, StreamEvent)
    assert (event.channel_arn, event.stream_id, event.code, event.reason) == (ARN, STREAM, None, None)


@pytest.mark.parametrize(
    ("time", "utc"),
    [
        ("2026-06-23T20:12:36", "2026-06-23T20:12:36+00:00"),
        ("2026-06-23T22:12:36+02:00", "2026-06-23T20:12:36+00:00"),
        ("2026-06-23T20:12:36.123456789Z", "2026-06-23T20:12:36.123457+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_times_become_utc(time: str, utc: str) -> None:
    assert parsed(time=time).envelope.time.isoformat() == utc


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert parsed(account="\\u0000").body["account"] == "\\u0000"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "not an EventBridge envelope: Input data was truncated"),
        ("hello", "not an EventBridge envelope: JSON is malformed: invalid character (byte 0)"),
        (json.dumps(envelope()) + "x", "not an EventBridge envelope: JSON is malformed: trailing characters"),
        (b'{"id": "\xff"}', "not an EventBridge envelope: 'utf-8' codec can't decode byte 0xff"),
        (json.dumps(envelope(account="\ud800")), "unexpected end of escaped utf-16 surrogate pair"),
        ("[]", "Expected `object`, got `array`"),
        ('"text"', "Expected `object`, got `str`"),
        ("null", "Expected `object`, got `null`"),
        (json.dumps(without("id")), "Object missing required field `id`"),
        (json.dumps(without("time")), "Object missing required field `time`"),
        (json.dumps(without("detail-type")), "Object missing required field `detail-type`"),
        (json.dumps(without("source")), "Object missing required field `source`"),
        (json.dumps(envelope(id=7)), "Expected `str`, got `int` - at `$.id`"),
        (json.dumps(envelope(id="")), "the envelope's id must have 1 to 128 characters"),
        (json.dumps(envelope(id="x" * 129)), "the envelope's id must have 1 to 128 characters"),
        (json.dumps(envelope(time="yesterday")), "Invalid RFC3339 encoded datetime - at `$.time`"),
        (json.dumps(envelope(time=1_750_000_000)), "Expected `datetime`, got `int` - at `$.time`"),
        (json.dumps(envelope(time="0001-01-01T00:00:00+14:00")), "lies outside the calendar"),
        (json.dumps(envelope(time="9999-12-31T23:59:59-14:00")), "lies outside the calendar"),
        (json.dumps(envelope(detail=None)), "Expected `object`, got `null` - at `$.detail`"),
        (json.dumps(envelope(resources=[None])), "Expected `str`, got `null` - at `$.resources[0]`"),
        (json.dumps(envelope(resources=["x" * 513])), "the first of resources must have at most 512 characters"),
        (json.dumps(envelope(resources=[])), "'IVS Stream State Change' without the channel's ARN in resources"),
        (json.dumps(envelope(resources=[" "])), "'IVS Stream State Change' without the channel's ARN in resources"),
        (
            json.dumps(envelope(detail={"event_name": "Stream End"})),
            "'IVS Stream State Change' with detail.stream_id = None",
        ),
        (json.dumps(envelope(detail=about_stream("Stream End") | {"stream_id": 5})), "detail.stream_id = 5"),
        (json.dumps(envelope(detail=about_stream("Stream End") | {"stream_id": " "})), "detail.stream_id = ' '"),
        (json.dumps(envelope(detail=about_stream("Stream End") | {"stream_id": "x" * 513})), "detail.stream_id = 'xx"),
        (
            json.dumps(envelope(detail_type=RECORDING, detail=RECORDED, resources=[])),
            "'IVS Recording State Change' without the channel's ARN in resources",
        ),
        (
            json.dumps(envelope(detail_type=RECORDING, detail={**RECORDED, "stream_id": None})),
            "'IVS Recording State Change' with detail.stream_id = None",
        ),
        (json.dumps(envelope(account="\0")), "text with a NUL character, which PostgreSQL cannot keep"),
        (json.dumps(envelope(detail={"\0": 1})), "text with a NUL character, which PostgreSQL cannot keep"),
        (json.dumps(envelope(account="\\\0")), "text with a NUL character, which PostgreSQL cannot keep"),
        ('{"x": ' + "[" * 40 + "]" * 40 + "," + json.dumps(envelope())[1:], "nested more than 32 levels deep"),
        ('{"x": ' * 40 + "1" + "}" * 39 + "," + json.dumps(envelope())[1:], "nested more than 32 levels deep"),
        ('{"x":' * 100_000, "maximum recursion depth exceeded"),
        ('{"x": 1e400}', "Number out of range"),
        ('{"x": ' + "9" * 6000 + "}", "Integer value out of range"),
    ],
)
def test_nonsense_says_what_is_wrong(body: bytes | str, why: str) -> None:
    with pytest.raises(EventMalformed) as caught:
        parse(body)

    assert why in str(caught.value)
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None, derandomize=True, print_blob=True)
@given(
    body=st.text()
    | st.binary()
    | JSON.map(json.dumps)
    | st.dictionaries(st.sampled_from(sorted(envelope())), JSON).map(lambda changes: json.dumps(envelope() | changes))
)
def test_nothing_but_malformed_is_ever_raised(body: bytes | str) -> None:
    try:
        event = parse(body)
    except EventMalformed:
        return
    assert event.envelope.time.tzinfo is UTC
