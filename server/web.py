"""The web application: GraphQL by HTTP and websocket, GraphiQL for browsers, health and counters for operators."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, asgi, get
from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from schema.build import core_schema
from schema.execution import Executor
from schema.limits import DocumentLimits
from schema.live import Runs
from schema.transport import graphiql
from schema.transport.config import TransportConfig
from schema.transport.http import HttpTransport
from schema.transport.places import Places
from schema.transport.sse import EventStreams
from schema.transport.websocket import WebSocketTransport
from server import counters
from server.events import events_route
from server.health import Health
from server.runtime import Runtime
from server.settings import Settings
from subscriptions.https import HttpsConfig, HttpsDoor

WEB_DIR = Path(__file__).parent.parent / "web"

AnyRequest = Request[Any, Any, Any]


class Web:
    """The application and the sockets that have to be told when it ends."""

    def __init__(self, runtime: Runtime, *, example_channel_id: str | None = None) -> None:
        """Build it; `example_channel_id` is the global id that GraphiQL's subscription example watches."""
        settings = runtime.settings
        executor = Executor(
            core_schema, _document_limits(settings), cache_characters=settings.document_cache_characters
        )
        config = TransportConfig(
            max_request_bytes=settings.max_request_bytes,
            allowed_origins=frozenset(settings.allowed_origins),
            sockets=settings.sockets,
            sockets_per_address=settings.sockets_per_address,
            socket_messages_per_second=settings.socket_messages_per_second,
            socket_init_timeout=settings.socket_init_timeout_seconds,
            socket_max_operations=settings.socket_max_operations,
            socket_ping=settings.socket_ping_seconds,
            socket_send_timeout=settings.socket_send_timeout_seconds,
        )
        self._runtime = runtime
        runs, places = Runs(executor, runtime.services), Places(config)
        self._streams = EventStreams(runs, runtime.services, config, places)
        self._http = HttpTransport(executor, runtime.services, config, self._streams)
        self._sockets = WebSocketTransport(executor, runs, runtime.services, config, places)
        self.app = self._application(settings, example_channel_id)

    async def shut_down(self) -> None:
        """End every socket and stream, so that its client goes on elsewhere, then what is left of subscriptions."""
        self._streams.shut_down()
        await self._sockets.shut_down()
        self._runtime.services.hub.close()

    def _application(self, settings: Settings, example_channel_id: str | None) -> Litestar:
        http, sockets, health = self._http, self._sockets, Health(self._runtime)
        assets, ide = _ide(example_channel_id) if settings.graphiql else ({}, None)

        # Without Litestar's own request handling, whose part of the time of a small request is as large as ours.
        @asgi("/graphql", copy_scope=False)
        async def graphql(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.WEBSOCKET:
                await sockets.serve(scope, receive, send)
                return
            request: AnyRequest = Request(scope, receive, send)
            wants_page = request.method == "GET" and "query" not in request.query_params
            if ide is not None and wants_page and _is_browser(request):
                page = ASGIResponse(body=ide.encode(), media_type="text/html", headers=dict(graphiql.PAGE_HEADERS))
                await page(scope, receive, send)
            else:
                await http.serve(request)

        @get("/graphiql/{name:str}")
        async def asset(name: FromPath[str], request: AnyRequest) -> Response[bytes]:
            found = assets.get(name)
            if found is None:
                return Response(b"", status_code=404, media_type="text/plain")
            return _file(found.body, found.media_type, found.headers(request.query_params.get("v")))

        @get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}

        @get("/readyz")
        async def readyz() -> Response[dict[str, str]]:
            states = await health.ready()
            return Response(states, status_code=200 if set(states.values()) == {"ok"} else 503)

        @get("/metrics")
        async def metrics() -> Response[bytes]:
            return Response(counters.shown(), media_type=counters.MEDIA_TYPE)

        handlers = [_root(leads_on=ide is not None), graphql, asset, healthz, readyz, metrics]
        if settings.events_https_secrets:
            door = HttpsDoor(
                self._runtime.ingest, HttpsConfig(settings.events_https_secrets, settings.events_https_seconds)
            )
            handlers.append(events_route(door, max_bytes=settings.events_https_max_bytes))
        origins = list(settings.allowed_origins)
        return Litestar(
            handlers,
            request_max_body_size=settings.max_request_bytes,
            openapi_config=None,
            logging_config=None,
            cors_config=CORSConfig(allow_origins=origins, allow_credentials=True) if origins else None,
        )


def _root(*, leads_on: bool) -> HTTPRouteHandler:
    @get("/")
    async def root(request: AnyRequest) -> Response[bytes]:
        if not (leads_on and _is_browser(request)):
            raise NotFoundException
        return Response(b"", status_code=307, headers={"Location": "/graphql", "Vary": "Accept"})

    return root


def _is_browser(request: AnyRequest) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _file(body: bytes, content_type: str, headers: Mapping[str, str]) -> Response[bytes]:
    # Litestar adds the charset to every text type by itself.
    media_type = content_type.partition(";")[0]
    return Response(body, status_code=200, media_type=media_type, headers=dict(headers))


def _ide(example_channel_id: str | None) -> tuple[Mapping[str, graphiql.Loaded], str]:
    """Return GraphiQL's files and page; without the files, a page that says how to get them."""
    missing = graphiql.missing(WEB_DIR)
    if missing:
        return {}, graphiql.hint_page(missing)
    assets = graphiql.load(WEB_DIR)
    return assets, graphiql.page(assets, channel_id=example_channel_id)


def _document_limits(settings: Settings) -> DocumentLimits:
    return DocumentLimits(
        tokens=settings.max_document_tokens,
        depth=settings.max_document_depth,
        fields=settings.max_document_fields,
        aliases=settings.max_document_aliases,
    )
