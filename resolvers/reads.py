"""Declared reads, and the engine that runs those of one level of a query in one statement each.

A field that needs the database says *what* it reads as a value: a `Row` by key, a `Page` of rows by key and order, or
a `Count` of rows by key.
The engine collects what all fields of a level ask for and answers with one statement per declared read, whatever the
number of parents. Since reads are values and not code, a later engine can see an operation before it runs any of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import chain
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, bindparam
from sqlalchemy.orm import InstrumentedAttribute
from strawberry.dataloader import DataLoader

from models.base import Base
from models.engine import Sessions
from models.paging import Narrowing, Order, Through, Window, counts_by, page_of, pages_of, rows_by
from resolvers.cursors import Slice, cursor_of, window_of

Shape = tuple[bool, bool, bool]
Given = tuple[tuple[str, Any], ...]
"""What a client's arguments add to a read, by the names of its narrowings."""

# Whose id it is, a statement is told when it is executed.
_VIEWER: Final = bindparam("viewer", type_=Uuid())


@dataclass(frozen=True, eq=False)
class Row:
    """One row of `model`: the one whose `key` equals the parent's attribute `by`.

    The key is unique among all rows, or, with `viewer`, among those in which that column is the viewer's id. Guests
    have none of those. Where it may be one of several columns, `viewer` is `any_` of them.
    """

    model: type[Base]
    key: ColumnElement[Any] | InstrumentedAttribute[Any]
    by: str = "id"
    viewer: ColumnElement[Any] | InstrumentedAttribute[Any] | None = None
    loader: "RowKey" = field(init=False)
    """What reads of the same rows by the same key have in common."""

    def __post_init__(self) -> None:
        """Name the loader once: a column compares to SQL, not to a truth value, so it makes no good dictionary key."""
        object.__setattr__(self, "loader", (self.model, str(self.key), str(self.viewer)))

    @cached_property
    def statement(self) -> Select[Any]:
        """What finds the rows of any keys."""
        return rows_by(self.model, self.key, () if self.viewer is None else (self.viewer == _VIEWER,))


@dataclass(frozen=True, eq=False)
class Page:
    """A keyset page of `model` in `order`: of the rows whose `key` equals the parent's attribute `by`, or of all.

    With `through`, the key is a column of the table between parent and rows. `narrowings` are the conditions that a
    client's arguments may add to a read with a key, by the names under which `Slice.given` has their values. With
    `viewer`, only the rows in which that column is the viewer's id are there, and none for guests.
    """

    model: type[Base]
    order: Order
    key: InstrumentedAttribute[Any] | None = None
    by: str = "id"
    where: tuple[ColumnElement[bool], ...] = ()
    through: Through | None = None
    narrowings: Mapping[str, Narrowing] = field(default_factory=dict)
    viewer: ColumnElement[Any] | InstrumentedAttribute[Any] | None = None
    statements: dict[Shape, Select[Any]] = field(default_factory=dict, init=False, repr=False)
    """What was made so far, by the shape of the window."""

    def statement(self, window: Window, given: Given = ()) -> Select[Any]:
        """Return what finds such a page of any parents, or of the whole list."""
        made = None if given else self.statements.get(window.shape)
        if made is None:
            made = self._made(window, given)
            if not given:
                self.statements[window.shape] = made
        return made

    def _made(self, window: Window, given: Given) -> Select[Any]:
        conditions = [*self.where, *(() if self.viewer is None else (self.viewer == _VIEWER,))]
        if self.key is None:
            return page_of(self.model, self.order, window, conditions)
        narrowed = [(self.narrowings[name], value) for name, value in given]
        return pages_of(self.model, self.key, self.order, window, conditions, self.through, narrowed)


@dataclass(frozen=True, eq=False)
class Count:
    """Number of the rows whose `key` equals the parent's attribute `by`; cheap only if an index holds just those."""

    key: InstrumentedAttribute[Any]
    by: str = "id"
    where: tuple[ColumnElement[bool], ...] = ()

    @cached_property
    def statement(self) -> Select[Any]:
        """What counts the rows of any keys."""
        return counts_by(self.key, self.where)


Together = Callable[[Row, Sequence[Any]], Awaitable[Mapping[Any, Any]]]
"""Reads rows by their keys for several operations at once; see `resolvers.batches`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a page in list order, with what a client needs to go on from either end."""

    rows: Sequence[Any]
    order: Order
    has_next_page: bool
    has_previous_page: bool

    def cursor(self, row: Any) -> str:
        """Return the cursor that continues after, or before, the row."""
        return cursor_of(self.order, row)


RowKey = tuple[type[Base], str, str]
PageKey = tuple[Page, Window, Given]


class Reads:
    """Runs declared reads for one operation, or for one event of a subscription; remembers what it has read.

    `viewer_id` is the user who is asking; null for guests. With `together`, rows are read with those of others.

    Each batch opens a short session of its own: a session serves one statement at a time, and siblings ask at once.
    """

    def __init__(
        self, sessions: Sessions, viewer_id: UUID | None, *, concurrency: int = 4, together: Together | None = None
    ) -> None:
        self._sessions = sessions
        self._together = together
        self._viewer_id = viewer_id
        # One operation with many branches must not drain the pool that all operations share.
        self._slots = asyncio.Semaphore(concurrency)
        self._known_rows: defaultdict[RowKey, dict[Any, Any]] = defaultdict(dict)
        self._known_pages: defaultdict[PageKey, dict[Any, Rows]] = defaultdict(dict)
        # Two fields that ask for the same at once must not both read it.
        self._locks: defaultdict[RowKey | PageKey | Count, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known_counts: defaultdict[Count, dict[Any, int]] = defaultdict(dict)
        self._loaders: dict[RowKey | PageKey | Count, DataLoader[Any, Any]] = {}

    async def rows(self, read: Row, keys: Sequence[Any]) -> list[Any]:
        """Return the row of each key, null where there is none; one statement for all that are not known yet."""
        if read.viewer is not None and self._viewer_id is None:
            return [None] * len(keys)
        known = self._known_rows[read.loader]
        async with self._locks[read.loader]:
            missing = [key for key in dict.fromkeys(keys) if key not in known]
            if missing:
                found = await self._found(read, missing)
                known.update((key, found.get(key)) for key in missing)
                self._remember(read.model, [row for key in missing if (row := found.get(key)) is not None])
        return [known[key] for key in keys]

    async def _found(self, read: Row, keys: Sequence[Any]) -> Mapping[Any, Any]:
        if self._together is not None and read.viewer is None:
            return await self._together(read, keys)
        async with self._slots, self._sessions() as session:
            result = await session.execute(read.statement, self._values(read, keys=keys))
            return {key: row for key, row in result}  # noqa: C416 - typed as Row, not as a pair

    async def pages(self, read: Page, part: Slice, parents: Sequence[Any]) -> list[Rows]:
        """Return the same page of each parent's list; one statement for all that are not known yet.

        Raises:
            RequestError: BAD_INPUT for a page size or cursor that is not acceptable.
        """
        window = window_of(read.order, part)
        key = read, window, part.given
        known = self._known_pages[key]
        async with self._locks[key]:
            missing = [parent for parent in dict.fromkeys(parents) if parent not in known]
            if missing:
                found = await self._load_pages(key, missing)
                known.update((parent, _rows(found[parent], read.order, window)) for parent in missing)
        return [known[parent] for parent in parents]

    async def page(self, read: Page, part: Slice) -> Rows:
        """Return a page of the whole list of a read without key.

        Raises:
            RequestError: BAD_INPUT for a page size or cursor that is not acceptable.
        """
        window = window_of(read.order, part)
        if read.viewer is not None and self._viewer_id is None:
            return _rows((), read.order, window)
        async with self._slots, self._sessions() as session:
            values = self._values(read, **window.values())
            rows = (await session.execute(read.statement(window), values)).scalars().all()
        self._remember(read.model, rows)
        return _rows(rows, read.order, window)

    async def counts(self, read: Count, keys: Sequence[Any]) -> list[int]:
        """Return the number of each key's rows; one statement for all that are not known yet."""
        known = self._known_counts[read]
        async with self._locks[read]:
            missing = [key for key in dict.fromkeys(keys) if key not in known]
            if missing:
                async with self._slots, self._sessions() as session:
                    result = await session.execute(read.statement, {"keys": missing})
                    found = {key: number for key, number in result}  # noqa: C416 - typed as Row, not as a pair
                known.update((key, found.get(key, 0)) for key in missing)
        return [known[key] for key in keys]

    def row(self, read: Row, key: Any) -> Awaitable[Any]:
        """Return the row of a key, or null; calls of one moment become one batch."""
        loader = self._loaders.get(read.loader)
        if loader is None:
            loader = self._loaders[read.loader] = DataLoader(load_fn=partial(self.rows, read))
        return loader.load(key)

    def page_of(self, read: Page, part: Slice, parent: Any) -> Awaitable[Rows]:
        """Return a page of one parent's list; calls of one moment become one batch.

        Raises:
            RequestError: BAD_INPUT for a page size or cursor that is not acceptable.
        """
        key = read, window_of(read.order, part), part.given
        loader = self._loaders.get(key)
        if loader is None:
            loader = self._loaders[key] = DataLoader(load_fn=partial(self.pages, read, part))
        return loader.load(parent)

    def count(self, read: Count, key: Any) -> Awaitable[int]:
        """Return the number of a key's rows; calls of one moment become one batch."""
        loader = self._loaders.get(read)
        if loader is None:
            loader = self._loaders[read] = DataLoader(load_fn=partial(self.counts, read))
        return loader.load(key)

    def _values(self, read: Row | Page, **values: Any) -> dict[str, Any]:
        return values if read.viewer is None else {**values, "viewer": self._viewer_id}

    def remember(self, row: Base) -> None:
        """Let whoever asks for this row by its id have it without a statement."""
        self._remember(type(row), [row])

    def _remember(self, model: type[Base], rows: Iterable[Any]) -> None:
        """Let whoever asks for one of the rows by its id have it without a statement."""
        self._known_rows[_by_id(model).loader].update((row.id, row) for row in rows)

    async def _load_pages(self, key: PageKey, parents: list[Any]) -> dict[Any, list[Any]]:
        read, window, given = key
        found: dict[Any, list[Any]] = {parent: [] for parent in parents}
        if read.viewer is not None and self._viewer_id is None:
            return found
        values = self._values(read, parents=parents, **window.values())
        async with self._slots, self._sessions() as session:
            for parent, row in await session.execute(read.statement(window, given), values):
                found[parent].append(row)
        self._remember(read.model, chain.from_iterable(found.values()))
        return found


@cache
def _by_id(model: type[Base]) -> Row:
    return Row(model, model.id)


def _rows(found: Sequence[Any], order: Order, window: Window) -> Rows:
    rows, more = list(found[: window.limit]), len(found) > window.limit
    if window.backward:
        rows.reverse()
        return Rows(rows, order, has_next_page=window.before is not None, has_previous_page=more)
    return Rows(rows, order, has_next_page=more, has_previous_page=window.after is not None)
