"""Categories: reads."""

import re

from models import Category, Channel
from models.paging import Order
from resolvers.reads import Count, Page, Row

BY_ID = Row(Category, Category.id)
BY_SLUG = Row(Category, Category.slug)
ALL = Page(Category, Order("position", (Category.position, Category.id)))
LIVE_CHANNELS = Count(Channel.category_id, where=(Channel.live_stream_id.is_not(None),))

_SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")


def slugged(slug: str) -> str | None:
    """Return the key of `BY_SLUG` for a slug; null for what cannot be one."""
    return slug if _SLUG.fullmatch(slug) else None
