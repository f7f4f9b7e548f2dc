import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx
import pytest

from ivs.client import open_aws
from ivs.delivery import ensure_delivery
from server.embedded.child import Child
from server.runtime import Resolved
from tests.client import Client
from tests.conftest import ROOT, Emulator, StartServer
from tests.killing import Second
from tests.registration import fresh_database
from tests.subscriptions.queues import make_queue
from tests.truth.amazon import Amazon
from tests.truth.histories import WINDOW
from tests.truth.world import SECRET, World


@pytest.fixture(scope="module")
async def amazon_apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    """An account of our own, because its clock stands."""
    folder = tmp_path_factory.mktemp("emulator")
    child = Child("AWS emulator", [sys.executable, "-m", "ivs.emulator"], folder / "log", "emulator ready ", cwd=ROOT)
    emulator = Emulator(await asyncio.to_thread(child.start))
    await emulator.control("settings", {"silenceSeconds": 1e9})
    yield emulator
    await emulator.aclose()
    await asyncio.to_thread(child.stop)


@pytest.fixture(scope="module")
async def world(
    amazon_apart: Emulator, resolved: Resolved, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(resolved.database_url))
        aws_config = replace(resolved.aws, endpoint_url=amazon_apart.url, read_timeout=5.0)
        aws = await stack.enter_async_context(open_aws(aws_config))
        caught, queue = await ensure_delivery(aws), await make_queue(aws)
        made = await aws.call(
            "ivs",
            "create_recording_configuration",
            once=True,
            name="truth",
            destinationConfiguration={"s3": {"bucketName": "recordings"}},
            recordingReconnectWindowSeconds=int(WINDOW.total_seconds()),
        )
        here = Resolved(url, url, resolved.secret_keys, aws_config, queue.url, made["recordingConfiguration"]["arn"])
        settings = {"events_visibility_seconds": 2, "events_consumers": 2, "reconcile_grace_seconds": 0.0}
        running = await stack.enter_async_context(
            start_server(
                resolved=here,
                reconcile_seconds=0.1,
                reconcile_stages_seconds=0.1,
                reconcile_recordings_seconds=0.1,
                events_https_secrets=(SECRET,),
                recordings_interval_seconds=0.1,
                **settings,
            )
        )
        second = Second(tmp_path_factory.mktemp("second"), here, **settings, aws_read_timeout_seconds=5)
        second.starts()
        stack.push_async_callback(second.aclose)
        client = Client(running.url)
        stack.push_async_callback(client.aclose)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=running.url, verify=False))  # noqa: S501
        yield World(running, second, Amazon(amazon_apart, aws, caught), queue, client, http)
