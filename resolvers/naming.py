"""Titles and categories of channels and streams: both are checked and changed alike."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import or_, update

from models import Channel, Stream
from resolvers import categories, texts
from resolvers.context import Context
from resolvers.errors import NotFound, Problem, Refused
from subscriptions.publish import Transaction

LONGEST_TITLE = 140

Names = dict[str, Any]
"""New values by column: `title`, `category_id`, both, or none."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What an owner asks for. Null leaves the title; the category is a choice of one, or of none, or null to leave."""

    title: str | None = None
    category: "Choice | None" = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A category, or none."""

    category_id: UUID | None


async def checked(ctx: Context, naming: Naming) -> Names:
    """Return what is to be changed; blanks round a title are cut off.

    Raises:
        Refused: TextInvalid, NotFound for the category, or both.
    """
    names: Names = {}
    problems: list[Problem] = []
    if naming.title is not None:
        names["title"] = naming.title.strip()
        path = ["input", "title"]
        problems += texts.problems(names["title"], "A title", path, least=1, most=LONGEST_TITLE)
    if naming.category is not None:
        names["category_id"] = naming.category.category_id
        if await _unknown(ctx, naming.category):
            problems.append(NotFound(message="There is no such category.", path=["input", "categoryId"]))
    if problems:
        raise Refused(*problems)
    return names


async def _unknown(ctx: Context, choice: Choice) -> bool:
    return choice.category_id is not None and await ctx.reads.row(categories.BY_ID, choice.category_id) is None


async def name_stream(transaction: Transaction, channel: Channel, stream_id: UUID, names: Names) -> None:
    """Give a stream of the channel what its owner has chosen, against all evidence that may still come.

    The caller holds a lock on the channel's row: whether the stream is live must not change meanwhile.
    """
    if not names:
        return
    edited = {"title": "title_edited", "category_id": "category_edited"}
    values = names | {edited[column]: True for column in names}
    news = [getattr(Stream, column).is_distinct_from(value) for column, value in values.items()]
    changed = update(Stream).where(Stream.id == stream_id, or_(*news)).values(values).returning(Stream.id)
    if (await transaction.session.execute(changed)).first() is None:
        return
    transaction.channel_changed(channel.id)
    if channel.live_stream_id == stream_id:
        transaction.directory_changed(channel.category_id)
