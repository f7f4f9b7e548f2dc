"""The root of the plain Strawberry schema."""

import base64
import os
from uuid import UUID

import strawberry
from sqlalchemy import func, select
from strawberry.extensions import ParserCache, ValidationCache

import models
from bench.reads import lists
from bench.reads.fields import Asked, Connection, Node
from bench.reads.loaders import Order
from bench.reads.plain import Category, Channel, Recording, Stage, User


@strawberry.input
class By:
    name: str | None = None
    slug: str | None = None


@strawberry.input
class ChannelFilter:
    is_live: bool


@strawberry.type
class Query:
    @strawberry.field
    async def viewer(self, info: Asked) -> User | None:
        return await info.context.row(models.User.id, info.context.viewer_id)

    @strawberry.field
    async def node(self, info: Asked, id: strawberry.ID) -> Node | None:
        _, _, key = base64.urlsafe_b64decode(id + "=" * (-len(id) % 4)).decode().partition(":")
        return await info.context.row(models.Recording.id, UUID(key))

    @strawberry.field
    async def channel(self, info: Asked, by: By) -> Channel | None:
        return await info.context.one(
            select(models.Channel).where(func.lower(models.Channel.name) == (by.name or "").lower())
        )

    @strawberry.field
    async def stage(self, info: Asked, by: By) -> Stage | None:
        return await info.context.one(
            select(models.Stage).where(func.lower(models.Stage.name) == (by.name or "").lower())
        )

    @strawberry.field
    async def category(self, info: Asked, by: By) -> Category | None:
        return await info.context.row(models.Category.slug, by.slug)

    @strawberry.field
    async def categories(self, info: Asked) -> list[Category]:
        order = Order((models.Category.position, models.Category.id))
        return (await info.context.page(select(models.Category), order, 100)).rows

    @strawberry.field
    async def channels(self, info: Asked, filter: ChannelFilter, first: int) -> Connection[Channel]:
        live = models.Channel.live_stream_id.is_not(None)
        which = live if filter.is_live else ~live
        return await info.context.page(select(models.Channel).where(which), lists.LIVE, first)

    @strawberry.field
    async def recordings(self, info: Asked, first: int) -> Connection[Recording]:
        ready = select(models.Recording).where(models.Recording.state == models.RecordingState.READY)
        return await info.context.page(ready, lists.RECORDED, first)


# Strawberry's own, which its guide recommends to who wants more speed: not part of a plain schema, and worth knowing.
CACHES = [ParserCache(maxsize=100), ValidationCache(maxsize=100)] if os.environ.get("PLAIN_CACHES") else []

schema = strawberry.Schema(Query, types=[Recording], extensions=CACHES)
