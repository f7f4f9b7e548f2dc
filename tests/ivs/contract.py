"""Checks raw answers against botocore's service models, independently of the emulator's own check."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.model import OperationModel, Shape

KINDS = {"string": str, "boolean": bool, "integer": int, "long": int, "structure": dict, "map": dict, "list": list}

# AWS's documented departures from its own models: preset reads "" for BASIC and STANDARD, activeSessionId is "" when
# nobody is on the stage.
MAY_BE_EMPTY = {"TranscodePreset", "StageSessionId"}


def breaches(shape: Shape, value: Any, path: str = "") -> list[str]:
    """Everything in `value` that the shape does not allow."""
    if shape.type_name == "timestamp":
        assert isinstance(value, str), path
        return [] if datetime.fromisoformat(value).tzinfo else [f"{path}: no time zone"]
    if type(value) is not KINDS[shape.type_name]:
        return [f"{path}: {value!r} is not {shape.type_name}"]
    if value == "" and shape.name in MAY_BE_EMPTY:
        return []
    return [*_rules(shape, value, path), *_inside(shape, value, path)]


def _rules(shape: Shape, value: Any, path: str) -> Iterator[str]:
    limits = shape.metadata
    size = value if isinstance(value, int) else len(value)
    if not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{path}: size {size} outside {limits.get('min')}..{limits.get('max')}"
    if limits.get("enum") and value not in limits["enum"]:
        yield f"{path}: {value!r} not in {limits['enum']}"
    # The models write the type of any resource as one letter, `[a-z-]/`; no ARN is like that.
    pattern = limits.get("pattern", "").replace("[a-z-]/", "[a-z-]+/")
    if isinstance(value, str) and pattern and not re.fullmatch(pattern, value):
        yield f"{path}: {value!r} does not match {pattern}"


def _inside(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from (f"{path}.{name}: missing" for name in shape.required_members if name not in value)
        yield from (f"{path}.{name}: unknown" for name in value if name not in shape.members)
        for name in value.keys() & shape.members.keys():
            yield from breaches(shape.members[name], value[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from breaches(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from [*breaches(shape.key, key, f"{path}{{}}"), *breaches(shape.value, item, f"{path}.{key}")]


def check_answer(operation: OperationModel, status: int, body: bytes) -> None:
    """Fails unless a successful answer is what the operation's model says."""
    assert status == operation.http["responseCode"], operation.name
    if operation.output_shape is None:
        assert body == b"", operation.name
    else:
        assert breaches(operation.output_shape, json.loads(body)) == [], operation.name


def check_error(operation: OperationModel, status: int, code: str, body: bytes) -> None:
    """Fails unless an error answer is what the model of the error says, if the service has one."""
    shapes = operation.service_model
    if code in shapes.shape_names:
        shape = shapes.shape_for(code)
        assert status == shape.metadata["error"]["httpStatusCode"], code
        assert breaches(shape, json.loads(body)) == [], code
