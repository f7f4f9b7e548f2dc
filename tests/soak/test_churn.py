"""A minute of streamers going live and offline, watched through two servers while the bus is cut again and again."""

import asyncio
import contextlib
import random
import time
from typing import Any

import pytest
import websockets
from sqlalchemy import text

from tests.client import Client, Socket, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.waiting import eventually

pytestmark = pytest.mark.soak

SECONDS = 60.0
STREAMERS = 8
WATCHERS_EACH = 12
# What is still in the queue at the end has to be applied before the truth can be known.
MOST_WAITING = 200
_WAITING = "ApproximateNumberOfMessages"
CHANGED = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { isLive currentStream { id state } } } }"
NOW = "query($id: ID!) { channel(by: { id: $id }) { isLive currentStream { id state } } }"


async def test_every_watcher_ends_on_the_truth(start_server: StartServer, emulator: Emulator) -> None:
    async with start_server() as first, start_server(worker=False) as second, contextlib.AsyncExitStack() as stack:
        client = Client(first.url)
        stack.push_async_callback(client.aclose)
        users = [await client.register() for _ in range(STREAMERS)]
        arns = await _arns(first, [user.username for user in users])
        seen: dict[tuple[str, int], Any] = {}
        watching = [
            asyncio.create_task(
                _watch(
                    await stack.enter_async_context(open_socket((first, second)[number % 2].url)),
                    user.channel_id,
                    seen,
                    number,
                )
            )
            for user in users
            for number in range(WATCHERS_EACH)
        ]
        stop = time.monotonic() + SECONDS
        cutter = asyncio.create_task(_cut_the_bus(first, stop))
        await asyncio.gather(*(_stream(first, emulator, arns[user.username], stop) for user in users))
        await cutter

        for user in users:
            truth = await _settled(client, user.channel_id)
            for number in range(WATCHERS_EACH):
                await _equals(seen, (user.channel_id, number), truth)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _arns(running: Running, usernames: list[str]) -> dict[str, str]:
    async with running.runtime.services.sessions() as session:
        rows = await session.execute(
            text("SELECT name, arn FROM channels WHERE name = ANY(:names)"), {"names": usernames}
        )
        return {row.name: row.arn for row in rows}


async def _watch(socket: Socket, channel_id: str, seen: dict[tuple[str, int], Any], number: int) -> None:
    await socket.subscribe("1", CHANGED, {"id": channel_id})
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            seen[channel_id, number] = (await socket.next("1", SECONDS * 2))["channelChanged"]["channel"]


async def _stream(running: Running, emulator: Emulator, arn: str, stop: float) -> None:
    dice = random.Random(arn)

    async def keeps_up() -> bool:
        attributes = {"QueueUrl": running.runtime.resolved.events_queue_url, "AttributeNames": [_WAITING]}
        answer = await running.runtime.aws.call("sqs", "get_queue_attributes", **attributes)
        return int(answer["Attributes"][_WAITING]) < MOST_WAITING

    while time.monotonic() < stop:
        await eventually(keeps_up, "the worker takes events as fast as they come")
        stream = (await emulator.control("broadcasts", {"channelArn": arn}))["streamId"]
        await emulator.control(f"broadcasts/{stream}/start")
        for state in ("STARVING", "HEALTHY") * dice.randrange(3):
            await emulator.control(f"broadcasts/{stream}/health", {"state": state})
        # Half of them end on air: the last state is then LIVE.
        if time.monotonic() < stop or dice.random() < 0.5:
            await emulator.control(f"broadcasts/{stream}/end")


async def _cut_the_bus(running: Running, stop: float) -> None:
    while time.monotonic() < stop:
        async with running.runtime.services.sessions() as session:
            await session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            )
        await asyncio.sleep(3)


async def _settled(client: Client, channel_id: str) -> Any:
    """Return the channel once the queue has nothing more to say about it."""
    last, since = None, time.monotonic()
    deadline = since + 60
    while time.monotonic() - since < 5:
        now = (await client.data(NOW, {"id": channel_id}))["channel"]
        if now != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < deadline, "the channel does not come to rest"
        await asyncio.sleep(0.1)
    return last


async def _equals(seen: dict[tuple[str, int], Any], key: tuple[str, int], truth: Any) -> None:
    deadline = time.monotonic() + 20
    while seen.get(key) != truth:
        assert time.monotonic() < deadline, (key, seen.get(key), truth)
        await asyncio.sleep(0.05)
