"""AWS clients, opened once per process, behind one `call` that translates every failure.

aioboto3 is named here and nowhere else, so that it can be replaced in one place.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aioboto3
import aiohttp
import botocore.exceptions
from aiobotocore.config import AioConfig
from botocore import xform_name
from prometheus_client import Counter

from ivs.errors import translate

Service = Literal["ivs", "ivschat", "ivs-realtime", "sqs", "events", "s3", "logs"]
SERVICES: tuple[Service, ...] = ("ivs", "ivschat", "ivs-realtime", "sqs", "events", "s3", "logs")

# At DEBUG it logs whole answers, and so stream keys and tokens.
logging.getLogger("botocore").setLevel(logging.INFO)

CALLS = Counter("streamcat_aws_calls_total", "Calls to AWS by operation and outcome", ["operation", "outcome"])


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """How to reach AWS. Times in seconds; `endpoint_url` and the keys are set only for the emulator."""

    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    connect_timeout: float = 2.0
    read_timeout: float = 5.0
    retry_mode: Literal["standard", "adaptive"] = "standard"
    max_attempts: int = 3
    max_pool_connections: int = 20


async def _unpaced(_operation: str) -> None:
    return None


class Aws:
    """All clients of a process. Calls are named by service and operation in botocore's snake case."""

    def __init__(self, clients: Mapping[str, Any], once: Mapping[str, Any]) -> None:
        self._clients = clients
        self._once = once

    async def call(self, service: Service, operation: str, *, once: bool = False, **parameters: Any) -> dict[str, Any]:
        """Call AWS and return its answer.

        With `once` the SDK never repeats the request by itself: a creation that was repeated after a time-out would
        make a second resource. Every attempt, the SDK's own too, waits for its turn under the account's rate first.

        Raises:
            Retryable: Throttling, faults of AWS, no answer.
            Terminal: Everything that would fail again.
        """
        client = (self._once if once else self._clients)[service]
        async with _translated(f"{service}.{operation}"):
            answer: dict[str, Any] = await getattr(client, operation)(**parameters)
        return answer

    async def content(self, service: Service, operation: str, *, most: int, **parameters: Any) -> bytes:
        """Call what answers with a stream of bytes; return at most `most` of them.

        Raises:
            Retryable: As `call`, and when the stream breaks off.
            Terminal: Everything that would fail again.
        """
        async with _translated(f"{service}.{operation}"):
            answer = await getattr(self._clients[service], operation)(**parameters)
            content = b""
            async with answer["Body"] as body:
                # One read gives what has arrived, not all that was asked for.
                while len(content) < most and (piece := await body.content.read(most - len(content))):
                    content += piece
        return content

    async def pages(self, service: Service, operation: str, items: str, **parameters: Any) -> AsyncIterator[Any]:
        """Yield every item of a list operation. botocore has no paginator for half of IVS's lists."""
        token: dict[str, Any] = {}
        while True:
            answer = await self.call(service, operation, **parameters, **token)
            for item in answer.get(items, []):
                yield item
            if not answer.get("nextToken"):
                return
            token = {"nextToken": answer["nextToken"]}


@asynccontextmanager
async def _translated(name: str) -> AsyncIterator[None]:
    """Count what the block's call to AWS came to, and raise its failure as ours."""
    try:
        yield
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, aiohttp.ClientError, OSError) as error:
        translated = translate(error, name)
        CALLS.labels(name, translated.code).inc()
        raise translated from error
    CALLS.labels(name, "ok").inc()


def _paced(service: Service, pace: Callable[[str], Awaitable[None]]) -> Callable[..., Any]:
    async def wait(operation_name: str, **_details: Any) -> None:
        await pace(f"{service}.{xform_name(operation_name)}")

    return wait


@asynccontextmanager
async def open_aws(config: AwsConfig, pace: Callable[[str], Awaitable[None]] = _unpaced) -> AsyncIterator[Aws]:
    """Open every client, close them at the end. `pace` is awaited with `service.operation` before each attempt."""
    session = aioboto3.Session(
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=config.secret_access_key,
        region_name=config.region,
    )
    async with AsyncExitStack() as stack:

        async def client(service: Service, attempts: int, read_timeout: float) -> Any:
            options = AioConfig(
                connect_timeout=config.connect_timeout,
                read_timeout=read_timeout,
                retries={"mode": config.retry_mode, "total_max_attempts": attempts},
                max_pool_connections=config.max_pool_connections,
                # Elsewhere than at Amazon no name is served for each bucket.
                s3={"addressing_style": "path" if config.endpoint_url else "auto"},
                user_agent_extra="streamcat-graphql",
            )
            opened = await stack.enter_async_context(
                session.client(service, endpoint_url=config.endpoint_url, config=options)
            )
            # First, so that the signature's time is that of the attempt.
            opened.meta.events.register_first("request-created", _paced(service, pace))
            return opened

        # A long poll answers after up to 20 seconds by design.
        patience = {"sqs": config.read_timeout + 20}
        clients: dict[str, Any] = {
            service: await client(service, config.max_attempts, patience.get(service, config.read_timeout))
            for service in SERVICES
        }
        once: dict[str, Any] = {
            service: await client(service, 1, config.read_timeout) for service in ("ivs", "ivschat", "ivs-realtime")
        }
        yield Aws(clients, once)
