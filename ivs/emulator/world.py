"""The one mutable thing: the emulated account with its clock, its lock and its outgoing events."""

import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID

from ivs.emulator.bus import Event, deliver
from ivs.emulator.calls import Calls
from ivs.emulator.errors import ToldRefusalError, not_found, quota
from ivs.emulator.faults import Faults
from ivs.emulator.identity import arn, region_of
from ivs.emulator.limits import Limits
from ivs.emulator.store import Doc, Store

# Facts b.6, "Resource": what an account may own per region.
QUOTAS = {
    "channel": 5000,
    "recording-configuration": 20,
    "playback-key": 3,
    "stream": 100,
    "room": 50_000,
    "logging-configuration": 10,
    "stage": 1000,
    "public-key": 3,
}


@dataclass
class Settings:
    """What a test may change (`POST /_emulator/settings`).

    Attributes:
        silence_seconds: How long an encoder may be silent before AWS ends its broadcast.
        creating_seconds: How long a new recording configuration stays `CREATING`.
        recording_outcome: What becomes of recordings: `ended`, `empty` (nothing was recorded), `start-failure`,
            `end-failure`.
        quotas: How many resources of each kind a region may have.
    """

    silence_seconds: float = 30.0
    creating_seconds: float = 0.0
    recording_outcome: str = "ended"
    quotas: dict[str, int] = field(default_factory=lambda: dict(QUOTAS))


@dataclass(frozen=True)
class Call:
    """One call of an AWS operation: who is asked for what, where."""

    service: str
    operation: str
    region: str
    params: dict[str, Any]


class World:
    """State shared by all requests. Use it inside `transaction()` only."""

    account = DEFAULT_ACCOUNT_ID

    def __init__(self, state: Path | None) -> None:
        self.store = Store(state)
        self.settings = Settings()
        self.calls = Calls()
        self.faults = Faults()
        self.limits = Limits()
        self._lock = threading.RLock()
        self._outbox: list[Event] = []
        self._stands_at: float | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: what was written is kept and what was emitted is delivered only when the body succeeds."""
        with self._lock:
            self.store.begin()
            try:
                yield
            except ToldRefusalError:
                self._finish()
                raise
            except BaseException:
                self.store.rollback()
                self._outbox.clear()
                raise
            self._finish()

    def _finish(self) -> None:
        self.store.commit()
        # Delivered under the lock, so that events leave in the order in which things happened.
        events, self._outbox = self._outbox, []
        for event in events:
            deliver(event, self.account)

    def now(self) -> float:
        """Epoch seconds: the real ones, unless the clock stands."""
        return time.time() if self._stands_at is None else self._stands_at

    def set_clock(self, at: float | None) -> None:
        """Lets the clock stand at these epoch seconds; None lets it go with the real one again."""
        self._stands_at = at

    def emit(self, kind: str, resources: list[str], detail: Doc, region: str) -> None:
        """Puts an event on the region's default bus when the transaction ends; `kind` is its detail-type."""
        self._outbox.append(Event(kind, region, int(self.now()), resources, detail))

    def create(self, call: Call, service: str, kind: str, body: Doc, *, parent: str = "", name: str = "") -> Doc:
        """Stores a new resource under a new ARN, which becomes its member `arn`.

        Raises:
            AwsError: ServiceQuotaExceededException.
        """
        limit = self.quota(kind, call.region)
        if limit is not None and self.store.count(kind, call.region) >= limit:
            raise quota(f"{kind} resources", limit)
        made = {"arn": arn(service, call.region, self.account, kind, name or None), **body}
        made["tags"] = dict(call.params.get("tags", {})) if "tags" not in body else body["tags"]
        self.store.put(kind, made["arn"], made, region=call.region, parent=parent)
        return made

    def quota(self, kind: str, region: str) -> int | None:
        """How many resources of a kind the region may have; None if there is no limit."""
        limit, more = self.settings.quotas.get(kind), self.store.get("quota", f"{kind}/{region}")
        return limit if limit is None or more is None else limit + int(more["count"])

    def raise_quota(self, kind: str, region: str, count: int) -> None:
        """Lets the region have so many more for good, as AWS's support does when it is asked."""
        more = self.store.get("quota", f"{kind}/{region}") or {"count": 0}
        self.store.put("quota", f"{kind}/{region}", {"count": more["count"] + count}, region=region)

    def find(self, call: Call, kind: str, key: str) -> Doc:
        """The resource with the ARN `key` in the region of the call.

        Raises:
            AwsError: ResourceNotFoundException.
        """
        body = self.store.get(kind, key) if region_of(key) == call.region else None
        if body is None:
            raise not_found(key)
        return body

    def save(self, kind: str, body: Doc) -> None:
        """Writes back a resource that has an ARN."""
        self.store.put(kind, body["arn"], body, region=region_of(body["arn"]))

    def secret(self) -> bytes:
        """The key that signs tokens and page marks; made once per state."""
        with self._lock:
            kept = self.store.get("secret", "signing")
            if kept is None:
                kept = {"value": secrets.token_hex(32)}
                self.store.put("secret", "signing", kept, region="")
        return hashlib.sha256(str(kept["value"]).encode()).digest()

    def reset(self) -> None:
        """Forgets everything, also faults, calls and settings."""
        with self._lock:
            self.store.clear()
            self._outbox.clear()
            self.settings = Settings()
            self.set_clock(None)
        self.calls.clear()
        self.faults.clear()
        self.limits.set(enforce=False)
