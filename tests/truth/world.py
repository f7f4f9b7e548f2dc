"""A server and a second worker that live through histories of Amazon's, and people who watch what becomes of them."""

import asyncio
import pprint
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import httpx
from hypothesis import note

from schema.base import parse_id
from tests.accounts import metric, sql
from tests.client import Client, Registered
from tests.conftest import Running
from tests.killing import Second
from tests.subscriptions.queues import Queue
from tests.truth.amazon import Amazon, Happened, Place
from tests.truth.histories import DAWN, Fate, History, Step
from tests.truth.post import Post, fated, spare
from tests.truth.reference import Truth, sensible
from tests.waiting import eventually
from tests.watching import Watcher, watching

SECRET = "s" * 40
# No history lasts so long.
MADE_UP = DAWN + timedelta(hours=12)
CHANNEL = """
isLive currentStream { ...Told } streams(first: 100) { nodes { ...Told } }
recordings(first: 100) { nodes { startedAt endedAt durationMs streams { startedAt } } }
"""
STAGE = "isLive participants { participantId publishedAt user { username } }"
TOLD = "fragment Told on Stream { state startedAt endedAt health }"
QUERY = f"""
query($channel: ID!, $stage: ID!) {{
  channel(by: {{ id: $channel }}) {{ {CHANNEL} }} stage(by: {{ id: $stage }}) {{ {STAGE} }}
}} {TOLD}
"""
CHANGED = f"subscription($id: ID!) {{ channelChanged(channelId: $id) {{ channel {{ {CHANNEL} }} }} }} {TOLD}"
STAGED = f"subscription($id: ID!) {{ stageChanged(stageId: $id) {{ stage {{ {STAGE} }} }} }}"
EVENTS = "subscription($id: ID!) { streamEvents(channelId: $id) { name occurredAt } }"
ROUNDS = 'streamcat_reconcile_rounds_total{outcome="ok",subject="%s"}'
ARNS = "{ viewer { channel { broadcast { arn } } } }"


@dataclass
class Owner:
    """A user, with channel and stage on Amazon, and who watches them."""

    user: Registered
    channel: Place
    stage: Place
    changed: Watcher
    staged: Watcher
    events: Watcher


@dataclass
class World:
    """Where histories happen."""

    running: Running
    second: Second
    amazon: Amazon
    queue: Queue
    client: Client
    http: httpx.AsyncClient

    @asynccontextmanager
    async def owners(self, number: int) -> AsyncIterator[list[Owner]]:
        async with AsyncExitStack() as stack:
            found = []
            for _ in range(number):
                user = await self.client.register()
                channel_arn = (await self.client.data(ARNS, token=user.token))["viewer"]["channel"]["broadcast"]["arn"]
                arn = "SELECT arn FROM stages WHERE name = :name"
                ((stage_arn,),) = await sql(self.running.runtime, arn, name=user.username)
                about = {"id": user.channel_id}
                watchers = [
                    await stack.enter_async_context(watching(self.running.url, CHANGED, about)),
                    await stack.enter_async_context(
                        watching(self.running.url, STAGED, {"id": user.payload["user"]["stage"]["id"]})
                    ),
                    await stack.enter_async_context(watching(self.running.url, EVENTS, about, user.token, frame=False)),
                ]
                key = parse_id(user.id, argument="id")[1].hex
                found.append(Owner(user, Place(channel_arn), Place(stage_arn, key), *watchers))
            yield found
            for owner in found:
                await self.amazon.ends(owner.channel)
                await self.amazon.ends(owner.stage)
            await self.amazon.goes_on()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text("World")

    async def live_through(self, history: History) -> None:
        """Let it all happen; afterwards everybody is shown what the reference says."""
        if history.kill_after is not None:
            await self.second.there()
        await self.amazon.goes_on()
        number = 1 + max(int(step.who.split()[1]) for phase in history.phases for step in phase)
        truth = Truth(channels=number, stages=number)
        async with self.owners(number) as owners:
            dice = random.Random(history.seed)
            posts: list[Post] = []
            waiting: list[Post] = []
            last, end = len(history.phases) - 1, max(at for _, at, _ in history.timed())
            steps = list(sensible(history, channels=number, stages=number))
            for phase in range(last + 1):
                for _, at, step in (one for one in steps if one[0] == phase):
                    truth.does(step, at)
                    now = fated(await self.amazon.lives(_place(owners, step), step, at), step.fates)
                    note(f"{phase} {at:%H:%M:%S} {step}: {', '.join(map(str, now))}")
                    waiting += now
                going = [post for post in waiting if not post.fate.late]
                waiting = [post for post in waiting if post.fate.late]
                if phase == last:
                    going += [*waiting, *fated(await self.amazon.clock(end), (Fate(),))]
                    for owner, channel in zip(owners, truth.channels, strict=True):
                        spared = spare(posts + going, channel, owner.channel)
                        note(f"arrives after all: {', '.join(map(str, spared)) or 'nothing'}")
                        going += [post for post in spared if post not in going]
                posts += going
                faults = (history.kill_after, history.deaf_after) if phase == last else (None, None)
                await self._deliver(_shuffled(going, dice), *faults)
            delivered = [post.event for post in posts if post.arrives]
            await self._settle()
            await self._shown(truth, owners, end)
            await self._told(owners, delivered)

    async def _deliver(self, sent: list[tuple[Happened, str]], kill_after: int | None, deaf_after: int | None) -> None:
        faults = [(kill_after, self.second.kill), (deaf_after, self._cut_bus)]
        begun = 0
        for after, strike in sorted(
            ((after, strike) for after, strike in faults if after is not None), key=itemgetter(0)
        ):
            await self._send(sent[begun:after])
            begun = max(begun, after)
            await strike()
        await self._send(sent[begun:])

    async def _send(self, sent: list[tuple[Happened, str]]) -> None:
        queued = [event.body for event, door in sent if door == "queue"]
        posted = [event.body for event, door in sent if door == "https"]
        await asyncio.gather(self._queue(queued), self._post(posted))

    async def _cut_bus(self) -> None:
        listening = "datname = current_database() AND query LIKE 'LISTEN%'"
        await sql(self.running.runtime, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}")  # noqa: S608

    async def _queue(self, bodies: list[str]) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            await self.queue.aws.call("sqs", "send_message_batch", QueueUrl=self.queue.url, Entries=entries)

    async def _post(self, bodies: list[str]) -> None:
        for body in bodies:
            answer = await self.http.post("/events", content=body, headers={"x-events-secret": SECRET})
            assert answer.status_code == 204, answer.text

    async def _settle(self) -> None:
        """Wait until every event is taken, and all has been compared with Amazon after that twice."""
        await eventually(self.queue.is_empty, "every event is taken", 60)
        for subject in ("streams", "stages"):
            await self._rounds(subject)
        # Time passes, after which somebody looks for recordings of which nobody told, or not of their end.
        await sql(self.running.runtime, "UPDATE recordings SET look_after = now() WHERE look_after IS NOT NULL")
        looks = "recording_looks = 0, recording_look_after = NULL WHERE recording_id IS NULL AND recording_looks > 0"
        await sql(self.running.runtime, f"UPDATE streams SET {looks}")  # noqa: S608 - our names
        await self._rounds("recordings")

    async def _rounds(self, subject: str) -> None:
        before = await metric(self.running.url, ROUNDS % subject)

        async def passed() -> bool:
            # The one that is running may have begun before.
            return await metric(self.running.url, ROUNDS % subject) >= before + 3

        await eventually(passed, f"three more comparisons of {subject}")

    async def _shown(self, truth: Truth, owners: list[Owner], end: datetime) -> None:
        for owner, channel, stage in zip(owners, truth.channels, truth.stages, strict=True):
            expected = {"channel": channel.shown(end), "stage": _named(stage.shown(), owner)}
            ids = {"channel": owner.user.channel_id, "stage": owner.user.payload["user"]["stage"]["id"]}
            # Looks at S3 are rounds of their own.
            await _becomes("shown", lambda ids=ids: self.client.data(QUERY, ids), expected)
            for watcher, part, name in (
                (owner.changed, "channel", "channelChanged"),
                (owner.staged, "stage", "stageChanged"),
            ):
                frame = {name: {part: expected[part]}}
                await _becomes(f"the newest frame of {name}", lambda watcher=watcher: _newest(watcher), frame)
            await _becomes("shown still", lambda ids=ids: self.client.data(QUERY, ids), expected, 0)

    async def _told(self, owners: list[Owner], delivered: list[Happened]) -> None:
        """Who watches the events has been told each once, or instead what was made up for it before it came."""
        for owner in owners:
            expected = {(one.name, one.at) for one in delivered if one["resources"] == [owner.channel.arn]}

            async def untold(owner: Owner = owner, expected: Any = expected) -> set[tuple[str, datetime]]:
                frames = [frame["streamEvents"] for frame in owner.events.frames]
                told = {(one["name"], datetime.fromisoformat(one["occurredAt"])) for one in frames}
                # The time of what is made up of the encoder's health is that of the look.
                looks = {name for name, at in told if at > MADE_UP and name.startswith("Starvation")}
                return {(name, at) for name, at in expected - told if name not in looks}

            await _becomes("events that were not told", untold, set())
            told = Counter(
                (frame["streamEvents"]["name"], frame["streamEvents"]["occurredAt"]) for frame in owner.events.frames
            )
            # Of a recording of several streams a look on S3 tells for each of them that has no other way to know.
            twice = {one: number for one, number in told.items() if number > 1 and not one[0].startswith("Recording")}
            # A subscription that is begun anew tells the newest again.
            if twice and owner.events.begun == 1:
                raise AssertionError(f"told more than once: {twice}")


async def _newest(watcher: Watcher) -> Any:
    return watcher.frames[-1]


async def _becomes(what: str, seen: Callable[[], Awaitable[Any]], expected: Any, seconds: float = 8.0) -> None:
    """Wait until what is seen is the expected; say the difference if it does not become so."""
    deadline = time.monotonic() + seconds
    while (found := await seen()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}:\n{_lines(found)}\nexpected:\n{_lines(expected)}")
        await asyncio.sleep(0.02)


def _lines(value: Any) -> str:
    return pprint.pformat(value, width=140)


def _place(owners: list[Owner], step: Step) -> Place:
    kind, _, number = step.who.partition(" ")
    return owners[int(number)].channel if kind == "channel" else owners[int(number)].stage


def _shuffled(posts: list[Post], dice: random.Random) -> list[tuple[Happened, str]]:
    copies = [(post.event, door) for post in posts for door in post.fate.doors]
    dice.shuffle(copies)
    return copies


def _named(shown: dict[str, Any], owner: Owner) -> dict[str, Any]:
    """Give participants the ids that Amazon has given them."""
    participants = [
        {
            "participantId": owner.stage.given[one["participantId"]],
            "publishedAt": one["publishedAt"],
            "user": {"username": owner.user.username} if one["isOwner"] else None,
        }
        for one in shown["participants"]
    ]
    return {**shown, "participants": participants}
