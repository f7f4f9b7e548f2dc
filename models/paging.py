"""Keyset pages: of one list, or of the lists of many parents in one statement.

A page continues after the values of a row, not after a number of rows, so that inserts and deletions elsewhere neither
repeat nor skip anything. All columns of an order run in one direction: then the condition is a single row comparison,
which PostgreSQL answers from an index of the same columns.

Statements hold names where values go, so that one is built once and executed with any: building one costs more than
running it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, any_, bindparam, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, aliased

from models.base import Base


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A total order of rows: not-null columns of which the last is unique, all ascending or all descending."""

    name: str
    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Through:
    """A table between parents and rows, and how it joins the rows' table: a follow between a user and a channel."""

    model: type[Base]
    on: ColumnElement[bool]


Narrowing = Callable[[ColumnElement[Any], Any], ColumnElement[bool]]
"""Condition on the rows of one parent's list, made of the parent's key and of a value that a client has given."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a list: at most `limit` rows after and before the given order values, from the end if `backward`."""

    limit: int
    after: tuple[Any, ...] | None = None
    before: tuple[Any, ...] | None = None
    backward: bool = False

    @property
    def shape(self) -> tuple[bool, bool, bool]:
        """What of the window its statement depends on."""
        return self.after is not None, self.before is not None, self.backward

    def values(self) -> dict[str, Any]:
        """Return the values for the statement of a page."""
        values: dict[str, Any] = {"limit": self.limit + 1}
        for end, place in (("after", self.after), ("before", self.before)):
            values.update((f"{end}_{index}", value) for index, value in enumerate(place or ()))
        return values


def _page(
    model: type[Base],
    order: Order,
    window: Window,
    conditions: Sequence[ColumnElement[bool]],
    through: Through | None = None,
) -> Select[Any]:
    """One list's page, with one row more than asked so that the caller can tell whether there is more."""
    keys = tuple_(*order.columns)
    statement = select(model).where(*conditions)
    if through is not None:
        statement = statement.join(through.model, through.on)
    if window.after is not None:
        bound = tuple_(*_bound(order, "after"))
        statement = statement.where(keys < bound if order.descending else keys > bound)
    if window.before is not None:
        bound = tuple_(*_bound(order, "before"))
        statement = statement.where(keys > bound if order.descending else keys < bound)
    descending = order.descending != window.backward
    statement = statement.order_by(*(column.desc() if descending else column.asc() for column in order.columns))
    return statement.limit(bindparam("limit", type_=Integer()))


def _bound(order: Order, end: str) -> list[Any]:
    return [bindparam(f"{end}_{index}", type_=column.type) for index, column in enumerate(order.columns)]


def page_of(
    model: type[Base], order: Order, window: Window, conditions: Sequence[ColumnElement[bool]] = ()
) -> Select[Any]:
    """Return the statement for a page of one list of `model`; its rows come in the direction of reading.

    It takes the window's `values`.
    """
    return _page(model, order, window, conditions)


def pages_of(
    model: type[Base],
    key: InstrumentedAttribute[Any],
    order: Order,
    window: Window,
    conditions: Sequence[ColumnElement[bool]] = (),
    through: Through | None = None,
    narrowed: Sequence[tuple[Narrowing, Any]] = (),
) -> Select[Any]:
    """Return the statement for the same page of every parent's list, `narrowed` in each by the same values.

    A lateral join limits each list by itself; one LIMIT over all would starve the later parents. It takes `parents` and
    the window's `values`.
    """
    parent = (
        func.unnest(bindparam("parents", type_=ARRAY(key.type))).table_valued("key", name="parent").render_derived()
    )
    within = [key == parent.c.key, *(narrowing(parent.c.key, value) for narrowing, value in narrowed), *conditions]
    page = _page(model, order, window, within, through).correlate(parent).lateral("page")
    entity = aliased(model, page)
    return select(parent.c.key, entity).select_from(parent).join(page, true())


def rows_by(
    model: type[Base],
    key: ColumnElement[Any] | InstrumentedAttribute[Any],
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Select[tuple[Any, Any]]:
    """Return the statement for `(key, row)` where the unique `key` is among `keys`, which it takes; any number."""
    return select(key, model).where(_among_keys(key), *conditions)


def counts_by(
    key: InstrumentedAttribute[Any], conditions: Sequence[ColumnElement[bool]] = ()
) -> Select[tuple[Any, int]]:
    """Return the statement for `(key, number of rows)` of every `key` among `keys`, which it takes, that has any."""
    return select(key, func.count()).where(_among_keys(key), *conditions).group_by(key)


def _among_keys(key: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    return key == any_(bindparam("keys", type_=ARRAY(key.type)))
