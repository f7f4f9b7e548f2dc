"""Connections: one generic shape for every list that may be long. Source: GraphQL Cursor Connections Specification."""

from operator import attrgetter, itemgetter
from typing import Generic, TypeVar

import strawberry

from resolvers.reads import Rows
from schema.base import value

T = TypeVar("T")


def _cursor_at(rows: Rows, index: int) -> str | None:
    return rows.cursor(rows.rows[index]) if rows.rows else None


@strawberry.type(description="Place of a page in its list.")
class PageInfo:
    """Relay's PageInfo over `Rows`."""

    has_next_page: bool = strawberry.field(description="Whether items follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether items precede this page.")
    start_cursor: str | None = value(
        lambda rows: _cursor_at(rows, 0), description="Cursor of the page's first item; null on an empty page."
    )
    end_cursor: str | None = value(
        lambda rows: _cursor_at(rows, -1), description="Cursor of the page's last item; null on an empty page."
    )


@strawberry.type(description="Item of a list with its place in it.")
class Edge(Generic[T]):
    """Relay's Edge over a pair of page and row."""

    cursor: str = value(
        lambda edge: edge[0].cursor(edge[1]), description="Opaque place of the item, for `after` and `before`."
    )
    node: T = value(itemgetter(1), description="The item.")


@strawberry.type(description="Page of a list, stable while items are added and removed elsewhere in it.")
class Connection(Generic[T]):
    """Relay's Connection over `Rows`."""

    edges: list[Edge[T]] = value(
        lambda rows: [(rows, row) for row in rows.rows], description="Items of the page with their cursors."
    )
    nodes: list[T] = value(attrgetter("rows"), description="Items of the page.")
    page_info: PageInfo = value(lambda rows: rows, description="Place of the page in the list.")
