"""From the put of an event to the frame of a subscriber: queue, worker, ingest, notice, read, websocket.

A server and the emulated AWS, each a process of its own; one subscription of `channelChanged` per channel, on one
socket. Streams start and end on the channels in turn; each time runs from before the call that puts the event into the
queue until the frame with the new state is here. First one event after the other, each when the one before was seen;
then so many per second, whatever was seen.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import websockets

from bench.ingest.histories import DAWN, channels, event
from bench.served import ROOT, free_port, served
from ivs.client import Aws, AwsConfig, open_aws
from ivs.delivery import ensure_delivery
from models import migrate
from models.vault import generate_secret_key
from server.embedded.child import Child
from server.embedded.postgres import EmbeddedPostgres

WATCHED = 50
ALONE = 300
RATE, TOGETHER = 50, 600
WATCH = "subscription ($id: ID!) { channelChanged(channelId: $id) { channel { isLive } } }"

Frames = dict[str, "asyncio.Queue[tuple[bool, float]]"]


async def main() -> None:
    """Print the distributions."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        watched = (await channels(database_url))[:WATCHED]
        emulator = Child(
            "AWS emulator", [sys.executable, "-m", "ivs.emulator"], folder / "log", "emulator ready ", cwd=ROOT
        )
        url = emulator.start()
        stack.callback(emulator.stop)
        config = AwsConfig("us-east-1", url, "emulator", "emulator")
        async with open_aws(config) as aws:
            queue_url = await ensure_delivery(aws)
            port = free_port()
            environ = {
                "PORT": str(port),
                "DATABASE_URL": database_url,
                "SECRET_KEY": generate_secret_key(),
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "emulator",
                "AWS_SECRET_ACCESS_KEY": "emulator",
                "EVENTS_QUEUE_URL": queue_url,
                "RECORDINGS_CDN_URL": "https://recordings.example.invalid",
                # Amazon's lists know nothing of these streams.
                "RECONCILE_SECONDS": "0",
                "RECONCILE_STAGES_SECONDS": "0",
                "LOG_LEVEL": "error",
            }
            stack.enter_context(served(port, environ))
            await _measure(aws, queue_url, port, watched)


async def _measure(aws: Aws, queue_url: str, port: int, watched: Sequence[tuple[str, str]]) -> None:
    subprotocol = websockets.Subprotocol("graphql-transport-ws")
    async with websockets.connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[subprotocol]) as socket:
        await socket.send(json.dumps({"type": "connection_init"}))
        await socket.recv()
        frames: Frames = {}
        for arn, node_id in watched:
            payload = {"query": WATCH, "variables": {"id": node_id}}
            await socket.send(json.dumps({"id": arn, "type": "subscribe", "payload": payload}))
            frames[arn] = asyncio.Queue()
        reading = asyncio.create_task(_read(socket, frames))
        for queue in frames.values():
            await queue.get()
        put = _Putting(aws, queue_url, frames)
        print("Milliseconds from before the put of an event to its frame.")
        _print("one after the other", [await put.seen(number) for number in range(ALONE)])
        began = time.monotonic()
        tasks = []
        for number in range(ALONE, ALONE + TOGETHER):
            await asyncio.sleep(max(0.0, began + (number - ALONE) / RATE - time.monotonic()))
            tasks.append(asyncio.create_task(put.seen(number)))
        _print(f"{RATE} per second", await asyncio.gather(*tasks))
        reading.cancel()


class _Putting:
    """Puts events: on each channel in turn a stream starts, and the next time it ends."""

    def __init__(self, aws: Aws, queue_url: str, frames: Frames) -> None:
        self._aws = aws
        self._queue_url = queue_url
        self._frames = list(frames.items())
        self._locks = [asyncio.Lock() for _ in frames]

    async def seen(self, number: int) -> float:
        """Put an event; return after how many milliseconds its frame was here."""
        turn, place = divmod(number, len(self._frames))
        arn, queue = self._frames[place]
        name = "Stream End" if turn % 2 else "Stream Start"
        body = event(arn, f"st-{turn // 2}", "IVS Stream State Change", name, DAWN + timedelta(seconds=turn))
        # Of one channel only one is on its way, so that a frame is known by what it says.
        async with self._locks[place]:
            began = time.perf_counter()
            await self._aws.call("sqs", "send_message", QueueUrl=self._queue_url, MessageBody=body)
            while True:
                live, at = await asyncio.wait_for(queue.get(), 30)
                if live is (name == "Stream Start"):
                    return (at - began) * 1000


async def _read(socket: Any, frames: Frames) -> None:
    async for raw in socket:
        at = time.perf_counter()
        message = json.loads(raw)
        if message["type"] == "next":
            frames[message["id"]].put_nowait((message["payload"]["data"]["channelChanged"]["channel"]["isLive"], at))


def _print(load: str, times: Sequence[float]) -> None:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    found = {"least": min(times), "p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "most": max(times)}
    print(f"{load:20} {len(times)} events   " + "   ".join(f"{name} {time:.1f}" for name, time in found.items()))
