"""Answers over HTTP: their media types, their form, and the refusals that run nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec
from litestar.types import Send

from resolvers.errors import Code
from schema.faults import request_error

GRAPHQL_JSON: Final = "application/graphql-response+json"
JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

# Source: GraphQL over Server-Sent Events Protocol (PROTOCOL.md of graphql-sse), "Distinct connections mode". An event
# without a line of data would not reach a page's EventSource (WHATWG HTML, 9.2.6).
NEXT: Final = b"event: next\ndata: "
END: Final = b"\n\n"
COMPLETE: Final = b"event: complete\ndata:\n\n"

_OFFERED: Final = {
    GRAPHQL_JSON: GRAPHQL_JSON,
    JSON: JSON,
    "application/*": JSON,
    "*/*": JSON,
    EVENT_STREAM: EVENT_STREAM,
    "text/*": EVENT_STREAM,
}


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
        headers = encoded_headers({**self.headers, "Content-Length": str(len(self.body))})
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def answer(
    response: Mapping[str, Any], media_type: str, status: int, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return the answer that holds the GraphQL response: as JSON, or as the only result of an event stream."""
    body = msgspec.json.encode(response)
    if media_type == EVENT_STREAM:
        body = b"".join((NEXT, body, END, COMPLETE))
    return Answer(status, {**common_headers(media_type), **(headers or {})}, body)


def common_headers(media_type: str) -> dict[str, str]:
    """Return the headers of every answer."""
    return {
        "Content-Type": f"{media_type}; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def encoded_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


@lru_cache(maxsize=256)
def acceptable(accept: str | None) -> tuple[str, ...]:
    """Return the media types of ours that the client accepts, best first.

    Raises:
        Refusal: 406 if it accepts none.
    """
    best: dict[str, float] = {}
    for part in (accept or JSON).split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((_quality(piece[2:]) for piece in parameters if piece.startswith("q=")), 1.0)
        offered = _OFFERED.get(name)
        if offered is not None and quality > best.get(offered, 0.0):
            best[offered] = quality
    if not best:
        message = f"The response is {GRAPHQL_JSON}, {JSON} or {EVENT_STREAM}; accept one of them."
        raise Refusal(406, "BAD_INPUT", message)
    return tuple(sorted(best, key=best.__getitem__, reverse=True))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
