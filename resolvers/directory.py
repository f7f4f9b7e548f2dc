"""The directory: which channels there are, by filter, order and search, and which are live."""

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from sqlalchemy import ColumnElement, false, or_, select

from models import Category, Channel, Follow
from models.paging import Order
from resolvers import categories, channels, texts
from resolvers.context import Context
from resolvers.errors import RequestError, bad_input
from resolvers.reads import Page
from subscriptions import topics

LONGEST_SEARCH = 100
MOST_WORDS = 8
# PostgreSQL's trigrams find no shorter piece in the middle of a text.
_TRIGRAM = 3


class ChannelOrder(enum.Enum):
    """Order of a list of channels."""

    LIVE_SINCE = "LIVE_SINCE"
    CREATED = "CREATED"
    FOLLOWERS = "FOLLOWERS"
    VIEWERS = "VIEWERS"
    NAME = "NAME"


_LISTED = Order("listed", (Channel.listed_at, Channel.id), descending=True)
_ORDERS = {
    ChannelOrder.LIVE_SINCE: _LISTED,
    ChannelOrder.CREATED: channels.NEWEST.order,
    ChannelOrder.FOLLOWERS: Order("followers", (Channel.follower_count, Channel.id), descending=True),
    ChannelOrder.VIEWERS: Order("viewers", (Channel.viewer_count, Channel.id), descending=True),
    ChannelOrder.NAME: Order("name", (Channel.name_order,)),
}

IN_CATEGORY = Page(Channel, _LISTED, key=Channel.category_id)
FOLLOWED = channels.followed(_LISTED)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which channels; what is null does not matter."""

    is_live: bool | None = None
    category_id: UUID | None = None
    followed_by_viewer: bool | None = None
    search: str | None = None


def listed(ctx: Context, which: Filter, order: ChannelOrder | None) -> Page:
    """Return the list of the channels that fulfil all of the filter.

    Raises:
        RequestError: BAD_INPUT for a search that is too long.
    """
    base = _ordered(which.is_live, order)
    conditions: list[ColumnElement[bool]] = []
    if which.category_id is not None:
        conditions.append(Channel.category_id == which.category_id)
    if which.followed_by_viewer is not None:
        follows = _followed(ctx)
        conditions.append(follows if which.followed_by_viewer else ~follows)
    if which.search is not None:
        conditions += _found(which.search)
    return Page(Channel, base.order, where=(*base.where, *conditions)) if conditions else base


@cache
def _ordered(is_live: bool | None, order: ChannelOrder | None) -> Page:
    base = channels.listed(is_live=is_live)
    if order is None or (order is ChannelOrder.LIVE_SINCE and is_live):
        return base
    return Page(Channel, _ORDERS[order], where=base.where)


def live(category_id: UUID | None) -> Page:
    """Return the list of live channels, of one category or of all, by latest start first."""
    of_category = () if category_id is None else (Channel.category_id == category_id,)
    return Page(Channel, channels.LIVE.order, where=(*channels.LIVE.where, *of_category))


async def changes(ctx: Context, category_id: UUID | None) -> AsyncIterator[Category | None]:
    """Yield the category, or null for all, at once and after channels went live or offline; not oftener than the rules.

    End when the category is deleted.

    Raises:
        RequestError: BAD_INPUT if there is no such category to begin with.
    """
    known = False
    with ctx.listen(topics.directory(category_id)) as listener:
        async for _ in listener.changes():
            ctx.renew()
            category: Category | None = None
            if category_id is not None:
                category = await ctx.reads.row(categories.BY_ID, category_id)
                if category is None and not known:
                    raise RequestError("BAD_INPUT", "`categoryId` is no category's id.")
                if category is None:
                    return
            known = True
            yield category
            await listener.rest(ctx.services.channel_rules.directory_interval)


def _followed(ctx: Context) -> ColumnElement[bool]:
    if ctx.viewer is None:
        return false()
    return Channel.id.in_(select(Follow.channel_id).where(Follow.user_id == ctx.viewer.user_id))


def _found(search: str) -> list[ColumnElement[bool]]:
    """Each word is in the name or in the title; one that is too short for the index begins one of them."""
    wrong = texts.fault(search, "`search`", most=LONGEST_SEARCH)
    if wrong is not None:
        raise bad_input(wrong)
    words = dict.fromkeys(search.split())
    if len(words) > MOST_WORDS:
        raise bad_input(f"`search` has {len(words)} words; at most {MOST_WORDS} are accepted.")
    return [_holds(word) for word in words]


def _holds(word: str) -> ColumnElement[bool]:
    literal = word.translate({ord(character): f"\\{character}" for character in "\\%_"})
    pattern = f"%{literal}%" if len(word) >= _TRIGRAM else f"{literal}%"
    return or_(Channel.name.ilike(pattern), Channel.title.ilike(pattern))
