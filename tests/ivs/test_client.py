"""The one way to AWS: what is repeated, what is not, and what each failure is called."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import replace
from typing import Any

import botocore.exceptions
import pytest
from prometheus_client import REGISTRY

from ivs.client import Aws, AwsConfig, Service, open_aws
from ivs.errors import AwsError, Retryable, Terminal, Throttled
from ivs.resources import Resource
from tests.ivs.account import REGION, Account
from tests.waiting import until

GETS: dict[Service, tuple[str, str, dict[str, str]]] = {
    "ivs": ("get_channel", "GetChannel", {"arn": f"arn:aws:ivs:{REGION}:123456789012:channel/none"}),
    "ivschat": ("get_room", "GetRoom", {"identifier": f"arn:aws:ivschat:{REGION}:123456789012:room/none"}),
    "ivs-realtime": ("get_stage", "GetStage", {"arn": f"arn:aws:ivs:{REGION}:123456789012:stage/none"}),
}
CREATES: dict[Service, tuple[str, str]] = {
    "ivs": ("create_channel", "CreateChannel"),
    "ivschat": ("create_room", "CreateRoom"),
    "ivs-realtime": ("create_stage", "CreateStage"),
}
LISTS: list[tuple[Service, str, str, str]] = [
    ("ivs", "ListChannels", "list_channels", "channels"),
    ("ivschat", "ListRooms", "list_rooms", "rooms"),
    ("ivs-realtime", "ListStages", "list_stages", "stages"),
]


def config(account: Account, **settings: Any) -> AwsConfig:
    return replace(AwsConfig(REGION, account.url, "test", "test", max_attempts=1), **settings)


def opened(account: Account, **settings: Any) -> AbstractAsyncContextManager[Aws]:
    return open_aws(config(account, **settings))


@pytest.fixture(scope="module")
async def aws(emulator_url: str) -> AsyncIterator[Aws]:
    """Clients that make one attempt; every opening costs a quarter of a second."""
    async with open_aws(AwsConfig(REGION, emulator_url, "test", "test", max_attempts=1)) as aws:
        yield aws


def outcomes(account: Account, operation: str) -> list[str | None]:
    return [call["error"] for call in account.door("GET", f"calls?operation={operation}")[1]["calls"]]


async def refused(aws: Aws, service: Service, operation: str, **parameters: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        await aws.call(service, operation, **parameters)
    return caught.value


@pytest.mark.parametrize("service", GETS)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "throttle"}, Throttled),
        ({"code": "InternalServerException"}, Retryable),
        ({"code": "ConflictException"}, Retryable),
        ({"code": "NeverHeardOf", "status": 503}, Retryable),
        ({"code": "AccessDeniedException"}, Terminal),
        ({"code": "ServiceQuotaExceededException", "status": 402}, Terminal),
        ({"code": "PendingVerification"}, Terminal),
        ({"code": "ValidationException"}, Terminal),
        ({"code": "NeverHeardOf", "status": 418}, Terminal),
    ],
)
async def test_what_aws_answers_is_translated(
    account: Account, aws: Aws, service: Service, fault: dict[str, Any], kind: type[AwsError]
) -> None:
    operation, name, parameters = GETS[service]
    account.do("faults", **{"kind": "error"} | fault, operation=name)
    error = await refused(aws, service, operation, **parameters)
    code = fault.get("code", "ThrottlingException")
    assert (type(error), error.code, error.operation) == (kind, code, f"{service}.{operation}")
    assert str(error).startswith(f"{service}.{operation}: {code}: ")
    assert not str(error).endswith(": ")
    assert isinstance(error.__cause__, botocore.exceptions.ClientError)


async def test_what_does_not_exist_and_what_is_offline_are_final(account: Account, aws: Aws) -> None:
    for service, (operation, _, parameters) in GETS.items():
        error = await refused(aws, service, operation, **parameters)
        assert (type(error), error.code) == (Terminal, "ResourceNotFoundException")
    error = await refused(aws, "ivs", "get_stream", channelArn=account.channel())
    assert (type(error), error.code) == (Terminal, "ChannelNotBroadcasting")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "timeout", "seconds": 30}, "ReadTimeoutError"),
        ({"kind": "timeout-after", "seconds": 30}, "ReadTimeoutError"),
        ({"kind": "late", "seconds": 30}, "ReadTimeoutError"),
        ({"kind": "drop-after"}, "ConnectionClosedError"),
    ],
)
async def test_no_answer_is_worth_another_try_in_time(account: Account, fault: dict[str, Any], code: str) -> None:
    account.do("faults", operation="CreateRoom", **fault)
    began = time.monotonic()
    async with opened(account, read_timeout=0.3) as aws:
        error = await refused(aws, "ivschat", "create_room", name="r")
    assert time.monotonic() - began < 10
    assert (type(error), error.code, error.operation) == (Retryable, code, "ivschat.create_room")
    # What was held is done now, and not in another test's account.
    account.door("DELETE", "faults")

    def ended() -> bool:
        return all(call["status"] or call["error"] for call in account.door("GET", "calls")[1]["calls"])

    until(ended, "every call has ended")


async def test_nobody_there(account: Account) -> None:
    with socket.socket() as taken:
        # Bound but not listening: connections are refused for as long as it lives.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with opened(account, endpoint_url=url) as aws:
            error = await refused(aws, "ivs", "list_channels")
    assert (type(error), error.code) == (Retryable, "EndpointConnectionError")


async def test_a_connection_that_is_not_accepted_is_given_up(account: Account) -> None:
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # Linux leaves further connections without an answer once the queue of those not yet accepted is full.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        async with opened(account, endpoint_url=url, connect_timeout=0.3) as aws:
            error = await refused(aws, "ivs", "list_channels")
    assert time.monotonic() - began < 10
    assert (type(error), error.code) == (Retryable, "ConnectTimeoutError")


async def test_a_request_that_the_sdk_refuses_never_leaves(account: Account, aws: Aws) -> None:
    error = await refused(aws, "ivs", "get_channel", arn=7)
    assert (type(error), error.code) == (Terminal, "ParamValidation")
    assert outcomes(account, "GetChannel") == []


@pytest.mark.parametrize("service", CREATES)
@pytest.mark.parametrize("fault", ["drop-after", "throttle", "error"])
async def test_a_creation_is_never_repeated(account: Account, service: Service, fault: str) -> None:
    operation, name = CREATES[service]
    account.do("faults", operation=name, kind=fault)
    async with opened(account, max_attempts=5) as aws:
        assert isinstance(await refused(aws, service, operation, once=True, name="one"), Retryable)
    assert len(outcomes(account, name)) == 1


async def test_a_safe_call_is_repeated_as_often_as_configured(account: Account) -> None:
    arn = account.channel(name="c")
    account.do("faults", operation="GetChannel", kind="throttle")
    account.do("faults", operation="GetChannel", kind="drop-after")
    async with opened(account, max_attempts=3) as aws:
        assert (await aws.call("ivs", "get_channel", arn=arn))["channel"]["name"] == "c"
    assert outcomes(account, "GetChannel") == ["ThrottlingException", "no-answer", None]
    account.do("faults", operation="ListChannels", kind="throttle", times=None)
    async with opened(account, max_attempts=2) as aws:
        assert (await refused(aws, "ivs", "list_channels")).code == "ThrottlingException"
    assert outcomes(account, "ListChannels") == ["ThrottlingException"] * 2


async def test_every_attempt_waits_for_its_turn(account: Account) -> None:
    turns: list[tuple[str, int]] = []

    async def pace(operation: str) -> None:
        turns.append((operation, len(outcomes(account, "ListChannels"))))

    account.do("faults", operation="ListChannels", kind="throttle")
    async with open_aws(config(account, max_attempts=2), pace) as aws:
        await aws.call("ivs", "list_channels")
        await aws.call("ivs-realtime", "create_stage", once=True, name="s")
    assert turns == [("ivs.list_channels", 0), ("ivs.list_channels", 1), ("ivs-realtime.create_stage", 2)]


async def test_a_turn_that_never_comes_is_no_failure_of_aws(account: Account) -> None:
    async def pace(_operation: str) -> None:
        raise ArithmeticError

    async with open_aws(config(account), pace) as aws:
        with pytest.raises(ArithmeticError):
            await aws.call("ivs", "list_channels")
    assert outcomes(account, "ListChannels") == []


@pytest.mark.parametrize(("service", "name", "operation", "items"), LISTS)
@pytest.mark.parametrize(("count", "calls"), [(0, 1), (2, 1), (5, 3)])
async def test_pages_are_read_to_the_end(
    account: Account, aws: Aws, service: Service, name: str, operation: str, items: str, count: int, calls: int
) -> None:
    for number in range(count):
        await aws.call(service, CREATES[service][0], once=True, name=f"n{number}")
    listed = [item["name"] async for item in aws.pages(service, operation, items, maxResults=2)]
    assert listed == [f"n{number}" for number in range(count)]
    assert len(outcomes(account, name)) == calls


async def test_a_page_that_fails_ends_the_list_with_the_error(account: Account, aws: Aws) -> None:
    for number in range(3):
        account.room(name=f"r{number}")
    account.do("faults", operation="ListRooms", kind="throttle", skip=1)
    pages = aws.pages("ivschat", "list_rooms", "rooms", maxResults=2)
    assert [(await anext(pages))["name"] for _ in range(2)] == ["r0", "r1"]
    with pytest.raises(Retryable):
        await anext(pages)


async def test_a_long_poll_may_be_longer_than_an_answer(account: Account) -> None:
    queue = account.listen()
    async with opened(account, read_timeout=0.3) as aws:
        answer = await aws.call("sqs", "receive_message", QueueUrl=queue, WaitTimeSeconds=1)
    assert "Messages" not in answer


async def test_calls_are_counted_by_outcome(account: Account, aws: Aws) -> None:
    def counted(outcome: str) -> float:
        labels = {"operation": "ivs.list_channels", "outcome": outcome}
        return REGISTRY.get_sample_value("streamcat_aws_calls_total", labels) or 0

    before = counted("ok"), counted("ThrottlingException")
    account.do("faults", operation="ListChannels", kind="throttle")
    await refused(aws, "ivs", "list_channels")
    await aws.call("ivs", "list_channels")
    assert (counted("ok"), counted("ThrottlingException")) == (before[0] + 1, before[1] + 1)


def test_a_resource_shows_no_secret() -> None:
    resource = Resource("arn:1", "https://play", "ingest", "arn:key", "sk_secret")
    assert repr(resource) == "Resource('arn:1')"
