"""What all types share: global ids, the `Node` interface, and rows as the objects behind types.

A field whose Python name is a column's needs no code: rows are returned as they are, and the executor reads the
attribute.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import strawberry
from graphql import FieldNode, FragmentSpreadNode
from strawberry.types import Info as StrawberryInfo

from models.base import Base
from resolvers.context import Context
from resolvers.errors import bad_input
from resolvers.policy import Policy

Info = StrawberryInfo[Context, None]
T = TypeVar("T")


def global_id(row: Any) -> strawberry.ID:
    """Return the opaque id of a row: its type's name and key."""
    text = f"{type(row).__name__}:{row.id.hex}"
    return strawberry.ID(base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))


def parse_id(value: str, *, argument: str, expected: str | None = None) -> tuple[str, UUID]:
    """Return type name and key of a global id.

    Raises:
        RequestError: BAD_INPUT if it is not an id, or one of another type than `expected`.
    """
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True).decode()
        name, _, key = text.partition(":")
        parsed = name, UUID(hex=key)
    except (binascii.Error, ValueError) as error:
        raise bad_input(f"`{argument}` is not an id: pass the `id` of an object on unchanged.") from error
    if expected is not None and name != expected:
        raise bad_input(f"`{argument}` is the id of a {name}; the id of a {expected} is needed.")
    return parsed


def value(function: Callable[[Any], Any], *, description: str, allowed: Policy | None = None) -> Any:
    """Return a field computed from its object alone; null for viewers to whom `allowed` does not show it."""

    def resolve(root: Any, info: Info) -> Any:
        return function(root) if may_see(info, allowed, root) else None

    return strawberry.field(resolver=resolve, description=description, metadata={"value": function, "allowed": allowed})


def viewed(
    function: Callable[[Context, Any], Any], *, description: str, allowed: Policy | None = None, public: bool = False
) -> Any:
    """Return a field computed from its object and its context, which must not mean the viewer if it is `public`.

    Null for viewers to whom `allowed` does not show it.
    """

    def resolve(root: Any, info: Info) -> Any:
        return function(info.context, root) if may_see(info, allowed, root) else None

    return strawberry.field(
        resolver=resolve,
        description=description,
        metadata={"viewed": function, "allowed": allowed, "public": public},
    )


def may_see(info: Info, allowed: Policy | None, root: Any) -> bool:
    """Tell whether the policy, if there is one, shows the object's field to the viewer."""
    return allowed is None or allowed(info.context.viewer, root)


def selected(info: Info) -> set[str]:
    """Return the names of the fields that are, or may be, asked of the field's object, wherever fragments hold them."""
    raw = info._raw_info  # noqa: SLF001 - Strawberry's own way converts the whole tree below
    names: set[str] = set()
    spread: set[str] = set()
    waiting = [node.selection_set for node in raw.field_nodes]
    while waiting:
        for selection in getattr(waiting.pop(), "selections", ()):
            if isinstance(selection, FieldNode):
                names.add(selection.name.value)
            elif not isinstance(selection, FragmentSpreadNode):
                waiting.append(selection.selection_set)
            elif selection.name.value not in spread:
                spread.add(selection.name.value)
                waiting.append(raw.fragments[selection.name.value].selection_set)
    return names


@strawberry.interface(description="Object that can be fetched again by its id, through `node`.")
class Node:
    """Relay's Node. Source: GraphQL Global Object Identification Specification."""

    id: strawberry.ID = value(global_id, description="Opaque id, unique among all objects and stable for ever.")


def secret(**described: Any) -> Any:
    """Return a field whose value the object's `repr` leaves out."""
    field: Any = strawberry.field(**described)
    field.repr = False
    return field


def row_type(model: type[Base], *, description: str) -> Callable[[type[T]], type[T]]:
    """Return the decorator for a type whose objects are rows of `model`."""

    def decorate(cls: type[T]) -> type[T]:
        cls.is_type_of = classmethod(lambda _cls, source, _info: isinstance(source, model))  # type: ignore[attr-defined]
        return strawberry.type(cls, description=description)

    return decorate


def typed(_type: type[T], row: Any) -> T:
    """Tell the type checker that the row stands for the type (see `row_type`)."""
    return row  # type: ignore[no-any-return]
