"""Evidence: columns that only ever move one way, so that a row is the same whatever the order of what was seen."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, Text, bindparam, collate, false, func, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import Base, uuid7
from models.statement import Statement


def gathered(sightings: Iterable[Mapping[str, Any]], least: Collection[str]) -> dict[str, Any]:
    """Return of each column the sighting that counts: the least of the columns in `least`, the greatest of others."""
    row: dict[str, Any] = {}
    for seen in sightings:
        for column, value in seen.items():
            if value is not None:
                keep = min if column in least else max
                row[column] = keep(row[column], value) if column in row else value
    return row


class Merger:
    """The one statement that merges evidence into any number of rows of a table, and makes those that are missing.

    Args:
        model: The table.
        key: Columns that a row is known by; the first of them is its owner.
        owner: The table of owners. Of an owner that is gone nothing is kept.
        copied: Columns in which a new row begins with its owner's values.
        unless: Returns, from the columns that are given, the condition under which a row is not kept.
        evidence: Columns of evidence. Of those in `least` the least value is kept, of all others the greatest.
    """

    def __init__(
        self,
        model: type[Base],
        *,
        key: Sequence[str],
        owner: type[Base],
        copied: Sequence[str] = (),
        unless: Callable[[Any], ColumnElement[bool]] = lambda _given: false(),
        evidence: Sequence[str],
        least: Collection[str],
    ) -> None:
        self._columns = ("id", *key, *evidence)
        # As arrays: one text of one statement, whatever the number of rows, so that it is prepared once.
        arrays = [bindparam(name, type_=ARRAY(getattr(model, name).type)) for name in self._columns]
        given = func.unnest(*arrays).table_valued(*self._columns, name="given").render_derived()
        table, owners = cast("Table", model.__table__), cast("Table", owner.__table__)
        rows = (
            select(*(given.c[name] for name in self._columns), *(owners.c[name] for name in copied))
            .join(owners, owners.c.id == given.c[key[0]])
            .where(not_(unless(given.c)))
        )
        # Of the table and not of the class: the ORM would take the arrays for columns of one row.
        statement = insert(table).from_select([*self._columns, *copied], rows)
        # Both ignore nulls.
        merged: dict[str, ColumnElement[Any]] = {
            name: (func.least if name in least else func.greatest)(
                getattr(model, name), _as_python_orders(getattr(statement.excluded, name))
            )
            for name in evidence
        }
        written = statement.on_conflict_do_update(
            index_elements=key,
            set_={**merged, "updated_at": func.now()},
            # A doubled event must not look like news, neither to subscribers nor to `updated_at`.
            where=or_(*(getattr(model, name).is_distinct_from(value) for name, value in merged.items())),
        )
        self._statement = Statement(written.returning(model.id, getattr(model, key[0]).label("owner")))

    async def merge(self, session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> dict[UUID, UUID]:
        """Merge rows, no two of one key; return the owner of each row that is new or has changed, by the row's id."""
        if not rows:
            return {}
        given = [{"id": uuid7(), **row} for row in rows]
        changed = await self._statement.all(session, {name: [row.get(name) for row in given] for name in self._columns})
        return {row["id"]: row["owner"] for row in changed}


def _as_python_orders(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Compare texts by code point, as `max` does, whatever the database's collation."""
    return collate(value, "C") if isinstance(value.type, Text) else value
