"""The one HTTP endpoint: our IVS operations, the control door, and moto for everything else."""

import io
import json
import logging
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from ivs.emulator import chat_logs, control, models
from ivs.emulator.answers import failure, foreign_failure, s3_failure, success
from ivs.emulator.calls import Recorded
from ivs.emulator.errors import AwsError, OutputError, throttled
from ivs.emulator.faults import WAITING, Fault
from ivs.emulator.limits import rate
from ivs.emulator.operations import CLAIMED
from ivs.emulator.operations.tags import check_tags
from ivs.emulator.shapes import check_input, check_output
from ivs.emulator.world import Call, World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)


class Application:
    """A WSGI application. One per process, because moto's backends belong to the process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answers a request, or closes its connection when a fault says so."""
        # Read whole, so that nothing unread stands before the next request on a connection that is kept.
        size = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size)
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ["PATH_INFO"]
        if path.startswith(control.PREFIX):
            return control.answer(self.world, self._reset_moto, Request(environ))(environ, start_response)
        scope = _credential_scope(environ.get("HTTP_AUTHORIZATION", ""))
        if scope is None or path.startswith("/moto-api"):
            return Response.from_app(self._moto, environ, buffered=True)(environ, start_response)
        region, signing_name = scope
        if signing_name in models.SIGNED_AS:
            answer = self._ivs(environ, body, region, signing_name)
        else:
            answer = self._foreign(environ, body, region, signing_name)
        return answer(environ, start_response)

    def _ivs(self, environ: "WSGIEnvironment", body: bytes, region: str, signing_name: str) -> Response:
        found = models.route(signing_name, environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
        if found is None:
            unknown = AwsError("UnknownOperationException", f"No operation has the path {environ['PATH_INFO']}")
            return failure(models.SIGNED_AS[signing_name][0], unknown)
        try:
            params = {**_members(body), **found.params}
        except ValueError:
            return failure(found.service, AwsError("SerializationException", "The body is not a JSON object"))
        call = Call(found.service, found.model.name, region, params)
        return self._with_fault(
            environ,
            call,
            lambda: self._work(found, call),
            lambda error, status: failure(call.service, error, status),
        )

    def _work(self, found: models.Route, call: Call) -> Response:
        shape = found.model.output_shape
        try:
            handler = CLAIMED[call.service].get(call.operation)
            if handler is None:
                gap = f"{call.operation} is not emulated; the list is ivs.emulator.operations.CLAIMED"
                return failure(call.service, AwsError("NotImplementedException", gap), 501)
            checked = Call(call.service, call.operation, call.region, check_input(found.model.input_shape, call.params))
            check_tags(checked.params.get("tags", {}))
            self.world.limits.spend(call.service, call.operation, call.region, checked.params.get("channelArn"))
            with self.world.transaction():
                body = check_output(shape, handler(self.world, checked))
        except AwsError as error:
            return failure(call.service, error)
        except OutputError as bug:
            log.exception("%s answered what AWS would not", call.operation)
            return failure(call.service, AwsError("InternalServerException", f"Bug of the emulator: {bug}"))
        return success(found.model.http["responseCode"], body, empty=shape is None)

    def _foreign(self, environ: "WSGIEnvironment", body: bytes, region: str, service: str) -> Response:
        if service == "s3":
            call, fail = _s3_call(environ), s3_failure
        else:
            operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or environ["REQUEST_METHOD"]
            params = _members(body) if operation == chat_logs.READ else {}
            call, fail = Call(service, operation, region, params), foreign_failure
            if params:
                _replace(environ, json.dumps(chat_logs.asked(self.world, region, params)).encode())
        return self._with_fault(
            environ,
            call,
            lambda: Response.from_app(self._moto, environ, buffered=True),
            lambda error, status: fail(error.code, error.message, status or _FOREIGN.get(error.code, 500)),
        )

    def _with_fault(
        self,
        environ: "WSGIEnvironment",
        call: Call,
        work: Callable[[], Response],
        fail: Callable[[AwsError, int | None], Response],
    ) -> Response:
        record = Recorded(call.service, call.operation, self.world.now(), call.params)
        self.world.calls.add(record)
        fault = self.world.faults.take(call.service, call.operation, call.params)
        kind = fault.kind if fault else ""
        if fault is not None and kind in ("throttle", "error"):
            answer = fail(_ordered(fault, call), fault.status)
        else:
            if fault is not None and kind in ("timeout", "late"):
                fault.wait()
            if kind == "empty-page":
                answer = Response(json.dumps(chat_logs.empty_page(call.params)), content_type=_JSON)
            else:
                answer = Response() if kind == "timeout" else work()
            if fault is not None and kind == "timeout-after":
                fault.wait()
            if kind in (WAITING - {"late"}) | {"drop-after"}:
                record.error = "no-answer"
                _hang_up(environ)
        record.status = answer.status_code
        record.error = _code(answer)
        return answer

    def _reset_moto(self) -> None:
        Client(self._moto).post("/moto-api/reset")


_JSON = "application/x-amz-json-1.1"
_FOREIGN = {"ThrottlingException": 400, "InternalServerException": 500, "AccessDenied": 403}
_S3 = {"GET": "GetObject", "PUT": "PutObject", "POST": "DeleteObjects"}


def _s3_call(environ: "WSGIEnvironment") -> Call:
    """The call behind a request to S3 in path style, of those that the recordings need."""
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    query = Request(environ).args
    if environ["REQUEST_METHOD"] == "GET" and not key:
        return Call("s3", "ListObjectsV2", "", {"Bucket": bucket, "Prefix": query.get("prefix", "")})
    return Call("s3", _S3.get(environ["REQUEST_METHOD"], ""), "", {"Bucket": bucket, "Key": key})


def _ordered(fault: Fault, call: Call) -> AwsError:
    if fault.kind == "throttle":
        return throttled(call.operation, rate(call.operation))
    return AwsError(fault.code, f"{fault.code} was ordered for {call.operation}")


def _code(answer: Response) -> str | None:
    if answer.status_code < HTTPStatus.BAD_REQUEST:
        return None
    named = answer.headers.get("x-amzn-ErrorType")
    return named or str((answer.get_json(force=True, silent=True) or {}).get("__type", answer.status_code))


def _replace(environ: "WSGIEnvironment", body: bytes) -> None:
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))


def _hang_up(environ: "WSGIEnvironment") -> None:
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("a fault closes this connection")


def _members(body: bytes) -> dict[str, Any]:
    members = json.loads(body) if body.strip() else {}
    if not isinstance(members, dict):
        raise ValueError("not an object")  # noqa: TRY004  # what json raises for other bad bodies
    return members


def _credential_scope(authorization: str) -> tuple[str, str] | None:
    """(region, signing name) of a version 4 signature: `... Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`."""
    _, _, rest = authorization.partition("Credential=")
    match rest.partition(",")[0].strip().split("/"):
        case [_key, _date, region, service, _]:
            return region, service.lower()
    return None
