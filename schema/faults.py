"""Errors as clients see them: every one with a code from a closed list, and nothing of our insides."""

import logging
import secrets
from collections.abc import Iterable
from typing import Any

from graphql import GraphQLError
from prometheus_client import Counter

from models.engine import in_short
from resolvers.errors import Code, RequestError, database_away

logger = logging.getLogger(__name__)

ERRORS = Counter("streamcat_request_errors_total", "Top-level errors by code", ["code"])


def request_error(code: Code, message: str) -> dict[str, Any]:
    """Return the response to a request that was not executed."""
    ERRORS.labels(code).inc()
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


def formatted(errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
    """Return the errors for the response; log once what is our fault."""
    return [_formatted(error) for error in errors]


def masked(error: BaseException, place: object) -> tuple[Code, str]:
    """Return code and message for what went wrong inside of us, and log it; `place` says where it happened."""
    if database_away(error):
        logger.warning("database unavailable at %s: %s", place, in_short(error))
        return "UNAVAILABLE", "The database does not answer; try again in a moment."
    reference = secrets.token_hex(4)
    logger.error("internal error %s at %s", reference, place, exc_info=error)
    return "INTERNAL", f"Internal error; tell the operators the reference {reference}."


# A document may be quoted in the message about it, but not sent back whole.
_LONGEST_MESSAGE = 1000


def _formatted(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    code, message = _judge(error, cause)
    ERRORS.labels(code).inc()
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    shown: dict[str, Any] = {"message": message}
    if error.locations:
        shown["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        shown["path"] = error.path
    shown["extensions"] = {"code": code}
    return shown


def _judge(error: GraphQLError, cause: BaseException | None) -> tuple[str, str]:
    if cause is None:
        # Syntax, validation, variables: the client's own words, safe to show.
        return str((error.extensions or {}).get("code", "BAD_INPUT")), error.message
    if isinstance(cause, RequestError):
        return cause.code, error.message
    return masked(cause, error.path)
