"""Who makes the changes, a process of its own: `python -m bench.fanout.source`, told by lines of JSON what to do.

For ours a change is a change of rows and what the product tells of it, in one transaction; for the two others it is a
notice that carries the number itself, also by a transaction. A line asks for one change after the other, as fast as
the database takes them; the answer is when each began, by the clock that all processes share.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from bench.fanout.said import CHANNEL, NOTICES
from models import Channel
from models.engine import create_engine, create_sessions
from schema.base import global_id
from subscriptions.bus import Bus
from subscriptions.publish import Publisher

_TITLE = text("UPDATE channels SET title = :title WHERE id = ANY(:ids)")
_COUNT = text("UPDATE channels SET viewer_count = :number WHERE id = ANY(:ids)")
_TELL = text("SELECT pg_notify(:channel, id || ' ' || CAST(:number AS text)) FROM unnest(CAST(:ids AS text[])) AS id")


class Source:
    """Makes changes to the first channels by name."""

    def __init__(self, publisher: Publisher, ids: Sequence[Any]) -> None:
        self._publisher = publisher
        self._ids = ids
        self._node_ids = [global_id(Channel(id=one)) for one in ids]

    async def change(self, asked: dict[str, Any], number: int) -> float:
        """Change every channel of the scenario at once; return when that began."""
        few = 1 if asked["scenario"] == CHANNEL.name else len(self._ids)
        ids = self._ids[:few]
        began = time.perf_counter()
        async with self._publisher.transaction() as transaction:
            if asked["server"] != "ours":
                told = {"channel": NOTICES + asked["server"], "number": str(number), "ids": self._node_ids[:few]}
                await transaction.session.execute(_TELL, told)
            elif asked["scenario"] == CHANNEL.name:
                await transaction.session.execute(_TITLE, {"title": f"#{number}", "ids": ids})
                for one in ids:
                    transaction.channel_changed(one)
            else:
                await transaction.session.execute(_COUNT, {"number": number, "ids": ids})
                for one in ids:
                    transaction.viewers_changed(one)
        return began


async def main() -> None:
    database_url = os.environ["DATABASE_URL"]
    engine = create_engine(database_url, pool_size=1, statement_timeout_ms=60_000, name="bench")
    sessions = create_sessions(engine)
    async with sessions() as session:
        ids = list((await session.execute(text("SELECT id FROM channels ORDER BY name"))).scalars())
    source = Source(Publisher(sessions, Bus(database_url, sessions, heartbeat=60)), ids)
    for line in sys.stdin:
        asked = json.loads(line)
        numbers = range(asked["first"], asked["first"] + asked["count"])
        print(json.dumps([await source.change(asked, number) for number in numbers]), flush=True)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
