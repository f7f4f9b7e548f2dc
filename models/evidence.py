"""Evidence: columns that only ever move one way, so that a row is the same whatever the order of what was seen."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, collate, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from models.base import Base


def gathered(sightings: Iterable[Mapping[str, Any]], least: Collection[str]) -> dict[str, Any]:
    """Return of each column the sighting that counts: the least of the columns in `least`, the greatest of others."""
    row: dict[str, Any] = {}
    for seen in sightings:
        for column, value in seen.items():
            keep = min if column in least else max
            row[column] = keep(row[column], value) if column in row else value
    return row


async def merge(
    session: AsyncSession,
    model: type[Base],
    key: Sequence[InstrumentedAttribute[Any]],
    row: Mapping[str, Any],
    first: Mapping[str, Any],
    least: Collection[str],
) -> UUID | None:
    """Merge a row's evidence into the one with its key, or make it with `first`; return its id, null if as before."""
    statement = insert(model).values(**first, **row)
    merged: dict[str, Any] = {
        column: (func.least if column in least else func.greatest)(
            getattr(model, column), _as_python_orders(getattr(statement.excluded, column))
        )
        for column in row
    }
    statement = statement.on_conflict_do_update(
        index_elements=key,
        set_={**merged, "updated_at": func.now()},
        # A doubled event must not look like news, neither to subscribers nor to `updated_at`.
        where=or_(*(getattr(model, column).is_distinct_from(value) for column, value in merged.items())),
    )
    return (await session.execute(statement.returning(model.id))).scalar_one_or_none()


def _as_python_orders(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Compare texts by code point, as `max` does, whatever the database's collation."""
    return collate(value, "C") if isinstance(value.type, Text) else value
