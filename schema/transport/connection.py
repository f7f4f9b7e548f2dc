"""One websocket: its handshake, its operations, its session, its pace."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, NoReturn

import msgspec
from graphql import OperationType
from litestar.types import Receive, Send

from resolvers.context import Context, Services, Viewer
from resolvers.errors import RequestError
from schema.documents import GraphQLRequest, Prepared
from schema.execution import Executor
from schema.faults import request_error
from schema.limits import LIMITS
from schema.live import Run, Runs
from schema.transport.config import TransportConfig
from schema.transport.graphql_ws import TOO_BIG, Close, close_for, decoded, operation_id_of
from schema.transport.http import graphql_request
from schema.transport.outbox import Outbox, Wire
from schema.transport.places import CLOSED
from schema.transport.session import session_over
from schema.transport.viewers import Visitor, new_context, viewer_of

logger = logging.getLogger(__name__)


class Subscription:
    """A subscription of one socket: its part in a run."""

    __slots__ = ("_connection", "_head", "id", "last", "run")

    def __init__(self, connection: "Connection", operation_id: str) -> None:
        self._connection = connection
        self._head = b'{"id":' + msgspec.json.encode(operation_id) + b',"type":"next","payload":'
        self.id = operation_id
        self.last: bytes | None = None
        self.run: Run | None = None

    def next(self, payload: bytes) -> None:
        """Send a result."""
        self._connection.outbox.put(self, self._head, payload, b"}")

    def end(self, errors: list[dict[str, Any]] | None) -> None:
        """Send that it is over."""
        self._connection.finish(self, errors)

    async def taken(self) -> None:
        """Return when the client has taken what was sent."""
        await self._connection.outbox.clear()


class Connection:
    """One socket: its handshake, its operations, its session."""

    def __init__(
        self,
        visitor: Visitor,
        wire: Wire,
        receive: Receive,
        send: Send,
        executor: Executor,
        runs: Runs,
        services: Services,
        config: TransportConfig,
    ) -> None:
        self._visitor = visitor
        self._wire = wire
        self._receive = receive
        self._send_raw = send
        self._executor = executor
        self._runs = runs
        self._services = services
        self._config = config
        self._viewer: Viewer | None = None
        self._initialised = False
        self._acknowledged = False
        self._subscriptions: dict[str, Subscription] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._session: asyncio.Task[NoReturn] | None = None
        self._task = asyncio.current_task()
        self._close: Close | None = None
        self._loop = asyncio.get_running_loop()
        # Messages that the client may send at once, and since when it has so many.
        self._allowance = 2.0 * config.socket_messages_per_second
        self._counted_at = self._loop.time()
        self.outbox = Outbox(wire, config.socket_send_timeout, lambda: self._end(Close(1001, "Client does not read")))

    async def run(self) -> None:
        """Read until either side ends the socket."""
        timer = self._loop.call_later(self._config.socket_init_timeout, self._expect_init)
        try:
            close = await self._read()
        finally:
            timer.cancel()
            self.outbox.close()
            for subscription in list(self._subscriptions.values()):
                self._leave(subscription)
            tasks = [*self._answering.values(), *(() if self._session is None else (self._session,))]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.gather(*tasks, return_exceptions=True)
        if close is None:
            return
        CLOSED.labels(str(close.code)).inc()
        if not self._wire.is_writable:
            # Neither would it read why.
            self._wire.abort()
            return
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(self._config.socket_send_timeout):
                await self._send_raw({"type": "websocket.close", "code": close.code, "reason": close.reason})

    async def shut_down(self) -> None:
        """Wait for the answers under way, then close for a restart.

        Subscriptions are not told to be complete: clients would not begin them again elsewhere.
        """
        if self._answering:
            await asyncio.wait(list(self._answering.values()), timeout=self._config.socket_send_timeout)
        self._end(Close(1012, "Service restart"))

    def finish(self, subscription: Subscription, errors: list[dict[str, Any]] | None) -> None:
        """Send that a subscription is over, for these errors or by itself."""
        # Freed before the client can hear of it, so that it may use the id again at once.
        self._subscriptions.pop(subscription.id, None)
        message = {"id": subscription.id, "type": "complete"}
        if errors is not None:
            message = {"id": subscription.id, "type": "error", "payload": errors}  # type: ignore[dict-item]
        self.outbox.put((subscription, "end"), msgspec.json.encode(message))

    def _end(self, close: Close) -> None:
        """Close the socket from outside of its reading."""
        if self._close is None and self._task is not None:
            self._close = close
            self._task.cancel()

    async def _read(self) -> Close | None:
        try:
            async for message in self._messages():
                await self._handle(message)
                # The next one may be hours away.
                del message
        except Close as close:
            return close
        except asyncio.CancelledError:
            if self._close is None or self._task is None or self._task.uncancel():
                raise
            return self._close
        except OSError:
            return None
        except Exception:
            logger.exception("websocket failed")
            return Close(4500, "Internal server error")
        return None

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            event: Any = await self._receive()
            if event["type"] == "websocket.disconnect":
                if event.get("code") == TOO_BIG:
                    LIMITS.labels("socket_message_bytes").inc()
                return
            self._spend()
            yield decoded(event.pop("text", None))

    def _spend(self) -> None:
        now, rate = self._loop.time(), self._config.socket_messages_per_second
        self._allowance = min(2.0 * rate, self._allowance + (now - self._counted_at) * rate) - 1
        self._counted_at = now
        if self._allowance < 0:
            LIMITS.labels("socket_messages").inc()
            raise Close(1008, f"Too many messages: {rate} per second are accepted")

    def _expect_init(self) -> None:
        if not self._initialised:
            self._end(Close(4408, "Connection initialisation timeout"))

    async def _handle(self, message: dict[str, Any]) -> None:
        kind, payload = message["type"], message.get("payload")
        match kind:
            case "connection_init":
                await self._initialise(payload or {})
            case "ping":
                await self._send({"type": "pong", **({"payload": payload} if payload is not None else {})})
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(operation_id_of(message), payload)
            case "complete":
                self._complete(operation_id_of(message))
            case _:
                raise Close(4400, f"Invalid message: unknown type {kind!r:.40}")

    async def _initialise(self, payload: Mapping[str, Any]) -> None:
        if self._initialised:
            raise Close(4429, "Too many initialisation requests")
        self._initialised = True
        # Programs may send the header instead; a browser's page cannot.
        told = self._visitor.authorization
        authorization = next((value for name, value in payload.items() if name.lower() == "authorization"), told)
        try:
            self._viewer = await viewer_of(self._services, authorization, self._visitor.cookie)
        except RequestError as error:
            raise Close(4403, f"Forbidden: {error}") from error
        except Exception as error:
            raise close_for(error, "connection_init") from error
        if self._viewer is not None:
            self._session = asyncio.create_task(self._watch_session(self._viewer), name="socket-session")
            self._session.add_done_callback(self._judge)
        await self._send({"type": "connection_ack"})
        self._acknowledged = True

    async def _subscribe(self, operation_id: str, payload: Any) -> None:
        if not self._acknowledged:
            raise Close(4401, "Unauthorized")
        try:
            request = graphql_request(payload)
        except RequestError as error:
            raise Close(4400, f"Invalid message: {error}") from error
        if operation_id in self._subscriptions or operation_id in self._answering:
            raise Close(4409, f"Subscriber for {operation_id:.60} already exists")
        if len(self._subscriptions) + len(self._answering) >= self._config.socket_max_operations:
            LIMITS.labels("socket_operations").inc()
            limit = self._config.socket_max_operations
            refusal = request_error("TOO_COSTLY", f"The socket already runs {limit} operations; complete one first.")
            await self._send({"id": operation_id, "type": "error", "payload": refusal["errors"]})
            return
        prepared = self._executor.prepare(request.query)
        ctx = new_context(self._services, self._viewer, self._visitor)
        if prepared.operation_type(request.operation_name) is OperationType.SUBSCRIPTION and not prepared.errors:
            subscription = self._subscriptions[operation_id] = Subscription(self, operation_id)
            subscription.run = self._runs.join(prepared, request, ctx, subscription)
        else:
            self._spawn(operation_id, self._answer(operation_id, prepared, request, ctx))

    def _complete(self, operation_id: str) -> None:
        if (subscription := self._subscriptions.pop(operation_id, None)) is not None:
            self._leave(subscription)
        elif (task := self._answering.pop(operation_id, None)) is not None:
            task.cancel()

    def _leave(self, subscription: Subscription) -> None:
        self.outbox.drop(subscription)
        if subscription.run is not None:
            subscription.run.leave(subscription)

    def _spawn(self, operation_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._answering[operation_id] = asyncio.create_task(work, name=f"socket-{operation_id}")

        def finished(_: "asyncio.Task[None]") -> None:
            if self._answering.get(operation_id) is task:
                del self._answering[operation_id]
            self._judge(task)

        task.add_done_callback(finished)

    def _judge(self, task: "asyncio.Task[Any]") -> None:
        """End the socket if one of its tasks found a reason to."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Close):
            self._end(error)
        elif error is not None:
            logger.error("websocket operation failed", exc_info=error)
            self._end(Close(4500, "Internal server error"))

    async def _answer(self, operation_id: str, prepared: Prepared, request: GraphQLRequest, ctx: Context) -> None:
        response = await self._executor.run(prepared, request, ctx)
        if "data" in response:
            await self._send({"id": operation_id, "type": "next", "payload": response})
        # Freed before the client can hear of it, so that it may use the id again at once.
        self._answering.pop(operation_id, None)
        end = {"type": "complete"} if "data" in response else {"type": "error", "payload": response["errors"]}
        await self._send({"id": operation_id, **end})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self.outbox.send(msgspec.json.encode(message))

    async def _watch_session(self, viewer: Viewer) -> NoReturn:
        """Close the socket when the session with which it was opened ends, by sign-out or by time."""
        await session_over(self._services, viewer)
        await self._wind_up()
        raise Close(4403, "Forbidden: the session is over")

    async def _wind_up(self) -> None:
        """Stop what goes on, but let what is being answered be: it may be the sign-out itself."""
        self._viewer = None
        for subscription in list(self._subscriptions.values()):
            self._leave(subscription)
        if self._answering:
            await asyncio.wait(list(self._answering.values()), timeout=self._config.socket_send_timeout)
