"""What all comparisons with Amazon have in common: a turn that all processes share, counters, and patience."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from prometheus_client import Counter

from ivs.errors import AwsError
from ivs.events import Event
from models import pace
from models.received import RECONCILIATION
from subscriptions.ingest import Ingest
from subscriptions.publish import Publisher

logger = logging.getLogger(__name__)

RECONCILED = Counter("streamcat_reconciled_total", "Differences from what Amazon says, by the event missing", ["event"])
ROUNDS = Counter("streamcat_reconcile_rounds_total", "Rounds of comparing with Amazon", ["subject", "outcome"])

# Of one transaction: it locks the owners of all its events.
_EVENTS_AT_ONCE: Final = 100

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ReconcilerConfig:
    """How often Amazon is asked, and for how long what has just happened may be missing in its lists; in seconds."""

    interval: float
    grace: float


async def is_our_turn(publisher: Publisher, job: str, interval: float) -> bool:
    """Take the turn of a round, unless another process has just done so."""
    async with publisher.transaction() as transaction:
        # A little more often than the interval, so that a process's own rounds never miss its turn.
        return await pace.attempt(transaction.session, f"job:{job}", rate=1.1 / interval, burst=1) == 0


async def make_up(ingest: Ingest, missing: Sequence[Event]) -> None:
    """Apply the events that never came, as any others."""
    for start in range(0, len(missing), _EVENTS_AT_ONCE):
        await ingest.apply(missing[start : start + _EVENTS_AT_ONCE], door=RECONCILIATION)
    for event in missing:
        logger.info("reconciliation: %s", event.envelope.id)
        detail = event.body["detail"]
        RECONCILED.labels(detail.get("event_name") or detail["recording_status"]).inc()


def failed(error: AwsError) -> str:
    """Say what Amazon did not answer; return its code, the outcome of the round."""
    logger.warning("reconciliation: %s", error)
    return error.code


class Rotation:
    """Chooses as many as a round may ask about, others than in the last round if there are more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0

    def some(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return those whose turn it is."""
        first = self._next % len(items) if items else 0
        self._next = first + self._most
        return [*items[first:], *items[:first]][: self._most]
