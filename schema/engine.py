"""Runs plans level by level: all objects of a level at once, one statement per declared read.

Where graphql-core visits every field of every object by itself and awaits each, this visits every field of the *plan*
once and loops over columns. It knows only success: on any error the operation is run again by graphql-core, whose words
and places for errors clients know. Queries can be run twice, since they change nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from inspect import isawaitable
from typing import Any

from graphql import GraphQLResolveInfo, GraphQLSchema
from graphql.execution.values import VariableValues, get_argument_values
from graphql.pyutils import Path

from resolvers.context import Context
from resolvers.reads import Row
from schema.plan import Field, Kind, Plan, Selection

_SYNCHRONOUS = frozenset({Kind.TYPENAME, Kind.COLUMN, Kind.VALUE, Kind.VIEWED})
_OF_ONE_ROW = frozenset({Kind.ROW, Kind.EXISTS, Kind.JOINED})
_PAGES = frozenset({Kind.PAGE, Kind.LIST})


class Abandoned(Exception):
    """A value is not what its type says; graphql-core will say so in its words."""


class Engine:
    """Runs one plan for one request."""

    def __init__(self, schema: GraphQLSchema, plan: Plan, variables: VariableValues, ctx: Context) -> None:
        self._schema = schema
        self._plan = plan
        self._variables = variables
        self._ctx = ctx

    async def run(self) -> dict[str, Any]:
        """Return the operation's data.

        Raises:
            Exception: Anything; the operation has to be run by graphql-core.
        """
        return (await self._objects(self._plan.fields, [None]))[0]

    async def _objects(self, fields: list[Field], sources: Sequence[Any]) -> list[dict[str, Any]]:
        keys = [field.key for field in fields]
        results: list[dict[str, Any]] = [dict.fromkeys(keys) for _ in sources]
        waiting = []
        for field in fields:
            seen, slots = self._permitted(field, sources, results)
            if field.kind in _SYNCHRONOUS and field.leaf is not None:
                self._leaves(field, self._values(field, seen), slots)
            elif seen:
                waiting.append(self._descend(field, seen, slots))
        if len(waiting) == 1:
            await waiting[0]
        elif waiting:
            async with asyncio.TaskGroup() as group:
                for coroutine in waiting:
                    group.create_task(coroutine)
        return results

    def _permitted(
        self, field: Field, sources: Sequence[Any], results: list[dict[str, Any]]
    ) -> tuple[Sequence[Any], list[dict[str, Any]]]:
        """Return the objects whose field the viewer may see, and their results; the others' stay null."""
        if field.allowed is None:
            return sources, results
        chosen = [index for index, source in enumerate(sources) if field.allowed(self._ctx.viewer, source)]
        return [sources[index] for index in chosen], [results[index] for index in chosen]

    async def _descend(self, field: Field, sources: Sequence[Any], results: list[dict[str, Any]]) -> None:
        if field.kind in _SYNCHRONOUS:
            values = self._values(field, sources)
        elif field.kind in _OF_ONE_ROW:
            values = await self._of_rows(field, sources)
        elif field.kind is Kind.COUNT:
            values = await self._ctx.reads.counts(field.how, [getattr(source, field.how.by) for source in sources])
        elif field.kind in _PAGES:
            values = await self._pages(field, sources)
        else:
            values = await self._call(field, sources)
        if field.leaf is not None:
            self._leaves(field, values, results)
        elif field.many:
            await self._lists(field, values, results)
        else:
            for result, value in zip(
                results, await self._children(field, values, required=field.required), strict=True
            ):
                result[field.key] = value

    def _values(self, field: Field, sources: Sequence[Any]) -> list[Any]:
        how = field.how
        if field.kind is Kind.COLUMN:
            return [getattr(source, how) for source in sources]
        if field.kind is Kind.VALUE:
            return [how(source) for source in sources]
        if field.kind is Kind.VIEWED:
            return [how(self._ctx, source) for source in sources]
        return [how] * len(sources)

    async def _pages(self, field: Field, sources: Sequence[Any]) -> list[Any]:
        read, arguments = field.how
        part = arguments(**self._named_arguments(field))
        pages = await self._ctx.reads.pages(read, part, [getattr(source, read.by) for source in sources])
        return [page.rows for page in pages] if field.kind is Kind.LIST else list(pages)

    async def _of_rows(self, field: Field, sources: Sequence[Any]) -> list[Any]:
        if field.kind is Kind.ROW:
            return await self._rows(field.how, sources)
        if field.kind is Kind.EXISTS:
            return [row is not None for row in await self._rows(field.how, sources)]
        read, function = field.how
        pairs = zip(sources, await self._rows(read, sources), strict=True)
        return [None if row is None else function(source, row) for source, row in pairs]

    async def _rows(self, read: Row, sources: Sequence[Any]) -> list[Any]:
        keys = [getattr(source, read.by) for source in sources]
        present = [key for key in keys if key is not None]
        if not present:
            return [None] * len(keys)
        rows = dict(zip(present, await self._ctx.reads.rows(read, present), strict=True))
        return [rows.get(key) for key in keys]

    async def _call(self, field: Field, sources: Sequence[Any]) -> list[Any]:
        arguments = self._arguments(field)
        info = self._info(field)
        values = [field.how(source, info, **arguments) for source in sources]
        values = [await value if isawaitable(value) else value for value in values]
        # A list may hold awaitables too, as `nodes` does.
        return [
            list(await asyncio.gather(*value)) if field.many and value and isawaitable(value[0]) else value
            for value in values
        ]

    def _arguments(self, field: Field) -> dict[str, Any]:
        if not field.definition.args:
            return {}
        return get_argument_values(field.definition, field.nodes[0], self._variables)

    def _named_arguments(self, field: Field) -> dict[str, Any]:
        """Return the arguments by the names of the function that takes them, which are not the client's."""
        own = field.definition.args
        return {
            own[name].extensions["strawberry-definition"].python_name: value
            for name, value in self._arguments(field).items()
        }

    def _leaves(self, field: Field, values: Sequence[Any], results: list[dict[str, Any]]) -> None:
        serialize, key = field.leaf, field.key
        if serialize is None:
            raise Abandoned(key)
        for result, value in zip(results, values, strict=True):
            if value is None:
                if field.required:
                    raise Abandoned(key)
            elif field.many:
                if field.required_items and None in value:
                    raise Abandoned(key)
                result[key] = [None if item is None else serialize(item) for item in value]
            else:
                result[key] = serialize(value)

    async def _lists(self, field: Field, values: Sequence[Any], results: list[dict[str, Any]]) -> None:
        """Complete the items of all objects' lists as one level."""
        if field.required and any(value is None for value in values):
            raise Abandoned(field.key)
        items = [item for value in values if value is not None for item in value]
        completed = iter(await self._children(field, items, required=field.required_items))
        for result, value in zip(results, values, strict=True):
            if value is not None:
                result[field.key] = [next(completed) for _ in value]

    async def _children(self, field: Field, values: Sequence[Any], *, required: bool) -> list[Any]:
        selection = field.selection
        present = [value for value in values if value is not None]
        if selection is None or (required and len(present) < len(values)):
            raise Abandoned(field.key)
        if not present:
            return [None] * len(values)
        completed = iter(await self._typed(selection, present))
        return [None if value is None else next(completed) for value in values]

    async def _typed(self, selection: Selection, sources: list[Any]) -> list[dict[str, Any]]:
        if len(selection.by_type) == 1:
            (fields,) = selection.by_type.values()
            return await self._objects(fields, sources)
        # Rows are named as their types are; see `schema.base.row_type`.
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for index, source in enumerate(sources):
            groups[type(source).__name__].append(index)
        results: list[dict[str, Any]] = [{}] * len(sources)
        for name, indexes in groups.items():
            completed = await self._objects(selection.by_type[name], [sources[index] for index in indexes])
            for index, result in zip(indexes, completed, strict=True):
                results[index] = result
        return results

    def _info(self, field: Field) -> "GraphQLResolveInfo[Context]":
        known = {
            "field_name": field.nodes[0].name.value,
            "field_nodes": field.nodes,
            "return_type": field.definition.type,
            "parent_type": field.parent,
            "path": Path(None, field.key, field.parent.name),
            "schema": self._schema,
            "fragments": self._plan.fragments,
            "root_value": None,
            "operation": self._plan.operation,
            "variable_values": self._variables,
            "context": self._ctx,
            "is_awaitable": isawaitable,
        }
        return GraphQLResolveInfo(*(known.get(name) for name in GraphQLResolveInfo._fields))  # type: ignore[arg-type]
