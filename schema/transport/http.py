"""GraphQL over HTTP. Source: the GraphQL over HTTP specification, working draft.

Strawberry's Litestar controller is not used: it keeps the response of the request in hand on one shared object, so that
concurrent requests could swap cookies, and it answers malformed bodies with 500.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from graphql import OperationType
from litestar import Request
from litestar.datastructures import Headers
from litestar.types import Send

from resolvers.context import Services
from resolvers.errors import Code, RequestError
from schema.documents import GraphQLRequest
from schema.execution import Executor
from schema.faults import masked, request_error
from schema.limits import LIMITS
from schema.transport.config import TransportConfig, origin_allowed
from schema.transport.viewers import Visitor, cookie_header, new_context, viewer_of

logger = logging.getLogger(__name__)

GRAPHQL_JSON: Final = "application/graphql-response+json"
JSON: Final = "application/json"

METHODS: Final = ("GET", "POST")

_STATUS: Final[Mapping[Code, int]] = {"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "UNAVAILABLE": 503, "INTERNAL": 500}


class Refusal(Exception):
    """The HTTP request is answered without running anything."""

    def __init__(self, status: int, code: Code, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.response = request_error(code, message)
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it goes out."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    async def send(self, send: Send) -> None:
        """Send it whole."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class HttpTransport:
    """Answers GET and POST on the GraphQL path."""

    def __init__(self, executor: Executor, services: Services, config: TransportConfig) -> None:
        self._executor = executor
        self._services = services
        self._config = config

    async def serve(self, request: "Request[Any, Any, Any]") -> None:
        """Answer with the result of the request's operation, or with why there is none."""
        await (await self._outcome(request)).send(request.send)

    async def _outcome(self, request: "Request[Any, Any, Any]") -> Answer:
        media_type = JSON
        try:
            headers = request.headers
            media_type = negotiated(headers.get("accept"))
            return await self._answer(request, headers, media_type)
        except Refusal as refusal:
            return _encoded(refusal.response, media_type, refusal.status, refusal.headers)
        except RequestError as error:
            return _encoded(request_error(error.code, str(error)), media_type, _STATUS.get(error.code, 400))
        except Exception as error:  # noqa: BLE001 - what no operation has caught, such as a database that is away
            code, message = masked(error, "the request")
            return _encoded(request_error(code, message), media_type, _STATUS[code])

    async def _answer(self, request: "Request[Any, Any, Any]", headers: Headers, media_type: str) -> Answer:
        origin, host = headers.get("origin"), headers.get("host")
        if not origin_allowed(origin, host, self._config.allowed_origins):
            raise Refusal(403, "FORBIDDEN", f"Pages of {origin} may not use this API; see the setting ALLOWED_ORIGINS.")
        if request.method not in METHODS:
            raise Refusal(405, "BAD_INPUT", "Queries need GET or POST, mutations POST.", {"Allow": ", ".join(METHODS)})
        graphql = await self._read(request, headers)
        visitor = Visitor.of(request)
        viewer = await viewer_of(self._services, visitor.authorization, visitor.cookie)
        prepared = self._executor.prepare(graphql.query)
        kind = prepared.operation_type(graphql.operation_name)
        if kind is OperationType.SUBSCRIPTION:
            raise Refusal(400, "BAD_INPUT", "Subscriptions need a websocket with the protocol graphql-transport-ws.")
        if request.method == "GET" and kind is OperationType.MUTATION:
            raise Refusal(405, "BAD_INPUT", "Mutations need POST.", {"Allow": "POST"})
        ctx = new_context(self._services, viewer, visitor)
        if viewer is not None and viewer.user is not None and kind is OperationType.QUERY:
            ctx.reads.remember(viewer.user)
        response = await self._executor.run(prepared, graphql, ctx)
        # Old clients that ask for application/json take any status but 200 for a fault of the network.
        status = 400 if media_type == GRAPHQL_JSON and "data" not in response else 200
        cookie = {}
        if ctx.cookie is not None:
            cookie["Set-Cookie"] = cookie_header(ctx.cookie, secure=request.scope["scheme"] == "https")
        return _encoded(response, media_type, status, cookie)

    async def _read(self, request: "Request[Any, Any, Any]", headers: Headers) -> GraphQLRequest:
        if request.method == "GET":
            parameters = request.query_params
            return graphql_request(
                {
                    "query": parameters.get("query"),
                    "operationName": parameters.get("operationName"),
                    "variables": _json_parameter(parameters.get("variables"), "variables"),
                    "extensions": _json_parameter(parameters.get("extensions"), "extensions"),
                }
            )
        # Only this type makes a browser ask first (CORS) before another site's page may send it.
        content_type = headers.get("content-type", "").lower().replace(" ", "")
        if content_type not in (JSON, f"{JSON};charset=utf-8"):
            raise Refusal(415, "BAD_INPUT", f"The body must be {JSON} in UTF-8.", {"Accept": JSON})
        if headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "BAD_INPUT", "The body must not be compressed.", {"Accept-Encoding": "identity"})
        return graphql_request(_json(await self._body(request, headers), "The body"))

    async def _body(self, request: "Request[Any, Any, Any]", headers: Headers) -> bytes:
        limit = self._config.max_request_bytes
        announced = headers.get("content-length", "0")
        size, parts = int(announced) if announced.isdecimal() else 0, []
        while size <= limit:
            event = await request.receive()
            if event["type"] != "http.request":
                raise Refusal(400, "BAD_INPUT", "The body ended before it was complete.")
            parts.append(event.get("body", b""))
            size = max(size, sum(map(len, parts)))
            if size <= limit and not event.get("more_body"):
                return b"".join(parts)
        LIMITS.labels("request_bytes").inc()
        raise Refusal(413, "TOO_COSTLY", f"The body is larger than {limit} bytes.")


def graphql_request(parameters: Any) -> GraphQLRequest:
    """Return the request of decoded JSON.

    Raises:
        RequestError: BAD_INPUT naming the parameter that is missing or of the wrong type.
    """
    if isinstance(parameters, list):
        raise RequestError("BAD_INPUT", "Batches are not accepted: send one operation per request.")
    if not isinstance(parameters, dict):
        raise RequestError("BAD_INPUT", 'The request must be a JSON object with "query".')
    query = parameters.get("query")
    if not isinstance(query, str):
        raise RequestError("BAD_INPUT", '"query" must be a string: the GraphQL document.')
    operation_name, variables = parameters.get("operationName"), parameters.get("variables")
    if not isinstance(operation_name, str | None):
        raise RequestError("BAD_INPUT", '"operationName" must be a string or null.')
    for name in ("variables", "extensions"):
        if not isinstance(parameters.get(name), dict | None):
            raise RequestError("BAD_INPUT", f'"{name}" must be an object or null.')
    return GraphQLRequest(query, operation_name or None, variables)


def negotiated(accept: str | None) -> str:
    """Return the media type of the response.

    Raises:
        Refusal: 406 if the client accepts neither.
    """
    best, chosen = 0.0, None
    for part in (accept or JSON).split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((_quality(piece[2:]) for piece in parameters if piece.startswith("q=")), 1.0)
        offered = {GRAPHQL_JSON: GRAPHQL_JSON, JSON: JSON, "application/*": JSON, "*/*": JSON}.get(name)
        if offered is not None and quality > best:
            best, chosen = quality, offered
    if chosen is None:
        raise Refusal(406, "BAD_INPUT", f"The response is {GRAPHQL_JSON} or {JSON}; accept one of them.")
    return chosen


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _json_parameter(text: str | None, name: str) -> Any:
    return None if text is None else _json(text.encode(), f'"{name}"')


def _json(body: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("BAD_INPUT", f"{what} is not JSON: {error}") from error


def _encoded(
    response: Mapping[str, Any], media_type: str, status: int, headers: Mapping[str, str] | None = None
) -> Answer:
    own = {
        "Content-Type": f"{media_type}; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Answer(status, {**own, **(headers or {})}, msgspec.json.encode(response))
