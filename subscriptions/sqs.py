"""The long-polling door: EventBridge rule -> SQS queue -> here.

A message is deleted only after its event is committed, so a worker may die at any point; what is not an event goes to
the dead-letter queue with the reason instead of coming back for ever.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ivs.client import Aws
from ivs.errors import AwsError
from ivs.events import Event, EventMalformed, parse
from models.engine import in_short, refuses_a_value
from subscriptions.ingest import EVENTS, Ingest

logger = logging.getLogger(__name__)

POLL_FAILURES = Counter("streamcat_queue_poll_failures_total", "Failed polls of the event queue", ["code"])

_DOOR = "sqs"
_BATCH = 10
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """Where events wait. `visibility_timeout` in seconds: how long a message in work is hidden from other workers."""

    queue_url: str
    wait_seconds: int = 20
    visibility_timeout: int = 60


class QueueConsumer:
    """Takes events from one queue until stopped."""

    def __init__(self, aws: Aws, ingest: Ingest, config: QueueConfig) -> None:
        self._aws = aws
        self._ingest = ingest
        self._config = config
        self._dead_letter_url: str | None = None
        self._stopping = asyncio.Event()
        self.last_poll_at: float | None = None
        """Monotonic time of the last poll that AWS answered."""

    def stop(self) -> None:
        """Finish the batch in hand, then end `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Poll and apply until stopped. Faults of AWS or the database pause it, with growing pauses; none ends it."""
        pause = 0.5
        database_failed = False
        while not self._stopping.is_set():
            try:
                if database_failed:
                    # A message that is received too often for nothing ends in the dead-letter queue.
                    await self._ingest.ask_database()
                    database_failed = False
                messages = await self._receive()
                if messages:
                    await self._handle(messages)
                pause = 0.5
            except AwsError as error:
                POLL_FAILURES.labels(error.code).inc()
                logger.warning("event queue: %s; next try in %.1f s", error, pause)
            except (SQLAlchemyError, OSError) as error:
                # Not deleted: the messages come back when their visibility time-out ends.
                database_failed = True
                POLL_FAILURES.labels(type(error).__name__).inc()
                logger.warning("event queue: events not applied: %s; next try in %.1f s", in_short(error), pause)
            except Exception as error:
                # Our own fault; but a consumer that ended here would be missed by nobody.
                POLL_FAILURES.labels(type(error).__name__).inc()
                logger.exception("event queue: events not applied; next try in %.1f s", pause)
            else:
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), timeout=pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _receive(self) -> list[dict[str, Any]]:
        poll = asyncio.ensure_future(
            self._aws.call(
                "sqs",
                "receive_message",
                QueueUrl=self._config.queue_url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=self._config.wait_seconds,
                VisibilityTimeout=self._config.visibility_timeout,
            )
        )
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({poll, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not poll.done():
                return []
            answer = poll.result()
        finally:
            for task in (poll, stopped):
                task.cancel()
            await asyncio.gather(poll, stopped, return_exceptions=True)
        self.last_poll_at = time.monotonic()
        return list(answer.get("Messages", []))

    async def _handle(self, messages: Sequence[dict[str, Any]]) -> None:
        good: list[tuple[dict[str, Any], Event]] = []
        bad: list[tuple[dict[str, Any], str]] = []
        for message in messages:
            try:
                good.append((message, parse(message["Body"])))
            except EventMalformed as error:
                bad.append((message, str(error)))
        async with self._kept_invisible(messages):
            try:
                await self._ingest.apply([event for _, event in good], door=_DOOR)
                applied = [message for message, _ in good]
            except DBAPIError as error:
                if not refuses_a_value(error):
                    raise
                # One event holds a value that PostgreSQL refuses; the others must not wait for it.
                applied = []
                for message, event in good:
                    refusal = await self._apply_alone(event)
                    if refusal is None:
                        applied.append(message)
                    else:
                        bad.append((message, refusal))
            await self._delete(applied)
            # Last: where no dead-letter queue takes them, the events beside them are applied all the same.
            for message, reason in bad:
                await self._bury(message, reason)

    async def _apply_alone(self, event: Event) -> str | None:
        """Apply one event; return why PostgreSQL can never keep it, if so."""
        try:
            await self._ingest.apply([event], door=_DOOR)
        except DBAPIError as error:
            if not refuses_a_value(error):
                raise
            return f"PostgreSQL refuses a value: {error.orig}"
        return None

    @asynccontextmanager
    async def _kept_invisible(self, messages: Sequence[dict[str, Any]]) -> AsyncIterator[None]:
        """Prolong the messages' invisibility while the block works, so that slow work is not done twice."""

        async def prolong() -> None:
            while True:
                await asyncio.sleep(self._config.visibility_timeout / 2)
                entries = [
                    {
                        "Id": str(index),
                        "ReceiptHandle": message["ReceiptHandle"],
                        "VisibilityTimeout": self._config.visibility_timeout,
                    }
                    for index, message in enumerate(messages)
                ]
                with contextlib.suppress(AwsError):
                    await self._aws.call(
                        "sqs", "change_message_visibility_batch", QueueUrl=self._config.queue_url, Entries=entries
                    )

        task = asyncio.create_task(prolong())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _delete(self, messages: Sequence[dict[str, Any]]) -> None:
        if not messages:
            return
        entries = [
            {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(messages)
        ]
        await self._aws.call("sqs", "delete_message_batch", QueueUrl=self._config.queue_url, Entries=entries)

    async def _bury(self, message: dict[str, Any], reason: str) -> None:
        """Move a message that can never be applied to the dead-letter queue, with the reason as an attribute."""
        if self._dead_letter_url is None:
            self._dead_letter_url = await self._find_dead_letter_url()
        EVENTS.labels(_DOOR, "MALFORMED").inc()
        logger.warning("event queue: message %s is not an event: %s", message.get("MessageId"), reason)
        await self._aws.call(
            "sqs",
            "send_message",
            QueueUrl=self._dead_letter_url,
            MessageBody=message["Body"],
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason[:1024]}},
        )
        await self._delete([message])

    async def _find_dead_letter_url(self) -> str:
        """Return the URL of the queue that the redrive policy names."""
        answer = await self._aws.call(
            "sqs", "get_queue_attributes", QueueUrl=self._config.queue_url, AttributeNames=["RedrivePolicy"]
        )
        policy = answer.get("Attributes", {}).get("RedrivePolicy")
        if policy is None:
            raise AwsError("NoRedrivePolicy", "sqs.get_queue_attributes", "the event queue has no dead-letter queue")
        arn: str = msgspec.json.decode(policy)["deadLetterTargetArn"]
        _, _, _, _, account, name = arn.split(":")
        answer = await self._aws.call("sqs", "get_queue_url", QueueName=name, QueueOwnerAWSAccountId=account)
        return str(answer["QueueUrl"])
