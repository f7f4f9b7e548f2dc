"""An operation as a plan: what each field needs, found out once per document instead of once per object.

A plan knows the fields that are answered by a value of their declaration (a column, a computed value, a declared read)
and calls the resolvers of the rest. What it does not know, it refuses to plan; graphql-core then runs the operation.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLBoolean,
    GraphQLField,
    GraphQLID,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)

from resolvers.policy import Policy
from resolvers.reads import Count, Page, Row

Serialize = Callable[[Any], Any]
Flags = Mapping[str, bool]


class Unplannable(Exception):
    """The operation holds something that plans do not know; not an error."""


class Kind(enum.Enum):
    """How a field is answered."""

    TYPENAME = enum.auto()
    COLUMN = enum.auto()
    VALUE = enum.auto()
    VIEWED = enum.auto()
    ROW = enum.auto()
    JOINED = enum.auto()
    EXISTS = enum.auto()
    PAGE = enum.auto()
    LIST = enum.auto()
    COUNT = enum.auto()
    CALL = enum.auto()


@dataclass(frozen=True, slots=True)
class Field:
    """One response key of one object type. `leaf` or `selection` says what becomes of the value.

    `allowed` decides for which objects there is one; null if for all.
    """

    key: str
    kind: Kind
    how: Any
    definition: GraphQLField
    nodes: list[FieldNode]
    parent: GraphQLObjectType
    required: bool
    many: bool
    required_items: bool
    leaf: Serialize | None
    selection: "Selection | None"
    allowed: Policy | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked of objects, by the name of their concrete type."""

    by_type: Mapping[str, list[Field]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned operation."""

    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    fields: list[Field]


def flag_names(document: DocumentNode) -> tuple[str, ...]:
    """Return the variables on which @skip and @include depend: plans differ by them.

    Raises:
        Unplannable: There are other directives.
    """
    names: set[str] = set()

    def walk(selections: SelectionSetNode | None) -> None:
        for selection in selections.selections if selections else ():
            for directive in selection.directives or ():
                argument = _condition(directive)
                if isinstance(argument, VariableNode):
                    names.add(argument.name.value)
            walk(getattr(selection, "selection_set", None))

    for definition in document.definitions:
        walk(getattr(definition, "selection_set", None))
    return tuple(sorted(names))


def _condition(directive: DirectiveNode) -> Any:
    if directive.name.value not in ("skip", "include"):
        raise Unplannable(directive.name.value)
    return directive.arguments[0].value if directive.arguments else None


def make_plan(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, flags: Flags) -> Plan:
    """Plan a validated query or mutation.

    Raises:
        Unplannable: It holds something that only graphql-core can run.
    """
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    root = schema.get_root_type(operation.operation)
    if root is None:
        raise Unplannable("no such root type")
    planner = _Planner(schema, fragments, flags)
    return Plan(operation, fragments, planner.fields(root, [operation.selection_set]))


class _Planner:
    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], flags: Flags) -> None:
        self._schema = schema
        self._fragments = fragments
        self._flags = flags

    def fields(self, parent: GraphQLObjectType, selections: list[SelectionSetNode]) -> list[Field]:
        collected: dict[str, list[FieldNode]] = {}
        for selection_set in selections:
            for node in self._collect(parent, selection_set, set()):
                key = node.alias.value if node.alias else node.name.value
                collected.setdefault(key, []).append(node)
        return [self._field(parent, key, nodes) for key, nodes in collected.items()]

    def _collect(
        self, parent: GraphQLObjectType, selection_set: SelectionSetNode, spread: set[str]
    ) -> Iterator[FieldNode]:
        for selection in selection_set.selections:
            if not self._included(selection.directives or ()):
                continue
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                fragment = self._fragments[name]
                if name not in spread and self._applies(fragment.type_condition.name.value, parent):
                    spread.add(name)
                    yield from self._collect(parent, fragment.selection_set, spread)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                if condition is None or self._applies(condition.name.value, parent):
                    yield from self._collect(parent, selection.selection_set, spread)

    def _included(self, directives: Any) -> bool:
        for directive in directives:
            argument = _condition(directive)
            holds = self._flags[argument.name.value] if isinstance(argument, VariableNode) else argument.value
            if holds is (directive.name.value == "skip"):
                return False
        return True

    def _applies(self, condition: str, parent: GraphQLObjectType) -> bool:
        named = self._schema.type_map[condition]
        return named is parent or (is_abstract_type(named) and self._schema.is_sub_type(named, parent))

    def _field(self, parent: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> Field:
        name = nodes[0].name.value
        if name == "__typename":
            definition = GraphQLField(GraphQLString)
            return Field(
                key=key,
                kind=Kind.TYPENAME,
                how=parent.name,
                definition=definition,
                nodes=nodes,
                parent=parent,
                required=True,
                many=False,
                required_items=False,
                leaf=str,
                selection=None,
            )
        if name.startswith("__"):
            raise Unplannable(name)
        definition = parent.fields[name]
        kind, how = _answer(definition)
        required, many, required_items, named = _unwrapped(definition.type)
        leaf = selection = None
        if is_leaf_type(named):
            leaf = serializer(named)
        else:
            children = [node.selection_set for node in nodes if node.selection_set is not None]
            selection = Selection({each.name: self.fields(each, children) for each in self._possible(named)})
        allowed = definition.extensions["strawberry-definition"].metadata.get("allowed")
        return Field(
            key, kind, how, definition, nodes, parent, required, many, required_items, leaf, selection, allowed
        )

    def _possible(self, named: GraphQLObjectType | GraphQLAbstractType) -> list[GraphQLObjectType]:
        if is_object_type(named):
            return [named]
        return list(self._schema.get_possible_types(named))  # type: ignore[arg-type]


_READS: Mapping[type[Row | Count], Kind] = {Row: Kind.ROW, Count: Kind.COUNT}


def _answer(definition: GraphQLField) -> tuple[Kind, Any]:
    """Return how the field is answered, as its declaration in `schema` says."""
    field = definition.extensions["strawberry-definition"]
    metadata = field.metadata
    if "value" in metadata:
        return Kind.VALUE, metadata["value"]
    if "viewed" in metadata:
        return Kind.VIEWED, metadata["viewed"]
    if "read" in metadata:
        return _read(metadata["read"], metadata)
    if field.base_resolver is None:
        return Kind.COLUMN, field.python_name
    return Kind.CALL, definition.resolve


def _read(read: Row | Page | Count, metadata: Mapping[Any, Any]) -> tuple[Kind, Any]:
    if isinstance(read, Page):
        return Kind.LIST if "list" in metadata else Kind.PAGE, (read, metadata["arguments"])
    if "joined" in metadata:
        return Kind.JOINED, (read, metadata["joined"])
    return (Kind.EXISTS if "exists" in metadata else _READS[type(read)]), read


def _unwrapped(output: GraphQLOutputType) -> tuple[bool, bool, bool, Any]:
    required, inner = is_non_null_type(output), get_nullable_type(output)
    if not is_list_type(inner):
        return required, False, False, inner
    item = inner.of_type
    required_items, named = is_non_null_type(item), get_nullable_type(item)
    if is_list_type(named):
        raise Unplannable("a list of lists")
    return required, True, required_items, named


_PLAIN: Mapping[GraphQLLeafType, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}


@cache
def serializer(leaf: GraphQLLeafType) -> Serialize:
    """Return the leaf's serialization, with a short way for what is nearly always right already."""
    serialize: Serialize = leaf.serialize
    plain = _PLAIN.get(leaf)
    if plain is None:
        return serialize
    return lambda value: value if type(value) is plain else serialize(value)
