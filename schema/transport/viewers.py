"""Who is asking, for both transports: a bearer token, or the session cookie of a browser."""

from dataclasses import dataclass, field
from typing import Any

from litestar.connection import ASGIConnection

from resolvers import auth
from resolvers.context import Context, Services, SessionCookie, Viewer
from resolvers.errors import RequestError

COOKIE = "streamcat_session"


def bearer(value: object) -> str | None:
    """Return the token of an `Authorization` value; null without one.

    Raises:
        RequestError: UNAUTHENTICATED if it is of another scheme.
    """
    if value is None or value == "":
        return None
    scheme, _, token = str(value).partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise RequestError("UNAUTHENTICATED", "Authorization must be `Bearer <token>` with the token of sessionCreate.")
    return token.strip()


async def viewer_of(services: Services, authorization: object, cookie: str | None) -> Viewer | None:
    """Return the viewer, or null for a guest.

    A bearer token that does not hold is an error, since the client believes to be signed in; a stale cookie is not,
    since the browser sends it even with the request that signs in anew.

    Raises:
        RequestError: UNAUTHENTICATED for a bearer token that is unknown, expired or signed out.
    """
    token = bearer(authorization)
    if token is None:
        return await auth.authenticate(services.read_sessions, cookie) if cookie else None
    viewer = await auth.authenticate(services.read_sessions, token)
    if viewer is None:
        raise RequestError("UNAUTHENTICATED", "The session is unknown or over: sign in again with sessionCreate.")
    return viewer


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a connection says of who made it."""

    address: str
    user_agent: str | None
    authorization: str | None = field(repr=False)
    cookie: str | None = field(repr=False)

    @classmethod
    def of(cls, connection: "ASGIConnection[Any, Any, Any, Any]") -> "Visitor":
        """Return what a request, or a socket's handshake, says."""
        headers, client = connection.headers, connection.client
        address = client.host if client else "unknown"
        cookie = connection.cookies.get(COOKIE) if "cookie" in headers else None
        return cls(address, headers.get("user-agent"), headers.get("authorization"), cookie)


def new_context(services: Services, viewer: Viewer | None, visitor: Visitor) -> Context:
    """Return the context of one operation."""
    return Context(services, viewer, visitor.address, visitor.user_agent)


def cookie_header(cookie: SessionCookie, *, secure: bool) -> str:
    """Return the Set-Cookie value: out of reach of scripts, and not sent by other sites' requests."""
    parts = [f"{COOKIE}={cookie.token or ''}", "Path=/", f"Max-Age={cookie.max_age}", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*parts, "Secure"] if secure else parts)
