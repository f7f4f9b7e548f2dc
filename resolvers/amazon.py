"""What is said when Amazon did not do it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ivs.errors import AwsError, Retryable
from resolvers.errors import AmazonUnavailable, Refused

logger = logging.getLogger(__name__)

# AWS's rates are per second; a fault that will be the same next time is for the operators, who need longer.
_SOON = 1
_LATER = 60


def unavailable(retry_after_seconds: int = _SOON, message: str | None = None) -> Refused:
    """Return the refusal for what Amazon has not done yet; a `message` says what is to be known besides."""
    sentence = message or f"Amazon did not do it; try again in {retry_after_seconds} seconds."
    return Refused(AmazonUnavailable(message=sentence, retry_after_seconds=retry_after_seconds))


def failed(error: AwsError, message: str | None = None) -> Refused:
    """Return the refusal for a call to AWS that failed, and log it: why is for the operators alone."""
    logger.warning("refused by AWS: %s", error)
    return unavailable(_SOON if isinstance(error, Retryable) else _LATER, message)


@contextmanager
def asked(message: str | None = None) -> Iterator[None]:
    """Refuse when a call to AWS in the block fails.

    Raises:
        Refused: AmazonUnavailable.
    """
    try:
        yield
    except AwsError as error:
        raise failed(error, message) from error
