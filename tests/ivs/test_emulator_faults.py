"""Faults that tests order, AWS's request rates, and the record of calls."""

import time
from collections.abc import Iterator

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tests.ivs.account import Account, client


@pytest.fixture(scope="module")
def hasty(emulator_url: str) -> Iterator[BaseClient]:
    """A client that waits for answers for 0.2 seconds only."""
    made = client(emulator_url, "ivs", read_timeout=0.2)
    yield made
    made.close()


def channels(account: Account) -> int:
    return len(account.ivs.list_channels()["channels"])


def outcomes(account: Account, operation: str) -> list[tuple[int | None, str | None]]:
    calls = account.door("GET", f"calls?operation={operation}")[1]["calls"]
    return [(call["status"], call["error"]) for call in calls]


@pytest.mark.parametrize(
    ("service", "operation"), [("ivs", "CreateChannel"), ("ivschat", "CreateRoom"), ("ivs-realtime", "CreateStage")]
)
def test_throttle(account: Account, service: str, operation: str) -> None:
    account.do("faults", kind="throttle", operation=operation, times=2)
    for _ in range(2):
        assert account.refused(service, operation) == ("ThrottlingException", 429)
    account.call(service, operation)
    assert outcomes(account, operation) == [(429, "ThrottlingException")] * 2 + [(200, None)]


def test_error_with_the_models_status_or_any(account: Account) -> None:
    account.do("faults", kind="error", operation="CreateRoom", code="PendingVerification")
    account.do("faults", kind="error", operation="CreateRoom", code="Teapot", status=418)
    account.do("faults", kind="error", operation="CreateRoom")
    assert [account.refused("ivschat", "CreateRoom") for _ in range(3)] == [
        ("PendingVerification", 403),
        ("Teapot", 418),
        ("InternalServerException", 500),
    ]


def test_timeout_does_nothing(account: Account, hasty: BaseClient) -> None:
    account.do("faults", kind="timeout", operation="CreateChannel", seconds=30)
    with pytest.raises(ReadTimeoutError):
        hasty.create_channel()
    account.door("DELETE", "faults")
    assert channels(account) == 0
    assert outcomes(account, "CreateChannel") == [(None, "no-answer")]


def test_timeout_after_does_the_work(account: Account, hasty: BaseClient) -> None:
    account.do("faults", kind="timeout-after", operation="CreateChannel", seconds=30)
    with pytest.raises(ReadTimeoutError):
        hasty.create_channel(name="made")
    account.door("DELETE", "faults")
    assert [one["name"] for one in account.ivs.list_channels()["channels"]] == ["made"]


def test_late_answers_late(account: Account) -> None:
    account.do("faults", kind="late", operation="CreateChannel", seconds=0.3)
    began = time.monotonic()
    account.ivs.create_channel()
    assert time.monotonic() - began >= 0.3


def test_drop_after_does_the_work(account: Account) -> None:
    account.do("faults", kind="drop-after", operation="CreateChannel")
    with pytest.raises(ConnectionClosedError):
        account.ivs.create_channel()
    assert channels(account) == 1


def test_a_fault_can_be_aimed(account: Account) -> None:
    account.do("faults", kind="throttle", operation="CreateChannel", where={"name": "b"}, skip=1, times=None)
    account.ivs.create_channel(name="a")
    account.ivs.create_channel(name="b")
    for _ in range(3):
        assert account.refused("ivs", "CreateChannel", name="b") == ("ThrottlingException", 429)
    fault = account.door("GET", "faults")[1]["faults"][0]
    account.door("DELETE", f"faults/{fault['id']}")
    account.ivs.create_channel(name="b")


def test_a_fault_of_one_service_spares_the_other(account: Account) -> None:
    arn, stage = account.channel(tags={"k": "v"}), account.stage()
    account.do("faults", kind="throttle", service="ivs-realtime", operation="ListTagsForResource")
    assert account.ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"k": "v"}
    refused = account.refused("ivs-realtime", "ListTagsForResource", resourceArn=stage)
    assert refused == ("ThrottlingException", 429)


def test_motos_services_fail_too(account: Account) -> None:
    account.do("faults", kind="throttle", service="sqs", operation="CreateQueue")
    with pytest.raises(ClientError, match="ThrottlingException"):
        account.sqs.create_queue(QueueName="q")
    account.sqs.create_queue(QueueName="q")
    assert outcomes(account, "CreateQueue") == [(400, "ThrottlingException"), (200, None)]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "earthquake", "operation": "GetRoom"}, {"kind": "late"}, {"kind": "late", "operation": "x", "n": 1}],
)
def test_a_fault_that_cannot_be_meant_is_refused(account: Account, fault: dict[str, object]) -> None:
    status, answer = account.door("POST", "faults", **fault)
    assert (status, list(answer)) == (400, ["error"])


def test_request_rates_of_aws(account: Account) -> None:
    account.do("limits", enforce=True)
    for _ in range(5):
        account.ivs.create_channel()
    # A slow machine lets a few tokens come back meanwhile, but not for ever.
    answers = (account.call_code("ivs", "CreateChannel") for _ in range(200))
    assert "ThrottlingException" in answers
    account.chat.create_room()
    account.do("limits", enforce=False)
    for _ in range(20):
        account.ivs.create_channel()


def test_calls_are_recorded_with_their_members(account: Account) -> None:
    before = time.time()
    account.ivs.create_channel(name="n")
    account.call("ivschat", "CreateRoom", name="r")
    assert account.refused("ivs", "CreateChannel", name="a b")[1] == 400
    calls = account.door("GET", "calls")[1]["calls"]
    assert [(c["service"], c["operation"], c["params"], c["status"], c["error"]) for c in calls] == [
        ("ivs", "CreateChannel", {"name": "n"}, 200, None),
        ("ivschat", "CreateRoom", {"name": "r"}, 200, None),
        ("ivs", "CreateChannel", {"name": "a b"}, 400, "ValidationException"),
    ]
    assert all(before <= call["at"] <= time.time() for call in calls)
    account.do("calls/clear")
    assert account.door("GET", "calls?service=ivs")[1] == {"calls": []}


def test_tokens_expire_and_are_spent(account: Account) -> None:
    room, stage = account.room(), account.stage()
    chat = account.chat.create_chat_token(roomIdentifier=room, userId="ada", capabilities=["SEND_MESSAGE"])
    claims = account.do("tokens/check", token=chat["token"], use=True)["claims"]
    assert (claims["resource"], claims["user_id"], claims["capabilities"]) == (room, "ada", ["SEND_MESSAGE"])
    assert 50 < claims["exp"] - time.time() <= 60
    assert account.door("POST", "tokens/check", token=chat["token"])[0] == 403

    token = account.realtime.create_participant_token(stageArn=stage, userId="ada", capabilities=["SUBSCRIBE"])
    token = token["participantToken"]["token"]
    assert account.door("POST", "stages/participants", stageArn=stage, token=token)[0] == 403
    assert account.door("POST", "stages/participants", stageArn=stage, token=token, publish=False)[0] == 200
    assert account.door("POST", "tokens/check", token=token[:-1] + "x")[0] == 403
