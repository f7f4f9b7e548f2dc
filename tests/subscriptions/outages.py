"""What a server stands on goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models import migrate
from server.embedded.postgres import EmbeddedPostgres
from server.runtime import Resolved
from tests.relay import Relay, relayed


@dataclass(frozen=True)
class Outage:
    """What goes away, and how that is to be seen: in `/readyz`, by a counter, in the log."""

    begin: Callable[[], Awaitable[Any]]
    end: Callable[[], Awaitable[Any]]
    part: str
    reason: str
    counter: str
    least: int
    logged: str


@dataclass
class Around:
    """What the server stands on, each part behind a wire of its own; `url` is the database's, past that wire."""

    postgres: EmbeddedPostgres
    url: str
    database: Relay
    bus: Relay
    amazon: Relay

    def outage(self, which: str) -> Outage:
        failures = 'streamcat_queue_poll_failures_total{code="%s"}'
        if which == "bus":
            return Outage(
                self.bus.cut,
                self.bus.mend,
                *("bus", "silent", "streamcat_bus_reconnects_total", 0),
                "bus is silent, reconnecting",
            )
        if which == "queue":
            lost = failures % "EndpointConnectionError"
            return Outage(
                self.amazon.cut,
                self.amazon.mend,
                *("queue", "does not answer: EndpointConnectionError", lost, 2),
                "event queue: sqs.receive_message: EndpointConnectionError",
            )
        refused = failures % "ConnectionRefusedError"
        return Outage(
            lambda: self._stop(kill=which == "database killed"),
            self._start,
            *("database", "does not answer", refused, 2),
            "event queue: events not applied: ",
        )

    async def _stop(self, *, kill: bool) -> None:
        process = self.postgres._process
        assert process is not None
        if kill:
            process.kill()
            await asyncio.to_thread(process.wait)
        else:
            await asyncio.to_thread(self.postgres.stop)
        for relay in (self.database, self.bus):
            await relay.cut()

    async def _start(self) -> None:
        self.url = await asyncio.to_thread(self.postgres.start)
        for relay in (self.database, self.bus):
            relay.lead_to(self.url)
            await relay.mend()


@asynccontextmanager
async def open_around(folder: Path, resolved: Resolved) -> AsyncIterator[tuple[Around, Resolved]]:
    """A PostgreSQL of the test's own, and what a server is to be built on."""
    postgres = EmbeddedPostgres(folder / "postgres")
    async with AsyncExitStack() as stack:
        url = await asyncio.to_thread(postgres.start)
        stack.callback(postgres.stop)
        await migrate.upgrade(url)
        database, bus, amazon = [
            await stack.enter_async_context(relayed(target)) for target in (url, url, str(resolved.aws.endpoint_url))
        ]
        aws = replace(resolved.aws, endpoint_url=amazon.through(str(resolved.aws.endpoint_url)))
        here = replace(resolved, database_url=database.through(url), bus_url=bus.through(url), aws=aws)
        yield Around(postgres, url, database, bus, amazon), here
