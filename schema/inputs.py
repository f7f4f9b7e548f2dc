"""Input types built from what GraphQL has coerced already, by a plan that is made once.

Strawberry works out names and types of every field anew for each value: half of the time of a mutation with twenty
small inputs. Values of scalars and enums need nothing more; for all others it is asked as ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from graphql import GraphQLInputObjectType, GraphQLSchema, get_nullable_type, is_leaf_type
from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryMaybe, StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

Build = Callable[[type, Mapping[str, Any], InputContext], Any]


def plan(core_schema: GraphQLSchema) -> None:
    """Give every input type of the schema its plan."""
    for type_ in core_schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            definition: StrawberryObjectDefinition = type_.extensions["strawberry-definition"]
            # Strawberry itself refuses null for such a field, unless the type is built by somebody else.
            if not any(isinstance(field.type, StrawberryMaybe) for field in definition.fields):
                definition.from_input = _building(type_, definition)


def _building(type_: GraphQLInputObjectType, definition: StrawberryObjectDefinition) -> Build:
    names: dict[str, str] = {}
    others: dict[str, Any] = {}
    for name, field in type_.fields.items():
        told: StrawberryField = field.extensions["strawberry-definition"]
        names[name] = told.python_name
        if not is_leaf_type(get_nullable_type(field.type)):
            others[name] = told.resolve_type(type_definition=definition)
    absent = {field.python_name: None for field in definition.fields if not _has_default(field)}

    def build(origin: type, value: Mapping[str, Any], context: InputContext) -> Any:
        given = {names[name]: part for name, part in value.items()}
        for name, expected in others.items():
            if name in value:
                given[names[name]] = context.convert(value[name], expected, name)
        return origin(**absent | given)

    return build


def _has_default(field: StrawberryField) -> bool:
    return any(default is not MISSING for default in (field.default_value, field.default_factory))
