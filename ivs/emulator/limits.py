"""AWS's request rates per operation, account and region (facts b.6)."""

import threading
import time

from ivs.emulator.errors import throttled

DEFAULT_RATE = 5
RATES: dict[str, int] = {
    **dict.fromkeys(
        (
            "CreateRecordingConfiguration",
            "GetRecordingConfiguration",
            "ListRecordingConfigurations",
            "DeleteRecordingConfiguration",
            "ImportPlaybackKeyPair",
            "GetPlaybackKeyPair",
            "ListPlaybackKeyPairs",
            "DeletePlaybackKeyPair",
            "CreateLoggingConfiguration",
            "GetLoggingConfiguration",
            "ListLoggingConfigurations",
            "UpdateLoggingConfiguration",
            "DeleteLoggingConfiguration",
            "ImportPublicKey",
            "GetPublicKey",
            "ListPublicKeys",
            "DeletePublicKey",
        ),
        3,
    ),
    **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), 10),
    **dict.fromkeys(("SendEvent", "DeleteMessage", "DisconnectUser"), 100),
    "CreateParticipantToken": 50,
    "CreateChatToken": 200,
    "PutMetadata": 155,
}
METADATA_PER_CHANNEL = 5


def rate(operation: str) -> int:
    """Calls per second that AWS allows of an operation."""
    return RATES.get(operation, DEFAULT_RATE)


class Limits:
    """Token buckets that hold one second's worth of calls; off unless a test turns them on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._enforce = False
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    def set(self, *, enforce: bool) -> None:
        """Turns the limits on or off; all buckets are full again."""
        with self._lock:
            self._enforce = enforce
            self._buckets.clear()

    def spend(self, service: str, operation: str, region: str, channel: str | None) -> None:
        """Counts a call.

        Raises:
            AwsError: ThrottlingException when the operation, or PutMetadata's channel, has used its rate up.
        """
        self._take((service, region, operation), operation, rate(operation))
        if operation == "PutMetadata" and channel is not None:
            self._take((service, region, operation, channel), operation, METADATA_PER_CHANNEL)

    def _take(self, key: tuple[str, ...], operation: str, most: int) -> None:
        with self._lock:
            if not self._enforce:
                return
            now = time.monotonic()
            held, since = self._buckets.get(key, (float(most), now))
            held = min(float(most), held + (now - since) * most)
            if held < 1:
                self._buckets[key] = (held, now)
                raise throttled(operation, most)
            self._buckets[key] = (held - 1, now)
