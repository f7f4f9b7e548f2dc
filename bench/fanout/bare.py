"""The limit: the finished bytes to every socket, and nothing else: `python -m bench.fanout.bare PORT`.

It speaks just enough of graphql-transport-ws for the same clients to connect. A change's frame is made once, with an id
that is as long as the clients' own, and no document is looked at.
"""

import asyncio
import gc
import json
import os
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import uvicorn
import uvloop

from bench.fanout.said import CHANNEL, NOTICES, START, VIEWERS, Scenario

# The websocket implementation that ours has chosen; see server/serving.py.
WS = "websockets-sansio"

Send = Callable[[Any], Awaitable[None]]


async def main(port: int) -> None:
    sockets: defaultdict[str, dict[Send, str]] = defaultdict(dict)
    spoken: dict[str, Scenario] = {}
    changes: asyncio.Queue[str] = asyncio.Queue()

    def frame(operation_id: str, node_id: str, number: int) -> dict[str, str]:
        data = spoken[node_id].data(node_id, number)
        message = {"id": operation_id, "type": "next", "payload": {"data": data}}
        return {"type": "websocket.send", "text": json.dumps(message, separators=(",", ":"))}

    async def broadcast() -> None:
        while True:
            node_id, _, number = (await changes.get()).partition(" ")
            listeners = sockets.get(node_id)
            if listeners:
                message = frame(next(iter(listeners.values())), node_id, int(number))
                for send in listeners:
                    await send(message)

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        while (event := await receive())["type"] == "websocket.receive":
            told = json.loads(event["text"])
            if told["type"] == "connection_init":
                await send({"type": "websocket.send", "text": '{"type":"connection_ack"}'})
            if told["type"] == "subscribe":
                asked = told["payload"]
                node_id = asked["variables"]["id"]
                spoken[node_id] = CHANNEL if asked["query"] == CHANNEL.query else VIEWERS
                sockets[node_id][send] = told["id"]
                await send(frame(told["id"], node_id, START))

    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.add_listener(f"{NOTICES}bare", lambda *notice: changes.put_nowait(notice[3]))
    broadcasting = asyncio.create_task(broadcast())
    gc.disable()
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
    broadcasting.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
