"""One emulated AWS account as tests use it: clients whose every answer is checked, and the control door."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.ivs.contract import check_answer, check_error

ROOT = Path(__file__).parents[2]
REGION = "eu-west-1"
IVS_SERVICES = ("ivs", "ivschat", "ivs-realtime")
DEADLINE = 10.0


def client(url: str, service: str, region: str = REGION, **options: Any) -> BaseClient:
    made = boto3.session.Session().client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, **options),
    )
    if service in IVS_SERVICES:
        made.meta.events.register("before-parse", _check)
    return made


def _check(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    status, body = response_dict["status_code"], response_dict["body"]
    if status < 400:
        check_answer(operation_model, status, body)
    else:
        check_error(operation_model, status, response_dict["headers"]["x-amzn-errortype"], body)


@contextmanager
def running_emulator(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Starts an emulator of our own and yields (its address, its process)."""
    command = [sys.executable, "-m", "ivs.emulator", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().removeprefix("emulator ready ").strip(), process
        finally:
            process.terminate()


class Account:
    """The clients and the control door of one emulator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[tuple[str, bool], BaseClient] = {}

    def client(self, service: str, *, checked: bool = True) -> BaseClient:
        """A client, made when first needed; unchecked ones leave all checks to the emulator."""
        if (service, checked) not in self._clients:
            self._clients[service, checked] = client(self.url, service, parameter_validation=checked)
        return self._clients[service, checked]

    ivs = property(lambda self: self.client("ivs"))
    chat = property(lambda self: self.client("ivschat"))
    realtime = property(lambda self: self.client("ivs-realtime"))
    sqs = property(lambda self: self.client("sqs"))
    events = property(lambda self: self.client("events"))

    def close(self) -> None:
        for one in self._clients.values():
            one.close()

    def door(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def do(self, path: str, **body: Any) -> Any:
        status, answer = self.door("POST", path, **body)
        assert status == 200, answer
        return answer

    def refused(self, service: str, operation: str, **params: Any) -> tuple[str, int]:
        """Error code and HTTP status of a call that must fail."""
        with pytest.raises(ClientError) as caught:
            self.call(service, operation, **params)
        answer = caught.value.response
        return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]

    def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        return invoke(self.client(service, checked=False), operation, **params)

    def call_code(self, service: str, operation: str, **params: Any) -> str | None:
        """Error code of a call that may fail, or None."""
        try:
            self.call(service, operation, **params)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return None

    def channel(self, **params: Any) -> str:
        return self.ivs.create_channel(**params)["channel"]["arn"]

    def recording(self, **params: Any) -> str:
        made = self.ivs.create_recording_configuration(
            destinationConfiguration={"s3": {"bucketName": "streamcat-recordings"}}, **params
        )
        return made["recordingConfiguration"]["arn"]

    def room(self, **params: Any) -> str:
        return self.chat.create_room(**params)["arn"]

    def logging(self) -> str:
        return self.chat.create_logging_configuration(
            destinationConfiguration={"cloudWatchLogs": {"logGroupName": "chat"}}
        )["arn"]

    def stage(self, **params: Any) -> str:
        return self.realtime.create_stage(**params)["stage"]["arn"]

    def connect(self, channel: str) -> str:
        return self.do("broadcasts", channelArn=channel)["streamId"]

    def go_live(self, channel: str) -> str:
        stream = self.connect(channel)
        self.do(f"broadcasts/{stream}/start")
        return stream

    def join(self, stage: str, **body: Any) -> tuple[str, str]:
        joined = self.do("stages/participants", stageArn=stage, **body)
        return joined["participantId"], joined["sessionId"]

    def listen(self) -> str:
        """A queue behind a rule for all IVS events; answers its address."""
        queue = self.sqs.create_queue(QueueName="events")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.ivs"]}))
        self.events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
        return queue

    def received(self, queue: str, count: int) -> list[dict[str, Any]]:
        """The next `count` envelopes, in the order of arrival."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + DEADLINE
        while len(found) < count:
            assert time.monotonic() < deadline, found
            answer = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found


def invoke(one: BaseClient, operation: str, **params: Any) -> dict[str, Any]:
    """Calls an operation by AWS's name for it."""
    methods = {name: method for method, name in one.meta.method_to_api_mapping.items()}
    return getattr(one, methods[operation])(**params)


def names(envelopes: list[dict[str, Any]]) -> list[str]:
    return [one["detail"].get("event_name") or one["detail"]["recording_status"] for one in envelopes]
