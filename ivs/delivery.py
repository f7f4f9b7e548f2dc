"""The way of events from Amazon IVS to us: an EventBridge rule, a queue, and a queue for what cannot be read."""

import msgspec

from ivs.client import Aws
from ivs.errors import AwsError

RULE = "streamcat-ivs"
QUEUE = "streamcat-events"
DEAD_LETTER_QUEUE = "streamcat-events-dead"
MAX_RECEIVES = 5
RETENTION_SECONDS = 14 * 24 * 3600


async def ensure_delivery(aws: Aws) -> str:
    """Create rule and queues where they are missing; return the URL of the event queue. Repeatable.

    Raises:
        AwsError: One of the calls failed; what was created stays and is found again.
    """
    _, dead_letter_arn = await _queue(aws, DEAD_LETTER_QUEUE, {"MessageRetentionPeriod": str(RETENTION_SECONDS)})
    redrive = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": str(MAX_RECEIVES)}
    attributes = {
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "RedrivePolicy": msgspec.json.encode(redrive).decode(),
    }
    url, arn = await _queue(aws, QUEUE, attributes)
    rule = await aws.call(
        "events",
        "put_rule",
        Name=RULE,
        EventPattern='{"source": ["aws.ivs"]}',
        State="ENABLED",
        Description="Events of Amazon IVS for StreamCat",
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule["RuleArn"]}},
            }
        ],
    }
    await aws.call(
        "sqs", "set_queue_attributes", QueueUrl=url, Attributes={"Policy": msgspec.json.encode(policy).decode()}
    )
    await aws.call("events", "put_targets", Rule=RULE, Targets=[{"Id": QUEUE, "Arn": arn}])
    return url


async def _queue(aws: Aws, name: str, attributes: dict[str, str]) -> tuple[str, str]:
    url = str((await aws.call("sqs", "create_queue", QueueName=name))["QueueUrl"])
    # Set apart from the creation: AWS refuses to "create" an existing queue with other attributes.
    await aws.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes=attributes)
    answer = await aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])
    return url, str(answer["Attributes"]["QueueArn"])


async def ensure_recording_configuration(aws: Aws, bucket: str) -> str:
    """Return the ARN of a recording configuration for `bucket`, made if there is none. For the emulator."""
    async for item in aws.pages("ivs", "list_recording_configurations", "recordingConfigurations"):
        if item.get("destinationConfiguration", {}).get("s3", {}).get("bucketName") == bucket:
            return str(item["arn"])
    answer = await aws.call(
        "ivs",
        "create_recording_configuration",
        once=True,
        name="streamcat",
        destinationConfiguration={"s3": {"bucketName": bucket}},
    )
    return str(answer["recordingConfiguration"]["arn"])


async def ensure_logging_configuration(aws: Aws, log_group: str) -> str:
    """Return the ARN of a logging configuration for `log_group`, both made if there are none. For the emulator."""
    try:
        await aws.call("logs", "create_log_group", logGroupName=log_group)
    except AwsError as error:
        if error.code != "ResourceAlreadyExistsException":
            raise
    destination = {"cloudWatchLogs": {"logGroupName": log_group}}
    async for item in aws.pages("ivschat", "list_logging_configurations", "loggingConfigurations"):
        if item.get("destinationConfiguration") == destination:
            return str(item["arn"])
    answer = await aws.call(
        "ivschat", "create_logging_configuration", once=True, name="streamcat", destinationConfiguration=destination
    )
    return str(answer["arn"])
