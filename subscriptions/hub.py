"""Fan-out inside one process: who waits for which topic.

A notice carries nothing but "look again", so a listener's whole mailbox is one flag: however slow its client, it costs
no memory, and what it reads when it gets to it is the newest state.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge

from subscriptions.bus import Bus

LISTENERS = Gauge("streamcat_hub_listeners", "Listeners of all topics in this process", multiprocess_mode="livesum")
NOTICES = Counter("streamcat_hub_notices_total", "Notices that came from the bus", ["wanted"])


class Listener:
    """One wait for one or several topics; iterate `changes`.

    Attributes:
        round: Number of the last step of `changes`. What is read in a round is not older than its beginning.
        asked: Whether somebody asked for this round, whatever has changed.
        early: Whether the round is only for who asked, in the rest of the others.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._changed.set()
        self._hurried = asyncio.Event()
        self._closed = False
        self._rested = 0.0
        self._loop = asyncio.get_running_loop()
        self.topics: frozenset[str] = frozenset()
        self.round = 0
        self.asked = False
        self.early = False

    def wake(self) -> None:
        """Mark that something changed."""
        self._changed.set()

    def ask(self) -> None:
        """Ask for a round that begins after now, without waiting for the end of a rest."""
        self._hurried.set()
        self._changed.set()

    def close(self) -> None:
        """End the iteration at its next step."""
        self._closed = True
        self.ask()

    async def rest(self, seconds: float) -> None:
        """Let time pass, so that changes meanwhile become one; not longer than the hub is open, or until asked."""
        if not self.early:
            self._rested = self._loop.time() + seconds
        left = self._rested - self._loop.time()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurried.wait()

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, for the present state, then once after any number of changes; end when the hub closes."""
        while True:
            await self._changed.wait()
            if self._closed:
                return
            self.round += 1
            self.asked = self._hurried.is_set()
            self._hurried.clear()
            self.early = self.asked and self._loop.time() < self._rested
            if not self.early:
                # Cleared before the reader looks: a change during its look makes it look again. After an early round
                # the flag stays, so that an ordinary one follows.
                self._changed.clear()
            yield


class Hub:
    """Topics of this process over the one bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._topics: defaultdict[str, set[Listener]] = defaultdict(set)
        self._closed = False

    @property
    def healthy(self) -> bool:
        """Whether changes made elsewhere are heard right now."""
        return self._bus.healthy

    async def start(self) -> None:
        """Begin to hear; see `Bus.start` for what it raises."""
        await self._bus.start(self._notice, self._gap)

    async def stop(self) -> None:
        """End all listeners, then the bus."""
        self.close()
        await self._bus.stop()

    def close(self) -> None:
        """Let every subscription complete, and every later one complete at once."""
        self._closed = True
        for listener in self._all():
            listener.close()

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Listener]:
        """Listen while the block runs. Listening begins before the block's first read, so there is no gap between."""
        listener = Listener()
        if self._closed:
            listener.close()
        self.retune(listener, topics)
        LISTENERS.inc()
        try:
            yield listener
        finally:
            LISTENERS.dec()
            self.retune(listener, ())

    def retune(self, listener: Listener, topics: Iterable[str]) -> None:
        """Let the listener hear these topics and no others; what is new is not heard from before, so read after it."""
        wanted = frozenset(topics)
        for topic in listener.topics - wanted:
            self._topics[topic].discard(listener)
            if not self._topics[topic]:
                del self._topics[topic]
        for topic in wanted - listener.topics:
            self._topics[topic].add(listener)
        listener.topics = wanted

    def listeners(self, topic: str) -> int:
        """Return how many listen to the topic."""
        return len(self._topics.get(topic, ()))

    def _notice(self, topic: str) -> None:
        listeners = self._topics.get(topic, ())
        NOTICES.labels("yes" if listeners else "no").inc()
        for listener in listeners:
            listener.wake()

    def _gap(self) -> None:
        for listener in self._all():
            listener.wake()

    def _all(self) -> set[Listener]:
        return {listener for listeners in self._topics.values() for listener in listeners}
