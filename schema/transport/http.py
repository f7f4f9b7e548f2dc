"""GraphQL over HTTP. Source: the GraphQL over HTTP specification, working draft.

Strawberry's Litestar controller is not used: it keeps the response of the request in hand on one shared object, so that
concurrent requests could swap cookies, and it answers malformed bodies with 500.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from graphql import OperationType
from litestar import Request
from litestar.datastructures import Headers

from resolvers.context import Services
from resolvers.errors import Code, RequestError
from schema.documents import GraphQLRequest
from schema.execution import Executor
from schema.faults import masked, request_error
from schema.limits import LIMITS
from schema.transport.answers import EVENT_STREAM, GRAPHQL_JSON, JSON, Answer, Refusal, acceptable, answer
from schema.transport.config import TransportConfig, origin_allowed
from schema.transport.sse import EventStreams
from schema.transport.viewers import Visitor, cookie_header, new_context, viewer_of

logger = logging.getLogger(__name__)

METHODS: Final = ("GET", "POST")

_STATUS: Final[Mapping[Code, int]] = {"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "UNAVAILABLE": 503, "INTERNAL": 500}


class HttpTransport:
    """Answers GET and POST on the GraphQL path."""

    def __init__(self, executor: Executor, services: Services, config: TransportConfig, streams: EventStreams) -> None:
        self._executor = executor
        self._services = services
        self._config = config
        self._streams = streams

    async def serve(self, request: "Request[Any, Any, Any]") -> None:
        """Answer with the result of the request's operation, or with why there is none."""
        outcome = await self._outcome(request)
        if outcome is not None:
            await outcome.send(request.send)

    async def _outcome(self, request: "Request[Any, Any, Any]") -> Answer | None:
        media_type = JSON
        try:
            headers = request.headers
            accepted = acceptable(headers.get("accept"))
            # What is wrong with a request is told outside of streams: clients look at the status.
            media_type = GRAPHQL_JSON if accepted[0] == GRAPHQL_JSON else JSON
            return await self._answer(request, headers, accepted)
        except Refusal as refusal:
            return answer(refusal.response, media_type, refusal.status, refusal.headers)
        except RequestError as error:
            return answer(request_error(error.code, str(error)), media_type, _STATUS.get(error.code, 400))
        except Exception as error:  # noqa: BLE001 - what no operation has caught, such as a database that is away
            code, message = masked(error, "the request")
            return answer(request_error(code, message), media_type, _STATUS[code])

    async def _answer(
        self, request: "Request[Any, Any, Any]", headers: Headers, accepted: Sequence[str]
    ) -> Answer | None:
        """Return the answer; null if it has been sent, as a stream."""
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
        if kind is OperationType.SUBSCRIPTION and EVENT_STREAM not in accepted:
            raise Refusal(
                400,
                "BAD_INPUT",
                f"Subscriptions need a websocket with the protocol graphql-transport-ws, or to accept {EVENT_STREAM}.",
            )
        if request.method == "GET" and kind is OperationType.MUTATION:
            raise Refusal(405, "BAD_INPUT", "Mutations need POST.", {"Allow": "POST"})
        ctx = new_context(self._services, viewer, visitor)
        if kind is OperationType.SUBSCRIPTION and not prepared.errors:
            await self._streams.serve(request, prepared, graphql, ctx)
            return None
        if viewer is not None and viewer.user is not None and kind is OperationType.QUERY:
            ctx.reads.remember(viewer.user)
        response = await self._executor.run(prepared, graphql, ctx)
        # Old clients that ask for application/json take any status but 200 for a fault of the network.
        status = 400 if accepted[0] == GRAPHQL_JSON and "data" not in response else 200
        cookie = {}
        if ctx.cookie is not None:
            cookie["Set-Cookie"] = cookie_header(ctx.cookie, secure=request.scope["scheme"] == "https")
        return answer(response, accepted[0], status, cookie)

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


def _json_parameter(text: str | None, name: str) -> Any:
    return None if text is None else _json(text.encode(), f'"{name}"')


def _json(body: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("BAD_INPUT", f"{what} is not JSON: {error}") from error
