"""The one channel between processes, and the only module that knows `broadcaster`.

broadcaster 0.3 does not reconnect, reports a dead listener to nobody, loses subscribers that arrive together, and keeps
unbounded queues. So there is one subscription per process, opened before serving; it counts as open only when our own
probe came back; and a probe that stays away means: build everything anew and tell every listener to look again.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from broadcaster import Broadcast
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from models.engine import Sessions, in_short
from models.statement import Statement

logger = logging.getLogger(__name__)

RECONNECTS = Counter("streamcat_bus_reconnects_total", "Times the bus was silent and its subscription was built anew")
HEALTHY = Gauge("streamcat_bus_healthy", "1 while the process hears its own probes", multiprocess_mode="livemin")

_CHANNEL = "streamcat"
_NOTIFY = Statement(text("SELECT pg_notify(:channel, topic) FROM unnest(CAST(:topics AS text[])) AS topic"))
_PROBE = "probe:"
# Seconds that one step of talking to the bus may take.
_PATIENCE = 2.0
_OPENING = 10.0


class BusUnavailable(Exception):
    """The bus could not be reached, in one sentence."""


class Bus:
    """Carries topics to every process: on PostgreSQL with the writing transaction, on Redis after it."""

    def __init__(self, url: str, sessions: Sessions, *, heartbeat: float) -> None:
        scheme = urlsplit(url).scheme
        self.transactional = scheme.startswith("postgres")
        # broadcaster hands the URL to asyncpg, which knows no "+driver" in the scheme.
        self._url = (
            make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
            if (self.transactional)
            else url
        )
        self._sessions = sessions
        self._heartbeat = heartbeat
        self._me = f"{_PROBE}{os.urandom(8).hex()}"
        self._heard = asyncio.Event()
        self._redis: Broadcast | None = None
        self._reader: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._publish_lock = asyncio.Lock()
        # What was written is written: a bus that is away must not fail the writer, nor hide it from other processes.
        self._unsent: set[str] = set()
        self._on_notice: Callable[[str], None] = lambda _topic: None
        self._on_gap: Callable[[], None] = lambda: None
        self.healthy = False

    async def start(self, on_notice: Callable[[str], None], on_gap: Callable[[], None]) -> None:
        """Subscribe; return when our own probe was heard.

        Raises:
            BusUnavailable: No probe came back.
        """
        self._on_notice, self._on_gap = on_notice, on_gap
        try:
            await self._open()
        except Exception as error:
            await self._close()
            raise BusUnavailable(f"the bus does not answer: {type(error).__name__}: {error}") from error
        self._supervisor = asyncio.create_task(self._supervise(), name="bus-supervisor")

    async def stop(self) -> None:
        """Stop listening."""
        if self._supervisor is not None:
            await _ended(self._supervisor)
        await self._close()

    async def notify(self, session: AsyncSession, topics: Sequence[str]) -> None:
        """Send topics with the session's transaction: heard after its commit, never after a rollback."""
        await _NOTIFY.all(session, {"channel": _CHANNEL, "topics": list(topics)})

    async def publish(self, topics: Sequence[str]) -> None:
        """Send topics after their commit; while the bus is away keep them until it is back, and raise nothing."""
        self._unsent.update(topics)
        if not self.healthy:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._send_unsent()
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor sends them later
            logger.warning("notices wait for the bus: %s: %s", type(error).__name__, in_short(error))

    async def _send_unsent(self) -> None:
        while self._unsent:
            # Taken out before it is sent, so that a change during the sending counts as new.
            topic = self._unsent.pop()
            try:
                await self._send(topic)
            except BaseException:
                self._unsent.add(topic)
                raise

    async def _send(self, message: str) -> None:
        if self.transactional:
            async with self._sessions() as session, session.begin():
                await self.notify(session, [message])
            return
        broadcast = self._redis
        if broadcast is None:
            raise BusUnavailable("the bus is being reconnected")
        async with self._publish_lock:
            await broadcast.publish(_CHANNEL, message)

    async def _open(self) -> None:
        self._heard.clear()
        subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(subscribed), name="bus-reader")
        async with asyncio.timeout(_OPENING):
            await subscribed
            await self._probe()
            await self._send_unsent()
        self.healthy = True
        HEALTHY.set(1)

    async def _read(self, subscribed: "asyncio.Future[None]") -> None:
        broadcast = Broadcast(self._url)
        try:
            try:
                await broadcast.connect()
                async with broadcast.subscribe(_CHANNEL) as subscriber:
                    self._redis = broadcast
                    if not subscribed.done():
                        subscribed.set_result(None)
                    async for event in subscriber:  # type: ignore[union-attr]
                        self._receive(str(event.message))  # type: ignore[union-attr]
            finally:
                self._redis = None
                # broadcaster leaves its backend open when it did not connect, or when its own task has failed.
                for disconnect in (broadcast.disconnect, broadcast._backend.disconnect):  # noqa: SLF001
                    with contextlib.suppress(Exception):
                        async with asyncio.timeout(_PATIENCE):
                            await disconnect()
        except Exception as error:
            if subscribed.done():
                raise
            subscribed.set_exception(error)

    def _receive(self, message: str) -> None:
        if message == self._me:
            self._heard.set()
        elif not message.startswith(_PROBE):
            self._on_notice(message)

    async def _probe(self) -> None:
        self._heard.clear()
        async with asyncio.timeout(max(self._heartbeat, _PATIENCE)):
            await self._send(self._me)
            await self._heard.wait()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            try:
                if self._reader is None or self._reader.done():
                    raise BusUnavailable("the listener ended")  # noqa: TRY301 - one place decides what silence means
                await self._probe()
                async with asyncio.timeout(_PATIENCE):
                    await self._send_unsent()
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer is to build anew
                logger.warning("bus is silent, reconnecting: %s: %s", type(error).__name__, in_short(error))
                await self._reconnect()

    async def _reconnect(self) -> None:
        self.healthy = False
        HEALTHY.set(0)
        delay = 0.1
        while True:
            await self._close()
            try:
                await self._open()
            except Exception as error:  # noqa: BLE001 - tried until it succeeds
                logger.debug("bus still away: %s: %s", type(error).__name__, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
            else:
                RECONNECTS.inc()
                logger.info("bus is back")
                # Whatever was said meanwhile is lost; every listener reads the database again.
                self._on_gap()
                return

    async def _close(self) -> None:
        self.healthy = False
        HEALTHY.set(0)
        if self._reader is not None:
            await _ended(self._reader)
            self._reader = None


async def _ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it has ended: a cancellation that meets a library's own time-out at work can get lost."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE)
    if not task.cancelled():
        # Asked for, so that asyncio does not complain of an error that nobody looked at.
        task.exception()
