"""What the types of the plain schema have in common."""

import base64
from typing import Any, Generic, TypeVar

import strawberry
from strawberry.types import Info

from bench.reads.loaders import Context

T = TypeVar("T")
Asked = Info[Context, None]


def row(column: Any, by: str = "id") -> Any:
    """Return a field that is the one row whose column equals the parent's attribute."""

    async def resolve(root: Any, info: Asked) -> Any:
        return await info.context.row(column, getattr(root, by))

    return strawberry.field(resolver=resolve)


def of(function: Any) -> Any:
    """Return a field that is a function of its object."""

    def resolve(root: Any) -> Any:
        return function(root)

    return strawberry.field(resolver=resolve)


def global_id(row: Any) -> strawberry.ID:
    text = f"{type(row).__name__}:{row.id.hex}"
    return strawberry.ID(base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))


@strawberry.interface
class Node:
    id: strawberry.ID = of(global_id)


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None = of(lambda page: page.cursor(page.rows[-1]) if page.rows else None)


@strawberry.type
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type
class Connection(Generic[T]):
    nodes: list[T] = of(lambda page: page.rows)
    edges: list[Edge[T]] = of(lambda page: [Edge(cursor=page.cursor(each), node=each) for each in page.rows])
    page_info: PageInfo = of(lambda page: page)
