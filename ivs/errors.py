"""What can go wrong on Amazon's side, in two kinds: try again, or do not."""

from typing import Any

import botocore.exceptions

# Codes of the caller's own passing trouble or of Amazon's; every other modelled error will be the same next time.
# Source: the IVS API references, "Errors", and the guide "Error retries" of the AWS SDKs.
_RETRYABLE_CODES = frozenset(
    {
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "InternalServerException",
        "InternalFailure",
        "ServiceUnavailable",
        "StreamUnavailable",
        "ConflictException",
        "RequestTimeout",
        "ExpiredTokenException",
    }
)
_THROTTLED = "ThrottlingException"
_FIRST_SERVER_STATUS = 500
NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError"})
"""Codes of calls that were never sent, for want of anybody to send them as."""


class AwsError(Exception):
    """An AWS call that did not succeed.

    Attributes:
        code: AWS's own error code, or the name of the botocore exception when no answer came.
        operation: Service and operation, as in `ivs.CreateChannel`.
    """

    def __init__(self, code: str, operation: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.code = code
        self.operation = operation


class Retryable(AwsError):
    """The same call may succeed later. After a time-out its work may nevertheless have been done."""


class Throttled(Retryable):
    """A rate of AWS's was used up; nothing was done."""


class Terminal(AwsError):
    """The same call would fail again: a quota, a permission, or a request that AWS refuses."""


def translate(error: Exception, operation: str) -> AwsError:
    """Return the error as ours; the original stays its cause."""
    if isinstance(error, botocore.exceptions.ClientError):
        answer: dict[str, Any] = dict(error.response)
        details = answer.get("Error", {})
        code = str(details.get("Code", "Unknown"))
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        # botocore drops the IVS services' `exceptionMessage` of errors that their models do not name for the operation.
        message = str(details.get("Message") or answer.get("exceptionMessage") or answer.get("message") or "no reason")
        if code == _THROTTLED:
            return Throttled(code, operation, message)
        kind = Retryable if code in _RETRYABLE_CODES or status >= _FIRST_SERVER_STATUS else Terminal
        return kind(code, operation, message)
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return Terminal("ParamValidation", operation, str(error))
    # No answer at all: connection refused, time-out, broken connection, credentials not to be had right now.
    return Retryable(type(error).__name__, operation, str(error))
