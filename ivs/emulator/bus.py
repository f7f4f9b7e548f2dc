"""Puts IVS's events on moto's EventBridge, so that rules match and targets receive them.

moto's own `put_events` fills every target's input from a template that leaves `account` out; its rules take a finished
envelope too, and that way the envelope arrives as AWS sends it (facts a.1).
"""

import logging
import uuid
from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend
from moto.core.exceptions import ServiceException
from moto.events.utils import EventMessageType
from werkzeug.exceptions import HTTPException

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """An event of `aws.ivs`: detail-type, region, epoch seconds, ARNs, detail."""

    kind: str
    region: str
    at: int
    resources: list[str]
    detail: dict[str, Any]


def deliver(event: Event, account: str) -> None:
    """Hands the event to every enabled rule of the default bus that matches it.

    A target that refuses (a queue that was deleted) is logged and passed over, as EventBridge does not tell the source.
    """
    bus = get_backend("events")[account][event.region].describe_event_bus("default")
    envelope: EventMessageType = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": event.kind,
        "source": "aws.ivs",
        "account": account,
        "time": event.at,
        "region": event.region,
        "resources": event.resources,
        "detail": event.detail,
    }
    for rule in list(bus.rules.values()):
        if rule.state != "ENABLED":
            continue
        shaped = any("InputTransformer" in target for target in rule.targets)
        message = envelope.copy()
        if shaped:
            message["ingestion-time"] = event.at
        try:
            rule.send_to_targets(message, transform_input=shaped)
        except (ServiceException, HTTPException, KeyError, NotImplementedError) as error:
            log.warning("rule %s could not deliver %s: %s", rule.name, event.kind, error)
