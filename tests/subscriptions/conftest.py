from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ivs.client import Aws, open_aws
from server.runtime import Resolved
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.owners import Owner
from tests.registration import fresh_database
from tests.subscriptions.comparing import Stage
from tests.subscriptions.outages import Around, open_around
from tests.subscriptions.queues import Queue, make_queue
from tests.subscriptions.redis_server import Redis


@pytest.fixture(scope="session")
async def aws(resolved: Resolved) -> AsyncIterator[Aws]:
    """The emulated account, as an operator's own program would reach it."""
    async with open_aws(resolved.aws) as clients:
        yield clients


@pytest.fixture
async def queue(aws: Aws, emulator: Emulator) -> AsyncIterator[Queue]:
    """A queue of the test's own, so that no other server eats its messages; without faults before and after."""
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    yield await make_queue(aws)
    await emulator.lift_faults()


@pytest.fixture
async def here(resolved: Resolved, database_url: str, emulator: Emulator) -> AsyncIterator[Resolved]:
    """A database of its own, and an emulator without faults."""
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    async with fresh_database(database_url) as url:
        yield replace(resolved, database_url=url, bus_url=url)
    await emulator.lift_faults()


@pytest.fixture(scope="module")
async def deaf(start_server: StartServer, resolved: Resolved, aws: Aws) -> AsyncIterator[Running]:
    """A server that compares all the time, and whose queue no event ever reaches."""
    queue = await make_queue(aws)
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url, events_queue_url=queue.url)
        async with start_server(resolved=here, reconcile_seconds=0.1, reconcile_grace_seconds=0.0) as running:
            yield running


@pytest.fixture
async def stage(deaf: Running, emulator: Emulator) -> AsyncIterator[Stage]:
    await emulator.lift_faults()
    client = Client(deaf.url)
    yield Stage(await Owner.register(client, deaf.runtime), emulator)
    await emulator.lift_faults()
    await client.aclose()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
async def around(tmp_path: Path, resolved: Resolved) -> AsyncIterator[tuple[Around, Resolved]]:
    async with open_around(tmp_path, resolved) as found:
        yield found
