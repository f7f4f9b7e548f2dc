"""What waits for one socket to take it: of each subscription the newest payload, and nothing else that can grow.

A socket that takes what it gets costs nothing here. One that is slow holds one payload per subscription, whatever
happens meanwhile; one that takes nothing for too long is closed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import Counter

CONFLATED = Counter("streamcat_socket_payloads_replaced_total", "Payloads replaced by newer ones before they were sent")


class Wire(Protocol):
    """A connection that can be written to without waiting. It never grows by more than a bound beyond `writable`."""

    on_writable: Callable[[], None]

    @property
    def is_writable(self) -> bool:
        """Whether the client takes what it gets."""

    def write_text(self, *parts: bytes) -> None:
        """Send one message, now or as soon as the client takes it; nothing after the connection's end."""

    def abort(self) -> None:
        """Drop the client, with all that waits for it."""


class Outbox:
    """Messages of one socket on their way out. `on_stall` is called when the client took nothing for `patience` s."""

    def __init__(self, wire: Wire, patience: float, on_stall: Callable[[], None]) -> None:
        self._wire = wire
        self._patience = patience
        self._on_stall = on_stall
        self._waiting: dict[Any, tuple[bytes, ...]] = {}
        self._senders: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        wire.on_writable = self._drain

    def put(self, slot: Any, *parts: bytes) -> None:
        """Send a message; while the client takes nothing, keep it, in the place of the slot's last one."""
        if self._wire.is_writable and not self._waiting:
            self._wire.write_text(*parts)
            return
        if slot in self._waiting:
            CONFLATED.inc()
        self._waiting[slot] = parts
        self._watch()

    def drop(self, slot: Any) -> None:
        """Forget what waits in the slot."""
        self._waiting.pop(slot, None)

    async def send(self, message: bytes) -> None:
        """Send a message after all that waits; return when the client is ready for it."""
        await self.clear()
        self._wire.write_text(message)

    async def clear(self) -> None:
        """Return when nothing waits."""
        while self._waiting or not self._wire.is_writable:
            self._watch()
            sender: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._senders.append(sender)
            await sender

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._unwatch()

    def _drain(self) -> None:
        self._unwatch()
        while self._waiting and self._wire.is_writable:
            self._wire.write_text(*self._waiting.pop(next(iter(self._waiting))))
        if self._waiting:
            self._watch()
            return
        senders, self._senders = self._senders, []
        for sender in senders:
            if not sender.done():
                sender.set_result(None)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._on_stall)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
