"""AWS's own descriptions of the three IVS services, as botocore ships them, and which operation a request means."""

from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qs

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from ivs.emulator.identity import REALTIME_TYPES, kind_of

# What the credential scope of a signature names, and the services behind it: IVS Real-Time signs as `ivs`.
SIGNED_AS = {"ivs": ("ivs", "ivs-realtime"), "ivschat": ("ivschat",)}
TAGS_PATH = "/tags/"


@dataclass(frozen=True)
class Route:
    """An operation and the members of its input that stand in the address."""

    service: str
    model: OperationModel
    params: dict[str, object]


@cache
def service_model(service: str) -> ServiceModel:
    """The model of `ivs`, `ivschat` or `ivs-realtime`."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def routes(signing_name: str) -> dict[tuple[str, str], tuple[str, OperationModel]]:
    """(method, path) to (service, operation) for everything the models know, except the operations on tags."""
    found: dict[tuple[str, str], tuple[str, OperationModel]] = {}
    for service in SIGNED_AS[signing_name]:
        model = service_model(service)
        for name in model.operation_names:
            operation = model.operation_model(name)
            if not operation.http["requestUri"].startswith(TAGS_PATH):
                found[operation.http["method"], operation.http["requestUri"]] = (service, operation)
    return found


@cache
def _tag_operations(service: str) -> dict[str, OperationModel]:
    operations = map(service_model(service).operation_model, ("ListTagsForResource", "TagResource", "UntagResource"))
    return {operation.http["method"]: operation for operation in operations}


def route(signing_name: str, method: str, path: str, query: str) -> Route | None:
    """The operation a request means, or None. The operations on tags share one path, so their ARN decides."""
    if path.startswith(TAGS_PATH):
        arn = path.removeprefix(TAGS_PATH)
        realtime = signing_name == "ivs" and kind_of(arn) in REALTIME_TYPES
        service = "ivs-realtime" if realtime else SIGNED_AS[signing_name][0]
        operation = _tag_operations(service).get(method)
        if operation is None:
            return None
        keys = {"tagKeys": parse_qs(query).get("tagKeys", [])} if method == "DELETE" else {}
        return Route(service, operation, {"resourceArn": arn, **keys})
    known = routes(signing_name).get((method, path))
    return Route(*known, {}) if known else None


def error_status(service: str, code: str) -> int:
    """The HTTP status of an error code: the model's, or AWS's usual one for a code the service does not model."""
    shapes = service_model(service)
    if code in shapes.shape_names:
        return int(shapes.shape_for(code).metadata["error"]["httpStatusCode"])
    return {"ThrottlingException": 429, "SerializationException": 400, "UnknownOperationException": 404}.get(code, 500)
