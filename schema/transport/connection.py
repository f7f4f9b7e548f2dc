"""One websocket: its handshake, its operations, its session, its pace."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from graphql import OperationType
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from prometheus_client import Counter

from resolvers import auth
from resolvers.context import Context, Services, Viewer
from resolvers.errors import RequestError
from schema.execution import Executor, GraphQLRequest, Response
from schema.faults import request_error
from schema.limits import LIMITS
from schema.transport.config import TransportConfig
from schema.transport.graphql_ws import TOO_BIG, Close, close_for, decoded, operation_id_of
from schema.transport.http import graphql_request
from schema.transport.viewers import COOKIE, new_context, viewer_of
from subscriptions import topics

logger = logging.getLogger(__name__)

CLOSED = Counter("streamcat_sockets_closed_total", "Websockets that the server closed, by close code", ["code"])


class Connection:
    """One socket: its handshake, its operations, its session."""

    def __init__(
        self, socket: "WebSocket[Any, Any, Any]", executor: Executor, services: Services, config: TransportConfig
    ) -> None:
        self._socket = socket
        self._executor = executor
        self._services = services
        self._config = config
        self._viewer: Viewer | None = None
        self._initialised = False
        self._acknowledged = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        # Those of them that are queries and mutations.
        self._answering: set[asyncio.Task[Any]] = set()
        self._session: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[Close | None] = asyncio.get_running_loop().create_future()
        self._send_lock = asyncio.Lock()

    async def run(self) -> None:
        """Read until either side ends the socket."""
        reader = asyncio.create_task(self._read())
        timer = asyncio.create_task(self._expect_init())
        tasks: list[asyncio.Task[Any]] = [reader, timer]
        try:
            close = await self._ended
        finally:
            tasks.extend(self._operations.values())
            if self._session is not None:
                tasks.append(self._session)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if close is not None:
            CLOSED.labels(str(close.code)).inc()
            with contextlib.suppress(OSError, RuntimeError, WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(self._config.socket_send_timeout):
                    await self._socket.close(code=close.code, reason=close.reason)

    async def shut_down(self) -> None:
        """Wait for the operations that the closing hub completes, then close for a restart."""
        if self._operations:
            await asyncio.wait(list(self._operations.values()), timeout=self._config.socket_send_timeout)
        self._end(Close(1012, "Service restart"))

    def _end(self, close: Close | None) -> None:
        if not self._ended.done():
            self._ended.set_result(close)

    async def _read(self) -> None:
        try:
            async for message in self._messages():
                await self._handle(message)
            self._end(None)
        except Close as close:
            self._end(close)
        except TimeoutError:
            self._end(Close(1001, "Client does not read"))
        except (OSError, WebSocketDisconnect):
            self._end(None)
        except Exception:
            logger.exception("websocket failed")
            self._end(Close(4500, "Internal server error"))

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                if event.get("code") == TOO_BIG:
                    LIMITS.labels("socket_message_bytes").inc()
                return
            text: Any = event.get("text")
            yield decoded(text)

    async def _expect_init(self) -> None:
        await asyncio.sleep(self._config.socket_init_timeout)
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
                operation = self._operations.pop(operation_id_of(message), None)
                if operation is not None:
                    operation.cancel()
            case _:
                raise Close(4400, f"Invalid message: unknown type {kind!r:.40}")

    async def _initialise(self, payload: Mapping[str, Any]) -> None:
        if self._initialised:
            raise Close(4429, "Too many initialisation requests")
        self._initialised = True
        # Programs may send the header instead; a browser's page cannot.
        header = self._socket.headers.get("authorization")
        authorization = next((value for name, value in payload.items() if name.lower() == "authorization"), header)
        try:
            self._viewer = await viewer_of(self._services, authorization, self._socket.cookies.get(COOKIE))
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
        if operation_id in self._operations:
            raise Close(4409, f"Subscriber for {operation_id:.60} already exists")
        if len(self._operations) >= self._config.socket_max_operations:
            LIMITS.labels("socket_operations").inc()
            limit = self._config.socket_max_operations
            refusal = request_error("TOO_COSTLY", f"The socket already runs {limit} operations; complete one first.")
            await self._send({"id": operation_id, "type": "error", "payload": refusal["errors"]})
            return
        self._spawn(operation_id, self._operate(operation_id, request))

    def _spawn(self, name: str, work: Any) -> None:
        task = asyncio.create_task(work, name=f"socket-{name}")
        self._operations[name] = task
        task.add_done_callback(lambda done: self._finished(name, done))

    def _finished(self, name: str, task: "asyncio.Task[None]") -> None:
        if self._operations.get(name) is task:
            del self._operations[name]
        self._answering.discard(task)
        self._judge(task)

    def _judge(self, task: "asyncio.Task[None]") -> None:
        """End the socket if one of its tasks found a reason to."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Close):
            self._end(error)
        elif isinstance(error, OSError | WebSocketDisconnect | TimeoutError):
            # The client is gone, or has not read for so long that it might as well be.
            self._end(Close(1001, "Client does not read"))
        elif error is not None:
            logger.error("websocket operation failed", exc_info=error)
            self._end(Close(4500, "Internal server error"))

    async def _operate(self, operation_id: str, request: GraphQLRequest) -> None:
        ctx = new_context(self._services, self._viewer, self._socket)
        prepared = self._executor.prepare(request.query)
        if prepared.operation_type(request.operation_name) is OperationType.SUBSCRIPTION:
            started = await self._executor.stream(prepared, request, ctx)
            if not isinstance(started, dict):
                await self._forward(operation_id, started, ctx)
                return
            await self._answer(operation_id, started)
            return
        self._answering.add(self._operations[operation_id])
        await self._answer(operation_id, await self._executor.run(prepared, request, ctx))

    async def _answer(self, operation_id: str, response: Response) -> None:
        if await self._next(operation_id, response):
            await self._complete(operation_id)

    async def _forward(self, operation_id: str, responses: AsyncIterator[Response], ctx: Context) -> None:
        shown: Response | None = None
        try:
            async for response in responses:
                # A change elsewhere in the row, or a doubled notice, is no news to this client.
                if (response != shown or ctx.every_event_counts) and not await self._next(operation_id, response):
                    return
                shown = response
        finally:
            await responses.aclose()  # type: ignore[attr-defined]
        await self._complete(operation_id)

    async def _next(self, operation_id: str, response: Response) -> bool:
        """Send a result and return true; or the errors that end the operation, and return false."""
        if "data" in response:
            await self._send({"id": operation_id, "type": "next", "payload": response})
            return True
        self._operations.pop(operation_id, None)
        await self._send({"id": operation_id, "type": "error", "payload": response["errors"]})
        return False

    async def _complete(self, operation_id: str) -> None:
        # Freed before the client can hear of it, so that it may use the id again at once.
        self._operations.pop(operation_id, None)
        await self._send({"id": operation_id, "type": "complete"})

    async def _send(self, message: Mapping[str, Any]) -> None:
        async with self._send_lock, asyncio.timeout(self._config.socket_send_timeout):
            await self._socket.send_text(msgspec.json.encode(message).decode())

    async def _watch_session(self, viewer: Viewer) -> None:
        """Close the socket when the session with which it was opened ends, by sign-out or by time."""
        with self._services.hub.listen(topics.session(viewer.session_id)) as listener:
            changes = listener.changes()
            while True:
                left = (viewer.expires_at - datetime.now(UTC)).total_seconds()
                try:
                    async with asyncio.timeout(max(left, 0)):
                        await anext(changes)
                except TimeoutError:
                    break
                except StopAsyncIteration:
                    return
                if not await self._holds(viewer):
                    break
        await self._wind_up()
        raise Close(4403, "Forbidden: the session is over")

    async def _wind_up(self) -> None:
        """Stop what goes on, but let what is being answered be: it may be the sign-out itself."""
        self._viewer = None
        for operation in self._operations.values():
            if operation not in self._answering:
                operation.cancel()
        if self._answering:
            await asyncio.wait(set(self._answering), timeout=self._config.socket_send_timeout)

    async def _holds(self, viewer: Viewer) -> bool:
        try:
            return await auth.session_exists(self._services.read_sessions, viewer.session_id)
        except Exception as error:
            raise close_for(error, "the session's end") from error
