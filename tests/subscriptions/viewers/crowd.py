"""The plan's viewers at the doors of two processes, either of which may stop answering."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import aiohttp

from tests.players import Player
from tests.reckoning import Sent
from tests.subscriptions.viewers.doors import Door
from tests.subscriptions.viewers.plan import Beat, Moment, Request


class Crowd:
    """Players, each at home at one of two doors; who gets no answer asks at the other, with the same heartbeats.

    Attributes:
        players: Who has begun to watch, by the viewer's number.
        doors: Where to ask; a process that is started anew has another one.
        sent: What was answered to be stored, by the heartbeat's id.
        answers: To how many requests each door has answered.
        unanswered: Requests that got no answer.
        may_retry: Until it is set, who got no answer waits.
    """

    def __init__(self, channel_id: str, doors: list[Door], at_once: int) -> None:
        self._channel_id = channel_id
        self._at_once = at_once
        self.players: dict[int, Player] = {}
        self._waiting: list[tuple[int, asyncio.Event]] = []
        self.doors = doors
        self.sent: dict[str, Sent] = {}
        self.answers = Counter[int]()
        self.unanswered = 0
        self.may_retry = asyncio.Event()
        self.may_retry.set()

    @property
    def stored(self) -> list[Sent]:
        """All that was answered to be stored."""
        return list(self.sent.values())

    async def send(self, moment: Moment, ended: datetime | None = None) -> None:
        """Send all requests of a moment; return when all are answered."""
        requests = iter(moment.requests)
        now = moment.at if ended is None else min(moment.at, ended)

        async def some() -> None:
            for request in requests:
                await self._send(request, now)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(some())

    async def answered(self, door: int, number: int) -> None:
        """Wait until the door has answered to so many more requests."""
        event = asyncio.Event()
        self._waiting.append((self.answers[door] + number, event))
        await event.wait()

    async def _send(self, request: Request, now: datetime) -> None:
        home = request.viewer % len(self.doors)
        player = self.players.get(request.viewer) or await self._begins(request.viewer, home)
        doors = [home] if request.way == "plainly" else [home, 1 - home]
        if request.way == "twice":
            await asyncio.gather(*(self._ask(player, request.beats, door, now) for door in doors))
        else:
            for door in doors:
                await self._ask(player, request.beats, door, now)

    async def _begins(self, viewer: int, door: int) -> Player:
        while True:
            try:
                player = await Player.start(self.doors[door], self._channel_id)
            except aiohttp.ClientError:
                door = await self._other(door)
            else:
                self.players[viewer] = player
                return player

    async def _ask(self, player: Player, beats: Sequence[Beat], door: int, now: datetime) -> None:
        while True:
            try:
                answer = await player.send(*(beat.variables for beat in beats), client=self.doors[door])
            except aiohttp.ClientError:
                door = await self._other(door)
            else:
                break
        assert answer == {"accepted": len(beats), "errors": []}
        self.answers[door] += 1
        for beat in beats:
            self.sent.setdefault(beat.id, beat.stored(now))
        for number, event in self._waiting:
            if self.answers[door] >= number:
                event.set()

    async def _other(self, door: int) -> int:
        self.unanswered += 1
        await self.may_retry.wait()
        return 1 - door
