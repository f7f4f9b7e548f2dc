"""The HTTPS door: EventBridge rule -> API destination -> here.

One event per request. Amazon delivers again what is not answered with a 2xx status, for up to a day, unless the status
says that the request itself is wrong; those it puts into the dead-letter queue of the rule's target, if there is one.
Source: Amazon EventBridge user guide, "API destinations as targets".
"""

import asyncio
import hmac
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ivs.events import EventMalformed, parse
from models.engine import in_short, refuses_a_value
from subscriptions.ingest import EVENTS, Ingest

logger = logging.getLogger(__name__)

REFUSED = Counter("streamcat_events_refused_total", "Requests to the HTTPS door that were not taken", ["reason"])

_DOOR: Final = "https"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the door answers: a status, and for a person who reads the delivery's log a sentence."""

    status: HTTPStatus
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class HttpsConfig:
    """Who may deliver, and how many seconds a delivery may take."""

    secrets: tuple[str, ...] = field(repr=False)
    patience: float


class HttpsDoor:
    """Takes one event per request; what it answers with 204 is committed."""

    def __init__(self, ingest: Ingest, config: HttpsConfig) -> None:
        self._ingest = ingest
        self._config = config

    def admits(self, secret: str | None) -> bool:
        """Return whether it is one of the secrets, after the same time whichever it is or is not."""
        given = (secret or "").encode()
        found = [hmac.compare_digest(given, known.encode()) for known in self._config.secrets]
        if not any(found):
            REFUSED.labels("secret").inc()
            logger.warning("events over HTTPS: a request without the secret was refused")
        return any(found)

    def refuse_size(self) -> None:
        """Count a body that is larger than the limit."""
        REFUSED.labels("size").inc()
        logger.warning("events over HTTPS: a request larger than EVENTS_HTTPS_MAX_BYTES was refused")

    async def take(self, body: bytes) -> Answer:
        """Apply the event that the body is: 204 when it is committed, 400 if it never can be, else 503."""
        try:
            event = parse(body)
        except EventMalformed as error:
            return _malformed(str(error))
        try:
            # What is committed in the last moment comes again, and is known then.
            async with asyncio.timeout(self._config.patience):
                await self._ingest.apply([event], door=_DOOR)
        except DBAPIError as error:
            if refuses_a_value(error):
                return _malformed(f"PostgreSQL refuses a value: {error.orig}")
            return _unavailable(in_short(error))
        except (SQLAlchemyError, OSError) as error:
            return _unavailable(in_short(error))
        except Exception:
            # Our own fault, and no reason to lose the event.
            logger.exception("events over HTTPS: event %s not applied", event.envelope.id)
            return _unavailable("a fault of the server")
        return Answer(HTTPStatus.NO_CONTENT)


def _malformed(sentence: str) -> Answer:
    EVENTS.labels(_DOOR, "MALFORMED").inc()
    logger.warning("events over HTTPS: %s", sentence)
    return Answer(HTTPStatus.BAD_REQUEST, sentence)


def _unavailable(sentence: str) -> Answer:
    REFUSED.labels("unavailable").inc()
    logger.warning("events over HTTPS: event not applied: %s", sentence)
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "The event is not applied; deliver it again.")
