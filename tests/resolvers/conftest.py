from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from server.runtime import Resolved
from tests.conftest import Emulator
from tests.registration import fresh_database


@pytest.fixture
async def here(resolved: Resolved, database_url: str, emulator: Emulator) -> AsyncIterator[Resolved]:
    """A database of its own, an impatient SDK, and an emulator without faults."""
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    async with fresh_database(database_url) as url:
        yield replace(resolved, database_url=url, bus_url=url, aws=replace(resolved.aws, read_timeout=0.5))
    await emulator.lift_faults()
