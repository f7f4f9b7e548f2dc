"""Remembers which AWS calls arrived, for tests that count them."""

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 10_000


@dataclass
class Recorded:
    """A call as it arrived and what it got.

    Attributes:
        service: botocore's service name (`ivs`, `ivschat`, `ivs-realtime`, `sqs`, ...).
        operation: AWS's operation name.
        at: Arrival in epoch seconds.
        params: The request's members; empty for services that moto answers, but for FilterLogEvents.
        status: HTTP status, or None when nothing was answered (time-outs, dropped connections).
        error: AWS's error code, `no-answer` when nothing was answered, or None.
    """

    service: str
    operation: str
    at: float
    params: dict[str, Any]
    status: int | None = None
    error: str | None = None


class Calls:
    """The newest 10,000 calls, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Recorded] = deque(maxlen=KEPT)

    def add(self, call: Recorded) -> None:
        """Remembers a call; its outcome is filled in later."""
        with self._lock:
            self._calls.append(call)

    def list(self, service: str | None = None, operation: str | None = None) -> list[dict[str, Any]]:
        """The calls, of one service or operation if given."""
        with self._lock:
            return [
                asdict(call)
                for call in self._calls
                if service in (None, call.service) and operation in (None, call.operation)
            ]

    def clear(self) -> None:
        """Forgets all calls."""
        with self._lock:
            self._calls.clear()
