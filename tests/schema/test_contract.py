"""`schema.graphql` is what clients build on: it is what the code says, it is valid, and all of it is described."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    graphql_sync,
    is_introspection_type,
    is_specified_directive,
    is_specified_scalar_type,
    lexicographic_sort_schema,
    print_schema,
    validate_schema,
)

from schema.build import core_schema, sdl

FILE = Path(__file__).parents[2] / "schema.graphql"
# Built from the file and not from the code: the file is what clients see.
contract = build_schema(FILE.read_text("utf-8"))
PAGING = {"first": "Int", "after": "String", "last": "Int", "before": "String"}


def own_types() -> list[tuple[str, object]]:
    return [
        (name, kind)
        for name, kind in contract.type_map.items()
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind)
    ]


def fields() -> Iterator[tuple[str, GraphQLField]]:
    """Every field of every object and interface, as `Type.field`."""
    for name, kind in own_types():
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field_name, field in kind.fields.items():
                yield f"{name}.{field_name}", field


Element = tuple[str, str | None, str | None]
"""Place, description, deprecation."""


def elements() -> Iterator[Element]:
    """Everything that can carry a description."""
    yield from of_types()
    for place, field in fields():
        yield place, field.description, field.deprecation_reason
        for name, argument in field.args.items():
            yield f"{place}({name}:)", argument.description, argument.deprecation_reason
    for directive in contract.directives:
        if not is_specified_directive(directive):
            yield f"@{directive.name}", directive.description, None
            for name, argument in directive.args.items():
                yield f"@{directive.name}({name}:)", argument.description, argument.deprecation_reason


def of_types() -> Iterator[Element]:
    for name, kind in own_types():
        yield name, getattr(kind, "description", None), None
        if isinstance(kind, GraphQLEnumType):
            for value_name, value in kind.values.items():
                yield f"{name}.{value_name}", value.description, value.deprecation_reason
        if isinstance(kind, GraphQLInputObjectType):
            for input_name, item in kind.fields.items():
                yield f"{name}.{input_name}", item.description, item.deprecation_reason


ELEMENTS = list(elements())


def test_file_is_what_the_code_says() -> None:
    written = FILE.read_text("utf-8")
    difference = difflib.unified_diff(
        written.splitlines(), sdl.splitlines(), "schema.graphql", "the code", lineterm="", n=2
    )
    if written != sdl:
        pytest.fail("\n".join([*difference, "", "schema.graphql is not what the code says: run `make schema`."]))


def test_served_schema_is_the_file() -> None:
    served, written = (print_schema(lexicographic_sort_schema(each)) for each in (core_schema, contract))
    # Strawberry enforces @oneOf by itself and leaves graphql-core's own mark for it alone.
    assert served == written.replace(" @oneOf {", " {")
    kinds = graphql_sync(core_schema, "{ __schema { types { name isOneOf } } }").data
    assert kinds
    assert {kind["name"] for kind in kinds["__schema"]["types"] if kind["isOneOf"]} == {
        name for name, kind in own_types() if isinstance(kind, GraphQLInputObjectType) and kind.is_one_of
    }


def test_schema_is_valid() -> None:
    assert validate_schema(contract) == []
    assert validate_schema(core_schema) == []


def test_walk_sees_every_kind_of_element() -> None:
    places = {place for place, _, _ in ELEMENTS}
    assert {
        "Query",
        "Channel.isLive",
        "Channel.streams(first:)",
        "Node.id",
        "DateTime",
        "StreamState.LIVE",
        "UserRegisterInput.password",
        "UserRegisterError",
        "Mutation.userRegister(input:)",
        "Subscription.channelChanged(channelId:)",
    } <= places
    assert len(places) == len(ELEMENTS)
    assert len(places) == FILE.read_text("utf-8").count('"""') // 2


def test_everything_is_described_in_a_sentence() -> None:
    odd = {
        place: text
        for place, text, _ in ELEMENTS
        if not text or text != text.strip() or not re.match("[A-Z0-9`]", text) or not text.endswith(".")
    }
    assert odd == {}


def test_names_are_in_their_case() -> None:
    types = {name for name, _ in own_types() if not re.fullmatch("[A-Z][A-Za-z0-9]*", name)}
    values = {
        f"{name}.{value}"
        for name, kind in own_types()
        if isinstance(kind, GraphQLEnumType)
        for value in kind.values
        if not re.fullmatch("[A-Z][A-Z0-9_]*", value)
    }
    members = {
        f"{name}.{member}"
        for name, kind in own_types()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType)
        for member in kind.fields
        if not re.fullmatch("[a-z][A-Za-z0-9]*", member)
    }
    arguments = {
        f"{place}({name}:)"
        for place, field in fields()
        for name in field.args
        if not re.fullmatch("[a-z][A-Za-z0-9]*", name)
    }
    assert (types, values, members, arguments) == (set(), set(), set(), set())


def test_every_list_with_pages_takes_the_four_arguments() -> None:
    paged = {place: field for place, field in fields() if get_named_type(field.type).name.endswith("Connection")}
    assert {"Query.channels", "Channel.streams", "DirectoryChanged.liveChannels"} <= set(paged)
    for place, field in paged.items():
        kind, _, name = place.partition(".")
        declared = core_schema.type_map[kind]
        assert isinstance(declared, GraphQLObjectType)
        restricted = declared.fields[name].extensions["strawberry-definition"].metadata.get("allowed") is not None
        assert isinstance(field.type, GraphQLNonNull) is not restricted, place
        assert {name: str(field.args[name].type) for name in PAGING if name in field.args} == PAGING, place


def test_connections_are_built_alike() -> None:
    connections = {name: kind for name, kind in own_types() if name.endswith("Connection")}
    assert connections
    for name, kind in connections.items():
        assert isinstance(kind, GraphQLObjectType)
        item = name.removesuffix("Connection")
        assert {field_name: str(field.type) for field_name, field in kind.fields.items()} == {
            "edges": f"[{item}Edge!]!",
            "nodes": f"[{item}!]!",
            "pageInfo": "PageInfo!",
        }
        edge = contract.type_map[f"{item}Edge"]
        assert isinstance(edge, GraphQLObjectType)
        assert {field_name: str(field.type) for field_name, field in edge.fields.items()} == {
            "cursor": "String!",
            "node": f"{item}!",
        }


def test_mutations_take_one_input_and_answer_with_their_own_payload() -> None:
    assert contract.mutation_type
    for name, field in contract.mutation_type.fields.items():
        own = name[0].upper() + name[1:]
        inputs = {argument: str(given.type) for argument, given in field.args.items()}
        assert inputs in ({}, {"input": f"{own}Input!"}), name
        assert str(field.type) == f"{own}Payload!"
        payload = get_named_type(field.type)
        assert isinstance(payload, GraphQLObjectType)
        if "errors" in payload.fields:
            assert str(payload.fields["errors"].type) == f"[{own}Error!]!"
            # Beside errors there is no answer.
            others = [field.type for other, field in payload.fields.items() if other != "errors"]
            assert not any(isinstance(kind, GraphQLNonNull) for kind in others), name
        # With an input there is something a user can have done wrong.
        assert bool(inputs) == ("errors" in payload.fields), name


def test_members_of_error_unions_are_user_errors() -> None:
    unions = [kind for _, kind in own_types() if isinstance(kind, GraphQLUnionType) and kind.name.endswith("Error")]
    assert unions
    for union in unions:
        for member in union.types:
            assert [interface.name for interface in member.interfaces] == ["UserError"], f"{union}: {member}"


def test_user_errors_are_all_in_a_union() -> None:
    interface = contract.type_map["UserError"]
    assert isinstance(interface, GraphQLInterfaceType)
    unions = [kind for _, kind in own_types() if isinstance(kind, GraphQLUnionType) and kind.name.endswith("Error")]
    used = {member.name for union in unions for member in union.types}
    assert {kind.name for kind in contract.get_possible_types(interface)} == used


def test_times_end_in_at_and_nothing_else_does() -> None:
    for place, field in fields():
        is_time = get_named_type(field.type).name == "DateTime"
        assert is_time == place.endswith("At"), place


def test_ids_are_of_the_node_itself() -> None:
    """Objects refer to objects, not to ids; what has an id can be fetched again."""
    for place, field in fields():
        if get_named_type(field.type).name == "ID":
            name, _, own = place.partition(".")
            kind = contract.type_map[name]
            assert own == "id", place
            assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
            assert name == "Node" or "Node" in [interface.name for interface in kind.interfaces], place


def test_deprecations_carry_a_date() -> None:
    dated = re.compile(r"\b20\d\d-[01]\d-[0-3]\d\b")
    assert [place for place, _, reason in ELEMENTS if reason is not None and not dated.search(reason)] == []
