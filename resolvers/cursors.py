"""Cursors and page sizes: what a client may ask of a list, and what it gets told when it asks wrongly."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from models.paging import Order, Window
from resolvers.errors import RequestError, bad_input

DEFAULT_PAGE = 20
LARGEST_PAGE = 100


@dataclass(frozen=True, slots=True)
class Slice:
    """The four arguments of a connection, as the client gave them, and what else narrows its list: see `Page`."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    given: tuple[tuple[str, Any], ...] = ()


def cursor_of(order: Order, row: Any) -> str:
    """Return the row's place in the order, opaque to clients."""
    place = [order.name, *(getattr(row, column.key) for column in order.columns)]
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def window_of(order: Order, part: Slice) -> Window:
    """Return the part of the list that the arguments mean.

    Raises:
        RequestError: BAD_INPUT for `first` with `last`, a size outside 0 to 100, or a cursor of another list.
    """
    if part.first is not None and part.last is not None:
        raise bad_input("`first` and `last` exclude each other: give one of them.")
    backward = part.last is not None
    name, size = ("last", part.last) if backward else ("first", part.first)
    if size is not None and not 0 <= size <= LARGEST_PAGE:
        raise bad_input(f"`{name}` is {size}; it must be between 0 and {LARGEST_PAGE}.")
    return Window(
        limit=DEFAULT_PAGE if size is None else size,
        after=_decode(order, "after", part.after),
        before=_decode(order, "before", part.before),
        backward=backward,
    )


def _decode(order: Order, name: str, cursor: str | None) -> tuple[Any, ...] | None:
    if cursor is None:
        return None
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        tag, *values = msgspec.json.decode(place, type=_place_type(order))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _foreign(name) from error
    if tag != order.name or any(isinstance(value, str) and "\0" in value for value in values):
        raise _foreign(name)
    return tuple(values)


def _place_type(order: Order) -> Any:
    return tuple.__class_getitem__((str, *(column.type.python_type for column in order.columns)))


def _foreign(name: str) -> RequestError:
    return bad_input(
        f"`{name}` is not a cursor of this list: pass a pageInfo cursor on unchanged, with the same order."
    )
