"""Fields that read: each binds one declared read of `resolvers` to a name and a description."""

from collections.abc import Callable
from dataclasses import replace
from inspect import Signature, signature
from typing import Annotated, Any, TypeVar

import strawberry
from strawberry import UNSET

from resolvers.cursors import DEFAULT_PAGE, LARGEST_PAGE, Slice
from resolvers.policy import Policy
from resolvers.reads import Count, Page, Row
from schema.base import Info, may_see

T = TypeVar("T")

First = Annotated[
    int | None,
    strawberry.argument(
        description=f"Number of items from the start, 0 to {LARGEST_PAGE}; {DEFAULT_PAGE} without `first` and `last`."
    ),
]
After = Annotated[str | None, strawberry.argument(description="Cursor of the item after which the page begins.")]
Last = Annotated[
    int | None, strawberry.argument(description=f"Number of items from the end, 0 to {LARGEST_PAGE}; excludes `first`.")
]
Before = Annotated[str | None, strawberry.argument(description="Cursor of the item before which the page ends.")]


def row(read: Row, *, description: str, allowed: Policy | None = None) -> Any:
    """Return a field that is one row by key; null where the parent's attribute is, or where `allowed` says no."""

    def resolve(root: Any, info: Info) -> Any:
        value = getattr(root, read.by)
        return None if value is None or not may_see(info, allowed, root) else info.context.reads.row(read, value)

    return strawberry.field(resolver=resolve, description=description, metadata={"read": read, "allowed": allowed})


def exists(read: Row, *, description: str) -> Any:
    """Return a field that tells whether there is such a row."""

    async def resolve(root: Any, info: Info) -> bool:
        return await info.context.reads.row(read, getattr(root, read.by)) is not None

    return strawberry.field(resolver=resolve, description=description, metadata={"read": read, "exists": True})


def joined(read: Row, function: Callable[[Any, Any], Any], *, description: str) -> Any:
    """Return a field computed from its object and one related row; null where there is no such row."""

    async def resolve(root: Any, info: Info) -> Any:
        value = getattr(root, read.by)
        related = None if value is None else await info.context.reads.row(read, value)
        return None if related is None else function(root, related)

    return strawberry.field(resolver=resolve, description=description, metadata={"read": read, "joined": function})


def rows(read: Page, *, most: int, description: str) -> Any:
    """Return a field that is a parent's whole list, which by its nature never has more than `most` items."""
    return _list(read, lambda: Slice(first=most), description)


def beginning(read: Page, *, description: str) -> Any:
    """Return a field that is the first items of a parent's list, which by its nature is short."""
    return _list(read, _first, description)


def _first(first: First = UNSET) -> Slice:
    return Slice(given(first))


def _list(read: Page, arguments: Callable[..., Slice], description: str) -> Any:
    async def resolve(root: Any, info: Info, **chosen: Any) -> Any:
        return (await info.context.reads.page_of(read, arguments(**chosen), getattr(root, read.by))).rows

    _show(resolve, arguments)
    return strawberry.field(
        resolver=resolve, description=description, metadata={"read": read, "arguments": arguments, "list": True}
    )


def _show(resolve: Callable[..., Any], arguments: Callable[..., Slice]) -> None:
    """Give the field the arguments of the function."""
    before, shown = signature(resolve).parameters, signature(arguments).parameters
    # What Strawberry reads the field's arguments from.
    resolve.__signature__ = Signature([before["root"], before["info"], *shown.values()])  # type: ignore[attr-defined]


def count(read: Count, *, description: str) -> Any:
    """Return a field that is a number of rows by key."""

    def resolve(root: Any, info: Info) -> Any:
        return info.context.reads.count(read, getattr(root, read.by))

    return strawberry.field(resolver=resolve, description=description, metadata={"read": read})


def given(argument: T | None) -> T | None:
    """Return an optional argument, null if it is absent."""
    return None if argument is UNSET else argument


def part(first: int | None, after: str | None, last: int | None, before: str | None, **narrowed: Any) -> Slice:
    """Return a connection's arguments, absent ones as null; what of `narrowed` is not null narrows the list."""
    asked = Slice(given(first), given(after), given(last), given(before))
    return replace(asked, given=tuple((name, value) for name, value in narrowed.items() if value is not None))


def paging(first: First = UNSET, after: After = UNSET, last: Last = UNSET, before: Before = UNSET) -> Slice:
    """Return the arguments that every connection has; see `page`."""
    return part(first, after, last, before)


def page(
    read: Page, *, description: str, allowed: Policy | None = None, arguments: Callable[..., Slice] = paging
) -> Any:
    """Return a connection field: a keyset page of the parent's list; null where `allowed` says no.

    The field has the arguments of the function `arguments`, which makes of them what is asked of the read. They are
    the same for all parents, so that it is one statement for all of them.
    """

    def resolve(root: Any, info: Info, **chosen: Any) -> Any:
        if not may_see(info, allowed, root):
            return None
        return info.context.reads.page_of(read, arguments(**chosen), getattr(root, read.by))

    _show(resolve, arguments)
    return strawberry.field(
        resolver=resolve, description=description, metadata={"read": read, "arguments": arguments, "allowed": allowed}
    )
