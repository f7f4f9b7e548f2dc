"""Categories."""

from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from resolvers import categories, directory
from schema import fields
from schema.base import Node, row_type
from schema.connection import Connection

if TYPE_CHECKING:
    from schema.channel import Channel


@row_type(models.Category, description="Subject of streams, from a list kept by the operators.")
class Category(Node):
    """A category."""

    slug: str = strawberry.field(description="Short name for addresses: lower-case words with hyphens; unique.")
    name: str = strawberry.field(description="Name for people; unique.")
    live_channel_count: int = fields.count(
        categories.LIVE_CHANNELS, description="Number of its channels that are live right now."
    )
    channels: Connection[Annotated["Channel", strawberry.lazy("schema.channel")]] = fields.page(
        directory.IN_CATEGORY,
        description="Its channels: live ones by latest start first, then the others by newest first.",
    )
