"""Places for clients that stay connected, by websocket or by event stream."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client

from schema.limits import LIMITS
from schema.transport.answers import Refusal
from schema.transport.config import TransportConfig

SOCKETS = prometheus_client.Gauge("streamcat_sockets", "Open websockets and event streams", multiprocess_mode="livesum")
CLOSED = prometheus_client.Counter(
    "streamcat_sockets_closed_total", "Websockets and event streams that the server ended, by close code", ["code"]
)


class Places:
    """The places of this process."""

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._taken = 0
        self._addresses: Counter[str] = Counter()

    @contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """Hold a place for a client at the address while the block runs.

        Raises:
            Refusal: 503 if the process has none left, 429 if the address has as many as it may.
        """
        if self._taken >= self._config.sockets:
            limit = self._config.sockets
            raise _full(503, "sockets", f"The server already serves {limit} websockets and event streams.")
        if self._addresses[address] >= self._config.sockets_per_address:
            limit = self._config.sockets_per_address
            message = f"Your address already has {limit} websockets and event streams open."
            raise _full(429, "sockets_per_address", message)
        self._taken += 1
        self._addresses[address] += 1
        SOCKETS.inc()
        try:
            yield
        finally:
            SOCKETS.dec()
            self._taken -= 1
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


def _full(status: int, limit: str, message: str) -> Refusal:
    LIMITS.labels(limit).inc()
    return Refusal(status, "TOO_COSTLY", message, {"Retry-After": "5"})
