"""Subscriptions over HTTP: graphql-sse in its "distinct connections mode", a response for each subscription.

They take part in the same runs as those of websockets, and hold as little while their client does not read. A stream
that ends without `complete` is one to begin again: the server stops, or cannot serve right now.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request

from resolvers.context import Context, Services, Viewer
from resolvers.errors import Code
from schema.documents import GraphQLRequest, Prepared
from schema.faults import masked, request_error
from schema.live import Runs, unavailable
from schema.transport.answers import COMPLETE, END, EVENT_STREAM, NEXT, Refusal, common_headers, encoded_headers
from schema.transport.config import WIRE, TransportConfig
from schema.transport.graphql_ws import Close, close_for
from schema.transport.outbox import Outbox, Wire
from schema.transport.places import CLOSED, Places
from schema.transport.session import session_over

_COMMENT: Final = b":\n\n"
# Reasons after which beginning again would not help; clients are told them as a result.
_FINAL: Final[Mapping[int, Code]] = {4403: "UNAUTHENTICATED", 4500: "INTERNAL"}
_HEADERS: Final = encoded_headers(
    {
        **common_headers(EVENT_STREAM),
        # Nothing follows a stream on its connection.
        "Connection": "close",
        # nginx would collect events until it has some kilobytes.
        "X-Accel-Buffering": "no",
    }
)


class EventStream:
    """The subscription of one response: its part in a run. Nothing may be sent before the response's start."""

    def __init__(self, wire: Wire, config: TransportConfig) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._ping_seconds = config.socket_ping
        self._ping = self._loop.call_later(self._ping_seconds, self._comment)
        self._outbox = Outbox(wire, config.socket_send_timeout, self._drop)
        self._last_words: asyncio.Future[bytes] = self._loop.create_future()
        self.last: bytes | None = None

    def next(self, payload: bytes) -> None:
        """Send a result."""
        if not self._last_words.done():
            self._outbox.put(self, NEXT, payload, END)

    def end(self, errors: list[dict[str, Any]] | None) -> None:
        """Send that it is over."""
        if unavailable(errors):
            self.close(Close(1013, "The database does not answer"))
        elif not self._last_words.done():
            self._last_words.set_result(COMPLETE if errors is None else _told(errors))

    async def taken(self) -> None:
        """Return when the client has taken what was sent."""
        await self._outbox.clear()

    def close(self, close: Close) -> None:
        """End the response, for a reason that is named as with websockets, without what waits."""
        if self._last_words.done():
            return
        CLOSED.labels(str(close.code)).inc()
        self._outbox.drop(self)
        code = _FINAL.get(close.code)
        self._last_words.set_result(b"" if code is None else _told(request_error(code, str(close))["errors"]))
        if not self._wire.is_writable:
            # Neither would it read why.
            self._wire.abort()

    def leave(self) -> None:
        """End the response, which nobody reads any more."""
        if not self._last_words.done():
            self._last_words.set_result(b"")

    async def last_words(self) -> bytes:
        """Return what the response ends with, when it does and all else is sent."""
        words = await self._last_words
        await self._outbox.clear()
        return words

    def stop(self) -> None:
        """Forget everything."""
        self._ping.cancel()
        self._outbox.close()

    def _comment(self) -> None:
        if self._wire.is_writable:
            self._wire.write_text(_COMMENT)
        self._ping = self._loop.call_later(self._ping_seconds, self._comment)

    def _drop(self) -> None:
        """Drop a client that does not read."""
        CLOSED.labels("1001").inc()
        self._wire.abort()


class EventStreams:
    """Answers subscriptions by streams, and ends them all at shutdown."""

    def __init__(self, runs: Runs, services: Services, config: TransportConfig, places: Places) -> None:
        self._runs = runs
        self._services = services
        self._config = config
        self._places = places
        self._streams: set[EventStream] = set()
        self._closing = False

    async def serve(
        self, request: "Request[Any, Any, Any]", prepared: Prepared, graphql: GraphQLRequest, ctx: Context
    ) -> None:
        """Serve one subscription until either side ends it.

        Raises:
            Refusal: There is no place for it.
        """
        if self._closing:
            raise Refusal(503, "UNAVAILABLE", "The server stops; try again in a moment.", {"Retry-After": "1"})
        with self._places.taken(ctx.address):
            await request.send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            wire: Any = request.scope["extensions"][WIRE]  # type: ignore[index]
            stream = EventStream(wire, self._config)
            self._streams.add(stream)
            watches = [asyncio.create_task(_until_gone(request, stream), name="stream-gone")]
            if ctx.viewer is not None:
                until_over = self._until_session_over(ctx.viewer, stream)
                watches.append(asyncio.create_task(until_over, name="stream-session"))
            try:
                words = await self._served(stream, prepared, graphql, ctx)
                await request.send({"type": "http.response.body", "body": words, "more_body": False})
            finally:
                self._streams.discard(stream)
                stream.stop()
                for watch in watches:
                    watch.cancel()
                await asyncio.gather(*watches, return_exceptions=True)

    async def _served(self, stream: EventStream, prepared: Prepared, graphql: GraphQLRequest, ctx: Context) -> bytes:
        run = None
        try:
            run = self._runs.join(prepared, graphql, ctx, stream)
            return await stream.last_words()
        except Exception as error:  # noqa: BLE001 - the response has begun: nobody further out could tell
            return _told(request_error(*masked(error, "an event stream"))["errors"])
        finally:
            if run is not None:
                run.leave(stream)

    async def _until_session_over(self, viewer: Viewer, stream: EventStream) -> None:
        try:
            await session_over(self._services, viewer)
        except Close as close:
            stream.close(close)
        except Exception as error:  # noqa: BLE001 - no stream may go on without its session being watched
            stream.close(close_for(error, "the session's end"))
        else:
            stream.close(Close(4403, "The session is over: sign in again with sessionCreate."))

    def shut_down(self) -> None:
        """Refuse new streams, and end all without `complete`, so that their clients begin them again elsewhere."""
        self._closing = True
        for stream in list(self._streams):
            stream.close(Close(1012, "Service restart"))


async def _until_gone(request: "Request[Any, Any, Any]", stream: EventStream) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    stream.leave()


def _told(errors: list[dict[str, Any]]) -> bytes:
    return b"".join((NEXT, msgspec.json.encode({"errors": errors}), END, COMPLETE))
