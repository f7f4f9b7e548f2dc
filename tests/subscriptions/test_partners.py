"""Partners: followers enough make one, once, as soon as Amazon can, and never while the channel is live."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text

from server.runtime import Resolved
from tests.accounts import metric, sql
from tests.cases import few
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.owners import FOLLOW, UNFOLLOW, Owner
from tests.registration import READY, open_registry
from tests.waiting import eventually

SEEN = "query Seen($id: ID!) { channel(by: { id: $id }) { isPartner } }"
WATCH = "subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { isPartner } } }"
ADVANCED = ("ADVANCED_HD", "HIGHER_BANDWIDTH_DELIVERY")
OUTCOME = 'streamcat_chores_total{kind="PARTNER",outcome="%s"}'


@dataclass(frozen=True)
class Star:
    """An owner whose channel two others are about to follow."""

    owner: Owner
    fans: tuple[Owner, Owner]
    running: Running
    emulator: Emulator

    async def followed(self) -> None:
        for fan in self.fans:
            # Who follows is not told before Amazon has been.
            assert (await fan.done(FOLLOW, channelId=self.owner.id))["isPartner"] is False

    async def partner(self) -> bool:
        found = await self.owner.client.data(SEEN, {"id": self.owner.id})
        return bool(found["channel"]["isPartner"])

    async def type(self) -> tuple[str, str]:
        """Type and preset on Amazon."""
        found = (await self.running.runtime.aws.call("ivs", "get_channel", arn=self.owner.arn))["channel"]
        return found["type"], found["preset"]

    async def calls(self) -> list[str | None]:
        return [call["error"] for call in await self.emulator.calls("UpdateChannel")]

    async def outcome(self, word: str, before: float = 0.0) -> None:
        async def counted() -> bool:
            return await metric(self.running.url, OUTCOME % word) > before

        await eventually(counted, f"a try ends with {word}")


@asynccontextmanager
async def star(start_server: StartServer, here: Resolved, emulator: Emulator, **settings: Any) -> AsyncIterator[Star]:
    chosen = {"partner_followers": 2, "provision_first_pause_seconds": 0.2, **settings}
    impatient = replace(here, aws=replace(here.aws, read_timeout=0.5, max_attempts=1))
    async with start_server(resolved=impatient, **chosen) as running:
        client = Client(running.url)
        owner, one, two = [await Owner.register(client, running.runtime) for _ in range(3)]
        yield Star(owner, (one, two), running, emulator)
        await client.aclose()


async def test_followers_enough_make_a_partner_for_good(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with star(start_server, here, emulator) as one:
        first, second = one.fans
        await first.done(FOLLOW, channelId=one.owner.id)
        assert await one.owner.chores() == []
        assert await one.owner.shown_type() == "STANDARD"
        async with open_socket(one.running.url) as socket:
            await socket.subscribe("1", WATCH, {"id": one.owner.id})
            assert (await socket.next("1"))["channelChanged"]["channel"] == {"isPartner": False}
            await second.done(FOLLOW, channelId=one.owner.id)
            assert (await socket.next("1"))["channelChanged"]["channel"] == {"isPartner": True}
        assert await one.type() == ADVANCED
        assert await one.owner.shown_type() == "ADVANCED_HD"
        assert await one.owner.idle()
        for fan in one.fans:
            assert (await fan.done(UNFOLLOW, channelId=one.owner.id))["isPartner"] is True
        assert (await first.done(FOLLOW, channelId=one.owner.id))["isPartner"] is True
        assert (await second.done(FOLLOW, channelId=one.owner.id))["isPartner"] is True
        assert await one.owner.idle()
        assert await one.calls() == [None]


async def test_nothing_is_asked_of_amazon_while_the_channel_is_live(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with star(start_server, here, emulator) as one:
        before = await metric(one.running.url, OUTCOME % "waiting")
        await one.owner.goes_live()
        await one.followed()
        await one.outcome("waiting", before)
        assert await one.owner.chores() == [("PARTNER", 0, None)]
        # Unfollowing meanwhile changes nothing: it had them.
        await one.fans[0].done(UNFOLLOW, channelId=one.owner.id)
        # On to another stream is not offline.
        await one.owner.goes_live("two")
        assert await one.calls() == []
        assert not await one.partner()
        await one.owner.happens(one.owner.event("Stream End", await one.owner.now(), "two"))
        # At once, and not when the wait would have been over.
        await eventually(one.partner, "it is a partner", 10)
        assert await one.type() == ADVANCED
        assert await one.calls() == [None]


async def test_an_encoder_that_is_connected_and_not_live_is_waited_for(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with star(start_server, here, emulator) as one:
        before = await metric(one.running.url, OUTCOME % "ConflictException")
        stream = (await emulator.control("broadcasts", {"channelArn": one.owner.arn}))["streamId"]
        await one.followed()
        await one.outcome("ConflictException", before)
        assert [(kind, error) for kind, _, error in await one.owner.chores()] == [("PARTNER", "ConflictException")]
        assert not await one.partner()
        await emulator.control(f"broadcasts/{stream}/end")
        await eventually(one.partner, "it is a partner")
        assert await one.type() == ADVANCED


@pytest.mark.parametrize("kind", few(["timeout-after"], ["throttle", "error", "timeout", "drop-after", "late"]))
async def test_a_fault_is_got_over(here: Resolved, start_server: StartServer, emulator: Emulator, kind: str) -> None:
    async with star(start_server, here, emulator) as one:
        await emulator.fault("UpdateChannel", kind, seconds=1.5)
        await one.followed()
        await eventually(one.partner, "it is a partner")
        assert await one.type() == ADVANCED
        assert await one.owner.idle()
        assert len(await one.calls()) == 2


async def test_a_lower_number_makes_partners_of_those_who_have_it(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with star(start_server, here, emulator, partner_followers=3) as one:
        await one.followed()
        await one.running.runtime.services.chores.sweep()
        assert await one.owner.idle()
        lower = replace(here, aws=replace(here.aws, read_timeout=0.5))
        async with start_server(resolved=lower, partner_followers=2):
            await eventually(one.partner, "it is a partner")
        assert [await fan.idle() for fan in one.fans] == [True, True]
        assert await one.type() == ADVANCED
        # Nor does a higher one take it back.
        async with start_server(resolved=lower, partner_followers=50) as higher:
            await higher.runtime.services.chores.sweep()
        assert await one.partner()


async def test_a_channel_that_is_not_ready_is_found_later(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with star(start_server, here, emulator) as one:
        await emulator.fault("CreateChannel", "error", code="AccessDeniedException")
        async with open_registry(one.running.url, here.database_url, here.aws) as registry:
            person = await registry.register()
            channel_id = person.payload["user"]["channel"]["id"]
            for fan in one.fans:
                await fan.done(FOLLOW, channelId=channel_id)
            chores = one.running.runtime.services.chores
            assert await chores.sweep() == 0
            assert await registry.provision(person) | READY == READY
            await registry.ready(person)
            assert await chores.sweep() == 1
            assert await chores.sweep() == 0
            late = replace(one, owner=replace(one.owner, user=replace(one.owner.user, channel_id=channel_id)))
            await eventually(late.partner, "it is a partner")


@pytest.mark.soak
async def test_any_number_is_found_at_once(here: Resolved, start_server: StartServer) -> None:
    async with start_server(resolved=here, worker=False, partner_followers=5) as running:
        await sql(running.runtime, _USERS)
        await sql(running.runtime, _CHANNELS)
        chores = running.runtime.services.chores
        # Several processes sweep at once; what somebody has locked for deletion is left out.
        async with running.runtime.services.sessions() as session, session.begin():
            await session.execute(text("SELECT id FROM channels WHERE name = 'many-1' FOR UPDATE"))
            found = [0, 0]
            while any(more := await asyncio.gather(chores.sweep(), chores.sweep())):
                found = [one + other for one, other in zip(found, more, strict=True)]
            ((kept,),) = await sql(running.runtime, "SELECT count(*) FROM chores")
            assert kept == 10_000 - 1
            assert sum(found) >= kept
        assert await chores.sweep() == 1


async def test_a_type_that_takes_no_preset(here: Resolved, start_server: StartServer, emulator: Emulator) -> None:
    async with star(start_server, here, emulator, partner_channel_type="BASIC") as one:
        await one.followed()
        await eventually(one.partner, "it is a partner")
        assert await one.type() == ("BASIC", "")
        assert await one.owner.shown_type() == "BASIC"


async def test_a_deleted_channel_makes_no_trouble(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    # No second try may be on its way when the channel goes.
    async with star(start_server, here, emulator, partner_followers=1, provision_first_pause_seconds=60.0) as one:
        before = await metric(one.running.url, OUTCOME % "gone")
        late = await emulator.control("faults", {"operation": "UpdateChannel", "kind": "late", "seconds": 300})
        await one.fans[0].done(FOLLOW, channelId=one.owner.id)
        await one.outcome("ReadTimeoutError", 0)
        await sql(one.running.runtime, "DELETE FROM users WHERE username = :name", name=one.owner.user.username)
        await emulator.lift_fault(late)
        assert await one.owner.chores() == []
        assert await metric(one.running.url, OUTCOME % "gone") == before


_USERS = """
INSERT INTO users (id, username, password_hash)
SELECT gen_random_uuid(), 'many-' || number, '-' FROM generate_series(1, 10000) AS number
"""
_CHANNELS = """
INSERT INTO channels
 (id, user_id, name, title, arn, playback_url, ingest_endpoint, type, provisioning, provision_attempts,
  follower_count)
SELECT gen_random_uuid(), id, username, 'title', 'arn:' || id, 'x.invalid', 'x.invalid', 'STANDARD', 'READY', 1, 5
FROM users
"""
