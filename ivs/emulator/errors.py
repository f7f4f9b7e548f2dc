"""Errors the emulator answers with, in AWS's words."""

import re
from typing import Any


class AwsError(Exception):
    """An error answer of an AWS operation.

    Attributes:
        code: AWS's error code, which is what clients match on (`ChannelNotBroadcasting`, `ConflictException`, ...).
        message: What is wrong, for a person.
        members: Further members of the error's shape (IVS Chat: `resourceId`, `resourceType`, `limit`, `fieldList`).
    """

    def __init__(self, code: str, message: str, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.members = members


class ControlError(Exception):
    """A refusal of the control door: an HTTP status and one clear sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ToldRefusalError(ControlError):
    """A refusal that AWS tells about with an event, so what was emitted before it is delivered all the same."""


class StateError(RuntimeError):
    """The state file cannot be used; the text is one sentence for the operator."""


class OutputError(RuntimeError):
    """A handler answered something that AWS's service model does not know: a fault of the emulator itself."""


def constraint(field: str, rule: str, value: object = None) -> AwsError:
    """`ValidationException` (HTTP 400) in the wording of AWS's own validator, for the member at path `field`."""
    shown = "" if value is None else f"Value '{value}' "
    message = f"1 validation error detected: {shown}at '{field}' failed to satisfy constraint: {rule}"
    return AwsError("ValidationException", message, fieldList=[{"name": field, "message": message}])


def not_found(arn: str) -> AwsError:
    """`ResourceNotFoundException` (HTTP 404) for the resource `arn`."""
    return AwsError("ResourceNotFoundException", f"Resource: {arn} not found", **_about(arn))


def quota(what: str, limit: int) -> AwsError:
    """`ServiceQuotaExceededException` (HTTP 402): there are already `limit` of `what`."""
    message = f"Service quota exceeded: at most {limit} {what}"
    return AwsError("ServiceQuotaExceededException", message, limit=limit, **_about(what))


def conflict(message: str, arn: str) -> AwsError:
    """`ConflictException` (HTTP 409): the state of `arn` forbids the call now."""
    return AwsError("ConflictException", message, **_about(arn))


def throttled(operation: str, limit: int) -> AwsError:
    """`ThrottlingException` (HTTP 429): more than `limit` calls per second of `operation`."""
    message = f"Rate exceeded for {operation}: {limit} per second"
    return AwsError("ThrottlingException", message, limit=limit, **_about(operation))


def offline(channel_arn: str) -> AwsError:
    """`ChannelNotBroadcasting` (HTTP 404): AWS's word for an offline channel, not a failure."""
    return AwsError("ChannelNotBroadcasting", f"Channel: {channel_arn} is not broadcasting")


def _about(what: str) -> dict[str, str]:
    # IVS Chat's errors require both; its model knows no other type than ROOM, and ids of letters and digits only.
    return {"resourceId": re.sub(r"[^a-zA-Z0-9]", "", what.rpartition("/")[2]), "resourceType": "ROOM"}
