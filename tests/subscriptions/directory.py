"""Watching the directory as a guest does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.client import Socket, open_socket
from tests.conftest import Running
from tests.subscriptions.hearing import caught_up

WATCH = """
subscription Watch($category: ID, $first: Int, $after: String) {
  directoryChanged(categoryId: $category) {
    category { slug liveChannelCount }
    liveChannels(first: $first, after: $after) {
      nodes { name title category { slug } currentStream { title } } pageInfo { hasNextPage endCursor }
    }
  }
}
"""
PING = "{ viewer { username } }"


@dataclass
class Watcher:
    """A guest who watches all channels, or those of a category."""

    socket: Socket
    running: Running

    async def next(self) -> dict[str, Any]:
        changed: dict[str, Any] = (await self.socket.next("1"))["directoryChanged"]
        return changed

    async def sees(self, *titles: str, category: str | None = None) -> None:
        """The next answer has these titles, and the number of live channels in the category."""
        changed = await self.next()
        assert [one["title"] for one in changed["liveChannels"]["nodes"]] == list(titles)
        assert changed["category"] == (category and {"slug": category, "liveChannelCount": len(titles)})

    async def silent(self) -> None:
        """Nothing that was said so far is for this watcher."""
        await caught_up(self.running.runtime.services)
        for _ in range(2):
            await self.socket.subscribe("ping", PING)
            assert await self.socket.next("ping") == {"viewer": None}
            assert await self.socket.receive() == {"type": "complete", "id": "ping"}


@asynccontextmanager
async def watcher(running: Running, category: str | None = None, **part: Any) -> AsyncIterator[Watcher]:
    async with open_socket(running.url) as socket:
        await socket.subscribe("1", WATCH, {"category": category, **part})
        yield Watcher(socket, running)
