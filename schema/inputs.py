"""Input values read in one step, from JSON to the object that a resolver is given, by a plan made once per type.

graphql-core coerces a value into dictionaries, and Strawberry builds objects of them, working out names and types of
every field anew: more than half of the time of a mutation with twenty small inputs. Here are only right values; for
any other the operation is run by graphql-core, whose words for what is wrong clients know.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, Final

from graphql import (
    GraphQLBoolean,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
    is_list_type,
    is_non_null_type,
)
from strawberry.types.base import StrawberryMaybe, StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

Read = Callable[[Any], Any]

# What GraphQL's Int can hold. Source: GraphQL specification, 3.5.1.
_INT: Final = range(-(2**31), 2**31)
_PLAIN: Final[Mapping[Any, type]] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}


class Unfit(Exception):
    """The value is wrong, or right in a way that only graphql-core knows."""


class Unreadable(Exception):
    """The type holds something that is not planned here; not an error."""


@cache
def reader(type_: GraphQLInputType) -> Read:
    """Return the function that reads values of the type.

    It raises any exception for a value that it cannot read.

    Raises:
        Unreadable: Values of the type must be left to graphql-core.
    """
    if is_non_null_type(type_):
        return _present(reader(type_.of_type))
    if is_list_type(type_):
        return _list(reader(type_.of_type))
    if isinstance(type_, GraphQLInputObjectType):
        return _object(type_)
    return _leaf(type_)  # type: ignore[arg-type]


def _present(read: Read) -> Read:
    def present(value: Any) -> Any:
        if value is None:
            raise Unfit
        return read(value)

    return present


def _list(read: Read) -> Read:
    def items(value: Any) -> Any:
        if value is None:
            return None
        # One item stands for a list of one, but seldom.
        if type(value) is not list:
            raise Unfit
        return [read(item) for item in value]

    return items


def _leaf(leaf: GraphQLLeafType) -> Read:
    plain = _PLAIN.get(leaf)

    def parsed(value: Any) -> Any:
        return None if value is None else leaf.parse_value(value)

    def same(value: Any) -> Any:
        if value is not None and type(value) is not plain:
            raise Unfit
        return value

    def integer(value: Any) -> Any:
        if value is not None and not (type(value) is int and value in _INT):
            raise Unfit
        return value

    if leaf is GraphQLInt:
        return integer
    return parsed if plain is None else same


def _object(type_: GraphQLInputObjectType) -> Read:
    if type_.is_one_of:
        raise Unreadable(type_.name)
    definition: StrawberryObjectDefinition = type_.extensions["strawberry-definition"]
    fields: dict[str, tuple[str, Read]] = {}
    for name, field in type_.fields.items():
        told: StrawberryField = field.extensions["strawberry-definition"]
        if field.default_value is not Undefined or isinstance(told.type, StrawberryMaybe):
            raise Unreadable(f"{type_.name}.{name}")
        fields[name] = told.python_name, reader(field.type)
    required = {fields[name][0] for name, field in type_.fields.items() if is_non_null_type(field.type)}
    absent = {field.python_name: None for field in definition.fields if not _has_default(field)}
    origin = definition.origin

    def build(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not dict:
            raise Unfit
        given = absent.copy()
        for name, part in value.items():
            python_name, read = fields[name]
            given[python_name] = read(part)
        for python_name in required:
            if given.get(python_name) is None:
                raise Unfit
        return origin(**given)

    return build


def _has_default(field: StrawberryField) -> bool:
    return any(default is not MISSING for default in (field.default_value, field.default_factory))
