"""Checks values against botocore's shapes, both ways.

botocore checks type, required members and minimum lengths only, on the client's side. AWS checks patterns and maxima
too, so the emulator must, or code that works here is refused there.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from ivs.emulator.errors import OutputError, constraint

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (str,),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}

ABSENT = object()

# Values AWS sends and takes although its own model excludes them (facts b.2: preset "" for BASIC and STANDARD;
# b.4: activeSessionId "" when nobody is on the stage).
BLANK_ALLOWED = frozenset({"TranscodePreset", "StageSessionId"})


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern of a shape, compiled.

    The models write the resource type of a generic ARN as `[a-z-]/`: a single letter, which no ARN has. The services
    do not hold to it, so it is read as the `[a-z-]+/` that was meant.
    """
    return re.compile(pattern.replace("[a-z-]/", "[a-z-]+/"))


def first_fault(shape: Shape, value: Any, path: str) -> tuple[str, str, Any] | None:
    """The first way in which `value` breaks `shape`, or None.

    Returns:
        The member's path (`destinationConfiguration.s3.bucketName`, `arns.1`), the broken rule in AWS's wording, and
        the value, which is None where it must not be repeated (secrets, and values that are whole structures).
    """
    kind = shape.type_name
    if not isinstance(value, TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        return path, f"Member must be of type {kind}", None
    if value == "" and shape.name in BLANK_ALLOWED:
        return None
    rule = _scalar_rule(shape, value)
    if rule is not None:
        secret = bool(shape.metadata.get("sensitive")) or kind in ("structure", "map", "list")
        return path, rule, None if secret else value
    for member, item, where in _parts(shape, value, path):
        fault = (where, "Member must not be null", None) if item is ABSENT else first_fault(member, item, where)
        if fault is not None:
            return fault
    return None


def _parts(shape: Shape, value: Any, path: str) -> Iterator[tuple[Shape, Any, str]]:
    """Shape, value and path of everything inside `value`; ABSENT for required members that are missing."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if name in value or name in shape.required_members:
                yield member, value.get(name, ABSENT), _at(path, name)
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield shape.member, item, _at(path, str(index + 1))
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield shape.key, key, _at(path, key)
            yield shape.value, item, _at(path, key)


def _scalar_rule(shape: Shape, value: Any) -> str | None:
    if shape.type_name in ("string", "list", "map"):
        rule = _size_rule(shape, len(value), "length")
    elif shape.type_name in ("integer", "long", "float", "double"):
        rule = _size_rule(shape, value, "value")
    elif shape.type_name == "timestamp" and not _is_time(value):
        rule = "Member must be a timestamp"
    else:
        rule = None
    pattern = shape.metadata.get("pattern")
    if rule is None and isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        rule = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    if rule is None and isinstance(value, str) and pattern and not compiled(pattern).fullmatch(value):
        rule = f"Member must satisfy regular expression pattern: {pattern}"
    return rule


def _size_rule(shape: Shape, size: float, noun: str) -> str | None:
    limits = shape.metadata
    if "min" in limits and size < limits["min"]:
        return f"Member must have {noun} greater than or equal to {limits['min']}"
    if "max" in limits and size > limits["max"]:
        return f"Member must have {noun} less than or equal to {limits['max']}"
    return None


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def without_nulls(value: Any) -> Any:
    """`value` without the members that are null, which AWS reads as absent."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def check_input(shape: Shape | None, params: dict[str, Any]) -> dict[str, Any]:
    """The known members of a request, checked.

    Raises:
        AwsError: ValidationException that names the first member that is wrong.
    """
    if not isinstance(shape, StructureShape):
        return {}
    known = {name: value for name, value in without_nulls(params).items() if name in shape.members}
    fault = first_fault(shape, known, "")
    if fault is not None:
        raise constraint(*fault)
    return known


def check_output(shape: Shape | None, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a handler, checked before it is sent.

    Raises:
        OutputError: a member the model does not know, or a value it does not allow.
    """
    if not isinstance(shape, StructureShape):
        if answer:
            raise OutputError(f"the model knows no answer, the handler gave {sorted(answer)}")
        return {}
    stranger = _stranger(shape, answer, "")
    if stranger is not None:
        raise OutputError(f"the model of {shape.name} knows no member {stranger}")
    fault = first_fault(shape, answer, "")
    if fault is not None:
        raise OutputError(f"{fault[0]}: {fault[1]}")
    return answer


def _stranger(shape: Shape, value: Any, path: str) -> str | None:
    found: list[str | None] = []
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        found = [_at(path, name) for name in value if name not in shape.members]
        found += [_stranger(shape.members[n], v, _at(path, n)) for n, v in value.items() if n in shape.members]
    elif isinstance(shape, ListShape) and isinstance(value, list):
        found = [_stranger(shape.member, item, _at(path, str(index + 1))) for index, item in enumerate(value)]
    return next((name for name in found if name), None)
