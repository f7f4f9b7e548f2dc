"""The type of a channel is the one that Amazon has: of a new one, of one that is found again, of none."""

from dataclasses import replace
from typing import Any

import pytest

from server.runtime import Resolved
from subscriptions.lost import renew_lost
from tests.client import Client
from tests.conftest import Emulator, StartServer
from tests.registration import Registry, open_registry

TYPE = "{ viewer { channel { provisioning isPartner broadcast { type } } } }"


async def shown(registry: Registry, token: str) -> tuple[str, bool, str | None]:
    channel = (await registry.client.data(TYPE, token=token))["viewer"]["channel"]
    return channel["provisioning"], channel["isPartner"], channel["broadcast"]["type"]


@pytest.mark.parametrize("settings", [{}, {"channel_type": "BASIC"}, {"channel_type": "ADVANCED_SD"}])
async def test_a_new_channel_is_of_the_configured_type(
    here: Resolved, start_server: StartServer, settings: dict[str, Any]
) -> None:
    async with (
        start_server(resolved=here, worker=False, **settings) as running,
        open_registry(running.url, here.database_url, here.aws) as registry,
    ):
        person = await registry.register()
        expected = settings.get("channel_type", "STANDARD")
        assert await shown(registry, person.token) == ("READY", False, expected)
        await registry.has_exactly_one_of_each(person)


async def test_a_channel_that_a_retry_finds_keeps_its_type(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    impatient = replace(here, aws=replace(here.aws, max_attempts=1))
    async with (
        start_server(resolved=impatient, worker=False) as running,
        open_registry(running.url, here.database_url, here.aws) as registry,
    ):
        await emulator.fault("CreateChannel", "drop-after")
        person = await registry.register()
        assert await shown(registry, person.token) == ("PENDING", False, None)
        (arn,) = (await registry.owned(person.id))["channel"]
        # As by a process with other settings.
        await registry.aws.call("ivs", "update_channel", arn=arn, type="ADVANCED_SD")
        await registry.leases_end()
        running.runtime.worker.start()
        await registry.ready(person)
        assert await shown(registry, person.token) == ("READY", False, "ADVANCED_SD")
        await registry.has_exactly_one_of_each(person)


async def test_a_channel_that_is_lost_has_none_until_it_is_made_anew(here: Resolved, start_server: StartServer) -> None:
    async with (
        start_server(resolved=here, worker=False, channel_type="BASIC") as running,
        open_registry(running.url, here.database_url, here.aws) as registry,
    ):
        person = await registry.register()
        (arn,) = (await registry.owned(person.id))["channel"]
        await registry.aws.call("ivs", "delete_channel", arn=arn)
        assert await renew_lost(registry.sessions, registry.aws) == 1
        assert await shown(registry, person.token) == ("PENDING", False, None)
        async with start_server(resolved=here) as other:
            there = Registry(Client(other.url), registry.sessions, registry.aws)
            await there.ready(person)
            await there.has_exactly_one_of_each(person)
            # Of the settings that hold now.
            assert await shown(there, person.token) == ("READY", False, "STANDARD")
            await there.client.aclose()
