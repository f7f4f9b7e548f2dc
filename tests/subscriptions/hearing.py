"""Listening without waiting in vain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from resolvers.context import Services
from subscriptions import topics
from subscriptions.hub import Listener


async def caught_up(services: Services) -> None:
    """Return when all that was said has been heard: notices come in the order of their commits."""
    end = uuid4()
    with services.hub.listen(topics.session(end)) as listener:
        changes = listener.changes()
        await anext(changes)
        async with services.publisher.transaction() as transaction:
            transaction.session_ended(end)
        await asyncio.wait_for(anext(changes), 10)
        await changes.aclose()


class Ear:
    """Listens to one topic, past the present state."""

    def __init__(self, listener: Listener) -> None:
        self.changes = listener.changes()
        self._next: asyncio.Future[None] | None = None

    def waiting(self) -> "asyncio.Future[None]":
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self.changes))
        return self._next

    async def hears(self, seconds: float = 10.0) -> None:
        """Wait for one change."""
        waiting, self._next = self.waiting(), None
        await asyncio.wait_for(waiting, seconds)

    async def silent(self, services: Services) -> bool:
        """Whether nothing of all that was said is for this topic."""
        waiting = self.waiting()
        await caught_up(services)
        return not waiting.done()


@asynccontextmanager
async def ear(services: Services, channel_id: UUID) -> AsyncIterator[Ear]:
    with services.hub.listen(topics.channel(channel_id)) as listener:
        one = Ear(listener)
        await one.hears()
        yield one
        waiting = one.waiting()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await one.changes.aclose()
