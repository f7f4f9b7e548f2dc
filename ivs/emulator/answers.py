"""How AWS writes answers on the wire: rest-json for IVS, a plain JSON error for the services that moto answers."""

import json
import uuid
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import StructureShape
from werkzeug.wrappers import Response

from ivs.emulator.errors import AwsError
from ivs.emulator.models import error_status, service_model
from ivs.emulator.store import Doc

JSON = "application/json"


def success(status: int, body: Doc, *, empty: bool) -> Response:
    """The answer of an operation; `empty` when the model has no output at all."""
    text = "" if empty else json.dumps(body)
    return Response(text, status, {"x-amzn-RequestId": str(uuid.uuid4())}, content_type=JSON)


def failure(service: str, error: AwsError, status: int | None = None) -> Response:
    """An error answer: the code in `x-amzn-ErrorType`, the message under the service's own key.

    IVS and IVS Real-Time call it `exceptionMessage`, IVS Chat `message` (facts b.5). Members the error's shape does not
    know are left out.
    """
    key = "message" if service == "ivschat" else "exceptionMessage"
    body: dict[str, Any] = {key: error.message}
    known = service_model(service)
    shape = known.shape_for(error.code) if error.code in known.shape_names else None
    if isinstance(shape, StructureShape):
        defaults = {"reason": "FIELD_VALIDATION_FAILED" if "fieldList" in error.members else "OTHER"}
        extra = {**defaults, **error.members}
        body |= {name: value for name, value in extra.items() if name in shape.members and name != key}
    headers = {"x-amzn-ErrorType": error.code, "x-amzn-RequestId": str(uuid.uuid4())}
    return Response(json.dumps(body), status or error_status(service, error.code), headers, content_type=JSON)


def foreign_failure(code: str, message: str, status: int) -> Response:
    """An error answer of a service with the AWS JSON protocol (SQS, EventBridge, CloudWatch Logs)."""
    body = json.dumps({"__type": code, "message": message})
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    return Response(body, status, headers, content_type="application/x-amz-json-1.1")


def s3_failure(code: str, message: str, status: int) -> Response:
    """An error answer of S3."""
    body = f"<?xml version='1.0'?><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    return Response(body, status, {"x-amz-request-id": str(uuid.uuid4())}, content_type="application/xml")
