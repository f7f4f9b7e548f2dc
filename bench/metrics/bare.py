"""What heartbeats are compared with: a bare handler on the same ASGI server, `python -m bench.metrics.bare PORT`.

It reads the same requests and copies the same rows, many requests by one commit, and knows of nothing else: no tokens,
no GraphQL, no streams, no limits, and a heartbeat that is sent twice is an error.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import uvicorn
import uvloop
from prometheus_client import Gauge

from models.base import uuid7
from subscriptions.group_commit import GroupCommit
from subscriptions.heartbeats import COLUMNS

ANSWER = b'{"data":{"metricsPublish":{"accepted":%d,"errors":[]}}}'
READINGS = {
    "browserName": "browser_name",
    "os": "os",
    "quality": "quality",
    "bitrate": "bitrate",
    "framerate": "framerate",
    "latencySeconds": "latency_seconds",
    "bufferSeconds": "buffer_seconds",
}


async def main(port: int) -> None:
    stream_id, owner_id = UUID(os.environ["STREAM_ID"]), UUID(os.environ["OWNER_ID"])
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=4)

    async def write(requests: Sequence[list[dict[str, Any]]]) -> list[int]:
        now = datetime.now(UTC)
        records = []
        for beats in requests:
            viewing_id = uuid7()
            for beat in beats:
                told = {READINGS[name]: value for name, value in beat.items() if name in READINGS}
                known = {"id": UUID(beat["id"]), "viewing_started_at": now, "viewing_id": viewing_id, "sent_at": now}
                row = {**told, **known, "stream_id": stream_id, "user_id": owner_id, "created_at": now}
                records.append(tuple(row.get(column) for column in COLUMNS))
        async with pool.acquire() as connection, connection.transaction():
            await connection.copy_records_to_table("metrics", records=records, columns=COLUMNS)
        return [len(beats) for beats in requests]

    gauge = Gauge("bare_waiting", "Heartbeats that wait")
    commits = GroupCommit(write, size=len, most=5000, blames=lambda _: False, gauge=gauge, delay=0.005)

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        heartbeats = msgspec.json.decode(body)["variables"]["input"]["heartbeats"]
        answer = ANSWER % await commits.submit(heartbeats)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    # The event loop of ours.
    uvloop.run(main(int(sys.argv[1])))
