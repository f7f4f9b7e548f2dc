"""Runs plans wave by wave: all objects to which the reads of a wave have led, one statement per declared read.

Where graphql-core visits every field of every object by itself and awaits each, this visits every field of the *plan*
once and loops over columns. A wave ends when all its reads have answered, so that fields in different places which read
the same rows share a statement: how many there are depends on the shape of the operation, not on which answer is first.
It knows only success: on any error the operation is run again by graphql-core, whose words and places for errors
clients know. Queries can be run twice, since they change nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from itertools import islice
from typing import Any

from graphql import GraphQLResolveInfo, GraphQLSchema
from graphql.execution.values import VariableValues, get_argument_values
from graphql.pyutils import Path

from resolvers.context import Context
from resolvers.reads import Count, Page, Row, Rows
from schema.plan import Field, Kind, Plan

_SYNCHRONOUS = frozenset({Kind.TYPENAME, Kind.COLUMN, Kind.VALUE, Kind.VIEWED})
_OF_ONE_ROW = frozenset({Kind.ROW, Kind.EXISTS, Kind.JOINED})
_PAGES = frozenset({Kind.PAGE, Kind.LIST})


class Abandoned(Exception):
    """A value is not what its type says; graphql-core will say so in its words."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of one type in one place, and their results, to be filled."""

    fields: list[Field]
    sources: list[Any]
    results: list[dict[str, Any]]

    def add(self, source: Any) -> dict[str, Any]:
        """Add an object; return its result, which has all keys already, in the order in which they were asked for."""
        blank = dict.fromkeys(field.key for field in self.fields)
        self.sources.append(source)
        self.results.append(blank)
        return blank


@dataclass(frozen=True, slots=True)
class Waiting:
    """A field of some objects whose values have to be read, and the objects' results.

    Fields of one `batch` read the same: a declared read, with its arguments if it has any.
    """

    field: Field
    sources: Sequence[Any]
    results: list[dict[str, Any]]
    batch: Any

    def keys(self, read: Row | Page | Count) -> list[Any]:
        """Return what the read is to find for each object."""
        return [getattr(source, read.by) for source in self.sources]


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
        root = Objects(self._plan.fields, [], [])
        data = root.add(None)
        await self._run([root])
        return data

    async def complete(self, value: Any) -> dict[str, Any]:
        """Return the operation's data; the value of its only field is known.

        Raises:
            Exception: Anything; the value has to be completed by graphql-core.
        """
        (field,) = self._plan.fields
        data: dict[str, Any] = {field.key: None}
        await self._run(list(self._complete(field, [value], [data])))
        return data

    async def _run(self, wave: list[Objects]) -> None:
        while wave:
            waiting = list(self._at_hand(wave))
            if not waiting:
                return
            values = await self._read(waiting)
            wave = [
                objects
                for one, read in zip(waiting, values, strict=True)
                for objects in self._complete(one.field, read, one.results)
            ]

    def _at_hand(self, wave: list[Objects]) -> Iterator[Waiting]:
        """Fill in what the objects hold, and what that holds; yield the fields that have to be read."""
        while wave:
            objects = wave.pop()
            for field in objects.fields:
                sources, results = self._permitted(field, objects.sources, objects.results)
                if field.kind in _SYNCHRONOUS:
                    wave.extend(self._complete(field, self._values(field, sources), results))
                elif sources:
                    yield Waiting(field, sources, results, self._batch(field))

    def _permitted(
        self, field: Field, sources: Sequence[Any], results: list[dict[str, Any]]
    ) -> tuple[Sequence[Any], list[dict[str, Any]]]:
        """Return the objects whose field the viewer may see, and their results; the others' stay null."""
        if field.allowed is None:
            return sources, results
        chosen = [index for index, source in enumerate(sources) if field.allowed(self._ctx.viewer, source)]
        return [sources[index] for index in chosen], [results[index] for index in chosen]

    def _batch(self, field: Field) -> Any:
        if field.kind in _OF_ONE_ROW:
            return _row(field).loader
        if field.kind in _PAGES:
            read, arguments = field.how
            return read, arguments(**self._named_arguments(field))
        return field.how if field.kind is Kind.COUNT else id(field)

    async def _read(self, waiting: Sequence[Waiting]) -> list[Sequence[Any]]:
        """Return the values of each field, after one statement per batch."""
        batches: defaultdict[Any, list[int]] = defaultdict(list)
        for index, one in enumerate(waiting):
            batches[one.batch].append(index)
        work = [self._answers([waiting[index] for index in indexes]) for indexes in batches.values()]
        if len(work) == 1:
            answers = [await work[0]]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one) for one in work]
            answers = [task.result() for task in tasks]
        values: list[Sequence[Any]] = [()] * len(waiting)
        for indexes, answer in zip(batches.values(), answers, strict=True):
            for index, found in zip(indexes, answer, strict=True):
                values[index] = found
        return values

    async def _answers(self, together: list[Waiting]) -> list[Sequence[Any]]:
        """Return the values of each field of a batch."""
        kind, reads = together[0].field.kind, self._ctx.reads
        if kind in _OF_ONE_ROW:
            wanted = [one.keys(_row(one.field)) for one in together]
            keys = [key for some in wanted for key in some if key is not None]
            rows = await reads.rows(_row(together[0].field), keys) if keys else []
            known = dict(zip(keys, rows, strict=True))
            return [_of_rows(one, [known.get(key) for key in some]) for one, some in zip(together, wanted, strict=True)]
        if kind in _PAGES:
            read, part = together[0].batch
            pages = iter(await reads.pages(read, part, [key for one in together for key in one.keys(read)]))
            return [_of_pages(one, list(islice(pages, len(one.sources)))) for one in together]
        if kind is Kind.COUNT:
            read = together[0].field.how
            numbers = iter(await reads.counts(read, [key for one in together for key in one.keys(read)]))
            return [list(islice(numbers, len(one.sources))) for one in together]
        return [await self._call(one.field, one.sources) for one in together]

    def _values(self, field: Field, sources: Sequence[Any]) -> list[Any]:
        how = field.how
        if field.kind is Kind.COLUMN:
            return [getattr(source, how) for source in sources]
        if field.kind is Kind.VALUE:
            return [how(source) for source in sources]
        if field.kind is Kind.VIEWED:
            return [how(self._ctx, source) for source in sources]
        return [how] * len(sources)

    async def _call(self, field: Field, sources: Sequence[Any]) -> list[Any]:
        arguments = self._arguments(field)
        info = info_of(self._schema, self._plan, field, self._variables, self._ctx)
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

    def _complete(self, field: Field, values: Sequence[Any], results: list[dict[str, Any]]) -> Iterable[Objects]:
        """Put the values of a field into the results; return the objects among them, whose results are still blank."""
        if field.leaf is not None:
            self._leaves(field, values, results)
            return ()
        if not field.many:
            blanks, objects = self._children(field, values, required=field.required)
            for result, blank in zip(results, blanks, strict=True):
                result[field.key] = blank
            return objects
        if field.required and any(value is None for value in values):
            raise Abandoned(field.key)
        items = [item for value in values if value is not None for item in value]
        blanks, objects = self._children(field, items, required=field.required_items)
        rest = iter(blanks)
        for result, value in zip(results, values, strict=True):
            if value is not None:
                result[field.key] = list(islice(rest, len(value)))
        return objects

    def _children(
        self, field: Field, values: Sequence[Any], *, required: bool
    ) -> tuple[list[dict[str, Any] | None], list[Objects]]:
        """Return a blank result for each value that is not null, and the objects by their types."""
        selection = field.selection
        present = [value for value in values if value is not None]
        if selection is None or (required and len(present) < len(values)):
            raise Abandoned(field.key)
        if not present:
            return [None] * len(values), []
        groups: dict[str, Objects] = {name: Objects(fields, [], []) for name, fields in selection.by_type.items()}
        # Rows are named as their types are; see `schema.base.row_type`.
        names = list(groups) * len(present) if len(groups) == 1 else [type(value).__name__ for value in present]
        filled = iter([groups[name].add(value) for name, value in zip(names, present, strict=True)])
        blanks = [None if value is None else next(filled) for value in values]
        return blanks, [objects for objects in groups.values() if objects.sources]


def info_of(
    schema: GraphQLSchema, plan: Plan, field: Field, variables: VariableValues, ctx: Context | None
) -> "GraphQLResolveInfo[Context]":
    """Return what the resolver of a field may ask."""
    known = {
        "field_name": field.nodes[0].name.value,
        "field_nodes": field.nodes,
        "return_type": field.definition.type,
        "parent_type": field.parent,
        "path": Path(None, field.key, field.parent.name),
        "schema": schema,
        "fragments": plan.fragments,
        "root_value": None,
        "operation": plan.operation,
        "variable_values": variables,
        "context": ctx,
        "is_awaitable": isawaitable,
    }
    return GraphQLResolveInfo(*(known.get(name) for name in GraphQLResolveInfo._fields))  # type: ignore[arg-type]


def _row(field: Field) -> Row:
    read: Row = field.how[0] if field.kind is Kind.JOINED else field.how
    return read


def _of_rows(one: Waiting, rows: list[Any]) -> list[Any]:
    if one.field.kind is Kind.EXISTS:
        return [row is not None for row in rows]
    if one.field.kind is Kind.JOINED:
        _, function = one.field.how
        return [None if row is None else function(source, row) for source, row in zip(one.sources, rows, strict=True)]
    return rows


def _of_pages(one: Waiting, pages: list[Rows]) -> list[Any]:
    return [page.rows for page in pages] if one.field.kind is Kind.LIST else list(pages)
