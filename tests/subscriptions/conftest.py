from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ivs.client import Aws, open_aws
from server.runtime import Resolved
from tests.conftest import Emulator
from tests.registration import fresh_database
from tests.subscriptions.queues import Queue, make_queue


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
