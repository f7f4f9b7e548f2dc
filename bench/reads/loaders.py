"""What the plain server reads with: DataLoaders, as Strawberry's guide teaches them, over SQLAlchemy's ORM."""

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from strawberry.dataloader import DataLoader

from models.vault import Vault


@dataclass(frozen=True)
class Order:
    """Columns, all in one direction."""

    columns: tuple[Any, ...]
    descending: bool = False

    def clauses(self, *, backward: bool = False) -> list[Any]:
        descending = self.descending != backward
        return [column.desc() if descending else column.asc() for column in self.columns]


@dataclass(frozen=True)
class Many:
    """The rows that belong to a parent: those whose `key` is the parent's id."""

    key: Any
    order: Order
    where: Any = field(default_factory=true)


@dataclass(frozen=True)
class Page:
    rows: Sequence[Any]
    order: Order
    has_next_page: bool

    def cursor(self, row: Any) -> str:
        place = [str(getattr(row, column.key)) for column in self.order.columns]
        return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@dataclass
class Context:
    """One request: who asks, and the DataLoaders so far."""

    sessions: async_sessionmaker[AsyncSession]
    vault: Vault
    viewer_id: UUID | None
    loaders: dict[Any, DataLoader[Any, Any]] = field(default_factory=dict)

    async def row(self, column: Any, key: Any, where: Any = None) -> Any:
        """Return the row whose column, unique where the condition holds, has this value; null if there is none."""

        async def load(keys: list[Any]) -> list[Any]:
            statement = select(column.class_).where(column.in_(keys))
            async with self.sessions() as session:
                rows = await session.scalars(statement if where is None else statement.where(where))
                found = {getattr(row, column.key): row for row in rows}
            return [found.get(key) for key in keys]

        return None if key is None else await self._load((column.class_, column.key), load, key)

    async def count(self, column: Any, key: Any, where: Any) -> int:
        async def load(keys: list[Any]) -> list[int]:
            statement = select(column, func.count()).where(column.in_(keys), where).group_by(column)
            async with self.sessions() as session:
                found = {key: number for key, number in await session.execute(statement)}  # noqa: C416 - a Row is no pair
            return [found.get(key, 0) for key in keys]

        return await self._load((column.class_, column.key, "count"), load, key)

    async def first(self, many: Many, parent: UUID, limit: int, *, last: bool = False) -> Page:
        """Return the first rows of the parent's list, or the last."""

        async def load(keys: list[UUID]) -> list[list[Any]]:
            model, order = many.key.class_, many.order.clauses(backward=last)
            number = func.row_number().over(partition_by=many.key, order_by=order).label("number")
            ranked = select(model.id, number).where(many.key.in_(keys), many.where).subquery()
            statement = select(model).join(ranked, ranked.c.id == model.id).where(ranked.c.number <= limit + 1)
            found: dict[UUID, list[Any]] = {key: [] for key in keys}
            async with self.sessions() as session:
                for row in await session.scalars(statement.order_by(*order)):
                    found[getattr(row, many.key.key)].append(row)
            return [found[key] for key in keys]

        found = await self._load((id(many), limit, last), load, parent)
        rows = found[:limit][::-1] if last else found[:limit]
        return Page(rows, many.order, len(found) > limit)

    async def one(self, statement: Select[Any]) -> Any:
        async with self.sessions() as session:
            return await session.scalar(statement)

    async def page(self, statement: Select[Any], order: Order, limit: int) -> Page:
        """Return the first rows of a list that there is only one of."""
        async with self.sessions() as session:
            found = (await session.scalars(statement.order_by(*order.clauses()).limit(limit + 1))).all()
        return Page(found[:limit], order, len(found) > limit)

    def _load(self, name: Any, load: Callable[[list[Any]], Awaitable[list[Any]]], key: Any) -> Awaitable[Any]:
        if name not in self.loaders:
            self.loaders[name] = DataLoader(load_fn=load)
        return self.loaders[name].load(key)
