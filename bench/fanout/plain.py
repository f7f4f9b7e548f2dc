"""A plain Strawberry subscription as its guide teaches it: `python -m bench.fanout.plain PORT`.

Strawberry's own Litestar controller, a generator per subscriber that waits for its own queue, and the change's state in
the notice, so that nothing is read.
"""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import strawberry
import uvicorn
import uvloop
from litestar import Litestar
from strawberry.litestar import make_graphql_controller

from bench.fanout.bare import WS
from bench.fanout.said import NOTICES, START

queues: defaultdict[str, set["asyncio.Queue[int]"]] = defaultdict(set)


def told(*notice: Any) -> None:
    """Hand a change to every subscriber."""
    node_id, _, number = notice[3].partition(" ")
    for queue in queues[node_id]:
        queue.put_nowait(int(number))


async def numbers(node_id: str) -> AsyncGenerator[int, None]:
    """Yield the present number, then each new one."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    queues[node_id].add(queue)
    try:
        yield START
        while True:
            yield await queue.get()
    finally:
        queues[node_id].discard(queue)


@strawberry.type
class Channel:
    id: strawberry.ID
    title: str
    is_live: bool


@strawberry.type
class ChannelChanged:
    channel: Channel


@strawberry.type
class ViewerCountChanged:
    viewer_count: int


@strawberry.type
class Query:
    ok: bool = True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def channel_changed(self, channel_id: strawberry.ID) -> AsyncGenerator[ChannelChanged, None]:
        async for number in numbers(channel_id):
            yield ChannelChanged(channel=Channel(id=channel_id, title=f"#{number}", is_live=True))

    @strawberry.subscription
    async def viewer_count_changed(self, channel_id: strawberry.ID) -> AsyncGenerator[ViewerCountChanged, None]:
        async for number in numbers(channel_id):
            yield ViewerCountChanged(viewer_count=number)


async def main(port: int) -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.add_listener(f"{NOTICES}plain", told)
    schema = strawberry.Schema(query=Query, subscription=Subscription)
    app = Litestar([make_graphql_controller(schema, path="/graphql")])
    config = uvicorn.Config(
        app,
        port=port,
        lifespan="off",
        ws=WS,
        ws_per_message_deflate=False,
        access_log=False,
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
