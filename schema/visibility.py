"""Who may share the answers of a subscription, decided from its plan, before it runs.

A field is public only if its declaration says nothing of a viewer: a column, a computed value, a declared read, each
without a policy; a resolver only if it is marked. Everything else is the viewer's own, as is what cannot be planned.
And a public subscription is run as a guest: should a field be marked by mistake, it shows what guests may see.
"""

import enum
from collections.abc import Sequence
from typing import Any, Final

from schema.plan import Field, Kind, Plan

PUBLIC: Final = {"public": True}
"""Metadata of a field whose resolver answers the same to everybody."""

# A subscription of states: whoever joins is served by one more look at the present, and may miss states in between.
STATE: Final = {"state": True}
"""Metadata of a root field whose every event is the whole present state."""


class Visibility(enum.Enum):
    """With whom one run of a subscription is shared."""

    PUBLIC = enum.auto()
    VIEWER = enum.auto()
    NOBODY = enum.auto()


def visibility(plan: Plan | None) -> Visibility:
    """Return with whom a subscription is shared; null stands for one that cannot be planned."""
    if plan is None or not all(_metadata(field).get("state") for field in plan.fields):
        return Visibility.NOBODY
    return Visibility.PUBLIC if _public(plan.fields) else Visibility.VIEWER


def _public(fields: Sequence[Field]) -> bool:
    return all(
        _answers_all(field)
        and (field.selection is None or all(_public(below) for below in field.selection.by_type.values()))
        for field in fields
    )


def _answers_all(field: Field) -> bool:
    if field.allowed is not None:
        return False
    match field.kind:
        case Kind.TYPENAME | Kind.COLUMN | Kind.VALUE | Kind.COUNT:
            return True
        case Kind.ROW | Kind.EXISTS:
            return field.how.viewer is None
        case Kind.JOINED | Kind.PAGE | Kind.LIST:
            return field.how[0].viewer is None
        case Kind.VIEWED | Kind.CALL:
            return bool(_metadata(field).get("public"))


def _metadata(field: Field) -> Any:
    return field.definition.extensions["strawberry-definition"].metadata if field.definition.extensions else {}
