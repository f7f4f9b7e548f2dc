"""The process is killed between any two steps of making partners: all of them are partners afterwards, once each."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from models import Channel, Pace
from models.engine import Sessions
from server.runtime import Resolved
from tests.accounts import sql
from tests.client import Client
from tests.conftest import Emulator, StartServer
from tests.killing import calls, kill, lock_waiters, serve
from tests.owners import FOLLOW, Owner
from tests.registration import open_sessions
from tests.waiting import eventually

# As many as a worker has in hand at once, and one more.
HELD = 8
CHORES = "SELECT attempts FROM chores JOIN channels ON channels.id = channel_id ORDER BY name"


class Killed:
    """A server that is held in one step of one promotion after the other, until it is killed."""

    def __init__(self, fan: Owner, stars: Iterator[Owner], emulator: Emulator, sessions: Sessions) -> None:
        self.fan = fan
        self.emulator = emulator
        self._stars = stars
        self._sessions = sessions
        self._waiters = 0
        self._calls = 0

    async def in_the_call(self, kind: str) -> None:
        """AWS has the request and does not answer."""
        await self.emulator.fault("UpdateChannel", kind, seconds=300)
        await self._followed()
        await self._called()

    async def before_the_store(self, locks: AsyncExitStack) -> None:
        """AWS has answered; the row does not say so yet."""
        held = await self.emulator.control("faults", {"operation": "UpdateChannel", "kind": "late", "seconds": 300})
        star = await self._followed()
        await self._called()
        await self._lock(locks, select(Channel.id).where(Channel.id == star.key))
        await self.emulator.lift_fault(held)
        await self._wait(1, "storing the type waits for the lock")

    async def before_the_call(self, locks: AsyncExitStack, count: int) -> None:
        """The chores are taken up; AWS knows nothing yet."""
        await self._lock(locks, select(Pace.id).where(Pace.key == "aws:ivs.update_channel"))
        for _ in range(count):
            await self._followed()
        await self._wait(count, "the calls wait for their turn")

    async def before_the_try(self) -> None:
        """The chore is committed, and no worker has room for it."""
        await self._followed()

    async def before_the_commit(self, locks: AsyncExitStack) -> "asyncio.Task[Owner]":
        """What makes a partner is not committed."""
        star = next(self._stars)
        await self._lock(locks, select(Channel.id).where(Channel.id == star.key))
        answer = asyncio.create_task(self._followed(star))
        await self._wait(1, "the follow waits for the lock")
        return answer

    async def _followed(self, star: Owner | None = None) -> Owner:
        star = star or next(self._stars)
        shown = await self.fan.done(FOLLOW, channelId=star.id)
        assert shown == {"followerCount": 1, "viewerIsFollowing": True, "isPartner": False}
        return star

    async def _called(self) -> None:
        self._calls += 1

        async def reached() -> bool:
            return await calls(self.emulator, "UpdateChannel") == self._calls

        await eventually(reached, "AWS has the call")

    async def _lock(self, locks: AsyncExitStack, rows: "select[tuple[object]]") -> None:
        session = await locks.enter_async_context(self._sessions())
        await session.begin()
        assert (await session.execute(rows.with_for_update())).first() is not None

    async def _wait(self, more: int, what: str) -> None:
        self._waiters += more

        async def reached() -> bool:
            return await lock_waiters(self._sessions) == self._waiters

        await eventually(reached, what)


@pytest.mark.soak
async def test_killed_in_every_step_of_a_promotion(
    here: Resolved, start_server: StartServer, emulator: Emulator, tmp_path: Path
) -> None:
    chosen = {"partner_followers": 1}
    async with (
        start_server(resolved=here, worker=False, **chosen) as running,
        open_sessions(here.database_url) as sessions,
    ):
        client = Client(running.url)
        fan, *stars = [await Owner.register(client, running.runtime) for _ in range(1 + HELD + 2)]
        stars.sort(key=lambda star: star.user.username)
        keys = [await star.only_key() for star in stars]
        await emulator.control("calls/clear")
        async with serve(tmp_path, here, **chosen) as (url, program), AsyncExitStack() as locks:
            held = Client(url)
            killed = Killed(Owner(held, running.runtime, fan.user, fan.arn), iter(stars), emulator, sessions)
            kinds = ("late", "timeout", "timeout-after")
            for kind in kinds:
                await killed.in_the_call(kind)
            await killed.before_the_store(locks)
            await killed.before_the_call(locks, HELD - len(kinds) - 1)
            await killed.before_the_try()
            unanswered = await killed.before_the_commit(locks)
            await kill(program)
            with pytest.raises(httpx.TransportError):
                await unanswered
            await held.aclose()
        await emulator.lift_faults()
        *promoted, last = stars
        # Each of them is still to be done; one has not been tried at all.
        assert [attempts for (attempts,) in await sql(running.runtime, CHORES)] == [1] * HELD + [0]
        assert [await star.shown_type() for star in stars] == ["STANDARD"] * len(stars)
        await sql(running.runtime, "UPDATE chores SET due_at = now()")
        async with serve(tmp_path, here, **chosen) as (url, _):
            for star in promoted:
                await eventually(star.idle, "the promotion is done")
            assert await last.idle()
            again = Client(url)
            follower = Owner(again, running.runtime, fan.user, fan.arn)
            shown = await follower.done(FOLLOW, channelId=last.id)
            assert shown == {"followerCount": 1, "viewerIsFollowing": True, "isPartner": False}
            await eventually(last.idle, "the last one is done")
            await again.aclose()
        for star, key in zip(stars, keys, strict=True):
            channel = (await running.runtime.aws.call("ivs", "get_channel", arn=star.arn))["channel"]
            assert (channel["type"], channel["preset"]) == ("ADVANCED_HD", "HIGHER_BANDWIDTH_DELIVERY")
            assert await star.shown_type() == "ADVANCED_HD"
            assert await star.only_key() == key
            made = [call for call in await emulator.calls("UpdateChannel") if call["params"]["arn"] == star.arn]
            assert 1 <= len(made) <= 2
        partners = "SELECT count(*), count(*) FILTER (WHERE is_partner) FROM channels WHERE follower_count = 1"
        assert await sql(running.runtime, partners) == [(len(stars), len(stars))]
        for operation in ("CreateChannel", "DeleteChannel", "CreateStreamKey", "DeleteStreamKey"):
            assert await calls(emulator, operation) == 0
        await client.aclose()
