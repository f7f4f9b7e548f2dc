"""Subscriptions run once for all who ask the same: one source, one execution and one encoded payload per event.

The same is: document, operation, variables, and whom the answer is for, which `schema.visibility` decides. Who joins a
run that goes on makes it look once more, and is first served by a look that began after that: so the first payload is
not older than the subscription, and nothing that follows it is older than it.
"""

import asyncio
import logging
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from prometheus_client import Counter, Gauge

from resolvers.batches import Batches
from resolvers.context import Context, Services, Viewer
from schema.documents import GraphQLRequest, Prepared
from schema.execution import Executor
from schema.faults import masked, request_error
from schema.visibility import Visibility

logger = logging.getLogger(__name__)

RUNS = Gauge(
    "streamcat_subscription_runs",
    "Subscriptions that are executed, once for all clients that ask the same",
    multiprocess_mode="livesum",
)
MEMBERS = Gauge("streamcat_subscriptions", "Subscriptions of clients", multiprocess_mode="livesum")
EVENTS = Counter("streamcat_subscription_events_total", "Events of subscriptions that were executed and encoded")

_encode: Final = msgspec.json.Encoder(order="sorted").encode
# Seconds until a run whose database was away looks again.
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
# Clients that are told before others in the process have their turn: some milliseconds.
_AT_ONCE: Final = 500
_Key = tuple[str, str | None, bytes, Visibility, UUID | None]


class Member(Protocol):
    """One client's part in a run."""

    last: bytes | None
    """The payload that was sent last."""

    def next(self, payload: bytes) -> None:
        """Send a payload, or keep it in the place of one that could not be sent yet."""

    def end(self, errors: list[dict[str, Any]] | None) -> None:
        """Send that the subscription is over, for these errors or by itself."""

    async def taken(self) -> None:
        """Return when nothing waits to be sent."""


class Run:
    """One subscription that runs, for all its members."""

    def __init__(
        self, runs: "Runs", prepared: Prepared, request: GraphQLRequest, ctx: Context, key: _Key | None
    ) -> None:
        self._runs = runs
        self._ctx = ctx
        self._key = key
        self._served: set[Member] = set()
        # Who waits for the first payload, with the round that went on when they came: it may have looked before.
        self._joining: dict[Member, int] = {}
        self._task = asyncio.create_task(self._run(prepared, request), name="subscription")

    def join(self, member: Member) -> None:
        """Serve one more, from the present state on."""
        MEMBERS.inc()
        listener = self._ctx.listener
        self._joining[member] = 0 if listener is None else listener.round
        if listener is not None:
            listener.ask()

    def leave(self, member: Member) -> None:
        """Serve one less; the last one ends the run."""
        if member not in self._served and member not in self._joining:
            return
        MEMBERS.dec()
        self._served.discard(member)
        self._joining.pop(member, None)
        if not self._served and not self._joining:
            self._runs.forget(self._key, self)
            self._task.cancel()

    async def _run(self, prepared: Prepared, request: GraphQLRequest) -> None:
        errors: list[dict[str, Any]] | None = None
        loop, pause = asyncio.get_running_loop(), _SHORTEST_PAUSE
        try:
            # Counted here and not where it is made: a task that is left at once never gets this far, nor to any end.
            with RUNS.track_inprogress():
                while True:
                    began = loop.time()
                    errors = await self._source(prepared, request)
                    if not self._goes_on_after(errors):
                        break
                    pause = _SHORTEST_PAUSE if loop.time() > began + _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
                    await asyncio.sleep(pause)
        except Exception as error:  # noqa: BLE001 - told and logged as any fault of ours
            errors = request_error(*masked(error, "a subscription"))["errors"]
        finally:
            self._runs.forget(self._key, self)
        for member in [*self._served, *self._joining]:
            MEMBERS.dec()
            member.end(errors)

    def _goes_on_after(self, errors: list[dict[str, Any]] | None) -> bool:
        """Tell whether the run begins anew by itself: members whose state is known miss nothing of it by that."""
        return self._key is not None and bool(self._served) and unavailable(errors)

    async def _source(self, prepared: Prepared, request: GraphQLRequest) -> list[dict[str, Any]] | None:
        """Tell all members of all events; return why there are no more, null if that is no error."""
        self._ctx.listener = None
        self._ctx.renew()
        # Whoever waits is served by the first look of this source.
        self._joining = dict.fromkeys(self._joining, 0)
        started = await self._runs.executor.stream(prepared, request, self._ctx)
        if isinstance(started, dict):
            return started["errors"]  # type: ignore[no-any-return]
        try:
            async for response in started:
                errors = response.get("errors")
                if "data" not in response or self._goes_on_after(errors):
                    return errors
                EVENTS.inc()
                await self._send(msgspec.json.encode(response))
                if self._key is None:
                    # Of events none may be left out: the next one is read when this one has gone.
                    for member in list(self._served):
                        await member.taken()
        finally:
            await started.aclose()
        return None

    async def _send(self, payload: bytes) -> None:
        listener = self._ctx.listener
        if listener is None or not listener.early:
            every_one_counts = self._ctx.every_event_counts
            for number, member in enumerate(list(self._served)):
                # A change elsewhere in the row, or a doubled notice, is no news to this client.
                if member in self._served and (member.last != payload or every_one_counts):
                    member.last = payload
                    member.next(payload)
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
        if self._joining:
            self._admit(payload, listener.round if listener is not None else 1)

    def _admit(self, payload: bytes, round_: int) -> None:
        for member in [member for member, joined in self._joining.items() if joined < round_]:
            del self._joining[member]
            self._served.add(member)
            member.last = payload
            member.next(payload)


class Runs:
    """The subscriptions that run in this process."""

    def __init__(self, executor: Executor, services: Services) -> None:
        self.executor = executor
        self._services = services
        self._batches = Batches(services.read_sessions)
        self._shared: dict[_Key, Run] = {}

    def join(self, prepared: Prepared, request: GraphQLRequest, ctx: Context, member: Member) -> Run:
        """Let the client take part in the run of its subscription, or begin it; the client leaves by `Run.leave`."""
        who = self.executor.visibility(prepared, request)
        if who is Visibility.PUBLIC:
            # As a guest, whoever asks.
            ctx = Context(self._services, None, "unknown", together=self._batches.rows)
        key = None if who is Visibility.NOBODY else _key(request, who, ctx.viewer)
        run = None if key is None else self._shared.get(key)
        if run is None:
            run = Run(self, prepared, request, ctx, key)
            if key is not None:
                self._shared[key] = run
        run.join(member)
        return run

    def forget(self, key: _Key | None, run: Run) -> None:
        """Let later ones begin a run of their own."""
        if key is not None and self._shared.get(key) is run:
            del self._shared[key]


def _key(request: GraphQLRequest, who: Visibility, viewer: Viewer | None) -> _Key:
    session = None if viewer is None else viewer.session_id
    return request.query, request.operation_name, _encode(request.variables or {}), who, session


def unavailable(errors: list[dict[str, Any]] | None) -> bool:
    """Tell whether a subscription has ended because of the database, and would better be begun again."""
    return any(error["extensions"]["code"] == "UNAVAILABLE" for error in errors or ())
