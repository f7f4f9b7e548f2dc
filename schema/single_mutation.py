"""The usual mutation: one in its operation, its arguments in variables. Run by a plan, as queries are.

A mutation must not be run twice, so what a plan cannot do is found out before it begins: arguments that are not plainly
right leave the operation to graphql-core. What comes after, the value or the error of its resolver, is handed to
graphql-core if the plan cannot show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLResolveInfo,
    GraphQLSchema,
    MiddlewareManager,
    OperationDefinitionNode,
    Undefined,
    VariableNode,
    Visitor,
    is_non_null_type,
    print_ast,
    visit,
)
from graphql.execution.values import VariableValues
from strawberry.types import Info as StrawberryInfo
from strawberry.types.field import StrawberryField

from resolvers.context import Context
from schema.engine import Engine, info_of
from schema.inputs import Read, Unreadable, reader
from schema.plan import Field, Kind, Plan, Unplannable, make_plan

_NO_VARIABLES = VariableValues({}, {})
_OTHER = object()


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the mutation: how the function and the client call it, and how its value is read."""

    python_name: str
    variable: str
    required: bool
    read: Read


class Outcome:
    """What became of a mutation: a value, or an error."""

    def __init__(self, value: Any, error: Exception | None) -> None:
        self.value = value
        self.error = error

    def teller(self) -> MiddlewareManager:
        """Return the middleware that stands for the mutation, which has been run."""

        # graphql-core takes no method for a middleware, without a word.
        def tell(resolve: Any, root: Any, info: "GraphQLResolveInfo[Context]", **arguments: Any) -> Any:
            if info.path.prev is not None:
                return resolve(root, info, **arguments)
            if self.error is not None:
                raise self.error
            return self.value

        return MiddlewareManager(tell)


class SingleMutation:
    """A planned mutation.

    Raises:
        Unplannable: It must be left to graphql-core.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._plan: Plan = make_plan(schema, document, operation, {})
        if len(self._plan.fields) != 1:
            raise Unplannable("several mutations")
        field = self._plan.fields[0]
        self._field: StrawberryField = field.definition.extensions["strawberry-definition"]
        if self._field.base_resolver is None or self._field.extensions or field.allowed is not None:
            raise Unplannable(field.key)
        self._info = info_of(schema, self._plan, field, _NO_VARIABLES, None)
        self._arguments = _arguments(operation, field)
        # Each stands in its declaration and in the mutation's argument, and nowhere else.
        if _variables(document) != 2 * len(self._arguments):
            raise Unplannable("variables elsewhere")

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the mutation's function.

        Raises:
            Exception: Anything; the operation has to be run by graphql-core.
        """
        return {
            one.python_name: one.read(variables.get(one.variable))
            for one in self._arguments
            if one.required or one.variable in variables
        }

    async def run(self, ctx: Context, arguments: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Outcome]:
        """Run it, once; return the operation's data, null if graphql-core has to complete the outcome."""
        try:
            value = await self._call(ctx, arguments)
        except Exception as error:  # noqa: BLE001 - graphql-core tells the client
            return None, Outcome(None, error)
        plain = self._plain(value)
        if plain is not None:
            return plain, Outcome(value, None)
        try:
            return await Engine(self._schema, self._plan, _NO_VARIABLES, ctx).complete(value), Outcome(value, None)
        except Exception:  # noqa: BLE001 - graphql-core says what is wrong
            ctx.renew()
            return None, Outcome(value, None)

    def _plain(self, payload: Any) -> dict[str, Any] | None:
        """Return the data of a payload that holds nothing but values and empty lists, as most do; null for others."""
        (root,) = self._plan.fields
        if payload is None or root.many or root.selection is None or len(root.selection.by_type) != 1:
            return None
        (fields,) = root.selection.by_type.values()
        shown: dict[str, Any] = {}
        for field in fields:
            if field.kind is Kind.TYPENAME:
                shown[field.key] = field.how
                continue
            value = getattr(payload, field.how) if field.kind is Kind.COLUMN and field.allowed is None else _OTHER
            if value is None and not field.required:
                shown[field.key] = None
            elif field.many and value == []:
                shown[field.key] = []
            elif value is None or field.many or field.leaf is None or value is _OTHER:
                return None
            else:
                try:
                    shown[field.key] = field.leaf(value)
                except Exception:  # noqa: BLE001 - graphql-core says what is wrong
                    return None
        return {root.key: shown}

    async def _call(self, ctx: Context, arguments: Mapping[str, Any]) -> Any:
        resolver: Any = self._field.base_resolver
        info = resolver.info_parameter
        raw = self._info._replace(context=ctx)
        given = {} if info is None else {info.name: StrawberryInfo(_raw_info=raw, _field=self._field)}
        value = resolver(*(() if resolver.self_parameter is None else (None,)), **arguments, **given)
        return await value if isawaitable(value) else value


def _arguments(operation: OperationDefinitionNode, field: Field) -> list[Argument]:
    """Return the arguments that the operation gives, each a variable of the very type.

    Raises:
        Unplannable: An argument is given in another way.
    """
    declared = {definition.variable.name.value: definition for definition in operation.variable_definitions or ()}
    arguments = []
    for node in field.nodes[0].arguments or ():
        definition = field.definition.args[node.name.value]
        variable = node.value
        if not isinstance(variable, VariableNode) or definition.default_value is not Undefined:
            raise Unplannable(node.name.value)
        declaration = declared[variable.name.value]
        if declaration.default_value is not None or print_ast(declaration.type) != str(definition.type):
            raise Unplannable(variable.name.value)
        try:
            read = reader(definition.type)
        except Unreadable as error:
            raise Unplannable(variable.name.value) from error
        python_name = definition.extensions["strawberry-definition"].python_name
        arguments.append(Argument(python_name, variable.name.value, is_non_null_type(definition.type), read))
    return arguments


def _variables(document: DocumentNode) -> int:
    """Return how often variables stand in the document."""
    found = _Variables()
    visit(document, found)
    return found.number


class _Variables(Visitor):
    number = 0

    def enter_variable(self, *_: Any) -> None:
        self.number += 1
