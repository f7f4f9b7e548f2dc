"""Limits and manners of the transports."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

# Name among the extensions of a scope under which the server offers a `transport.outbox.Wire`.
WIRE: Final = "streamcat.wire"


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Sizes in bytes, times in seconds; `sockets` are those of this process.

    `allowed_origins` are other sites whose pages may use the API.
    """

    max_request_bytes: int = 100_000
    allowed_origins: frozenset[str] = frozenset()
    sockets: int = 20_000
    sockets_per_address: int = 1_000
    socket_init_timeout: float = 10.0
    socket_max_operations: int = 100
    socket_messages_per_second: int = 100
    socket_ping: float = 20.0
    socket_send_timeout: float = 10.0


def origin_allowed(origin: str | None, host: str | None, allowed: frozenset[str]) -> bool:
    """Tell whether a browser page of `origin` may act here: our own pages, and the sites that were named.

    Programs that are not browsers send no Origin. Source: RFC 6454; OWASP, Cross-Site WebSocket Hijacking.
    """
    if origin is None or origin in allowed:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False
