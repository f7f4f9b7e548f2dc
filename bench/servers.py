"""The servers that `bench.reads` compares, each its own process: `python -m bench.servers KIND PORT DATABASE_URL`."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import strawberry
import uvicorn
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import async_sessionmaker
from strawberry.dataloader import DataLoader

import models
from models.engine import create_engine

# The whole home page as one statement: what a database can do at best.
ONE_STATEMENT = """
SELECT json_build_object('data', json_build_object('channels',
  json_build_object('nodes', coalesce(json_agg(page.node), '[]'))))
FROM (
  SELECT json_build_object(
    'id', c.id, 'name', c.name, 'title', c.title, 'isLive', true,
    'followerCount', c.follower_count, 'viewerCount', c.viewer_count,
    'category', (SELECT json_build_object('slug', g.slug, 'name', g.name) FROM categories g WHERE g.id = c.category_id),
    'owner', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = c.user_id),
    'chatRoom', (SELECT json_build_object('id', r.id, 'messages', json_build_object('nodes', (
                   SELECT json_agg(json_build_object(
                     'id', m.id, 'content', m.content, 'sentAt', m.sent_at, 'senderName', m.sender_name, 'sentBy',
                     (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = m.user_id)
                   ) ORDER BY m.sent_at, m.id)
                   FROM (SELECT * FROM chat_messages m WHERE m.chat_room_id = r.id
                         ORDER BY m.sent_at DESC, m.id DESC LIMIT 10) m)))
                 FROM chat_rooms r WHERE r.user_id = c.user_id),
    'currentStream', (SELECT json_build_object('id', s.id, 'startedAt', s.started_at, 'health', s.health)
                      FROM streams s WHERE s.id = c.live_stream_id),
    'streams', (SELECT json_build_object('nodes', json_agg(json_build_object(
                  'id', s.id, 'title', s.title, 'state', s.state, 'category',
                  (SELECT json_build_object('name', g.name) FROM categories g WHERE g.id = s.category_id))))
                FROM (SELECT * FROM streams s WHERE s.channel_id = c.id AND s.started_at IS NOT NULL
                      ORDER BY s.started_at DESC, s.id DESC LIMIT 5) s)
  ) AS node
  FROM channels c WHERE c.live_stream_id IS NOT NULL ORDER BY c.live_since DESC, c.id DESC LIMIT $1
) page
"""

PLAIN_QUERY = """
{ channels(first: 20) { nodes { id name title isLive followerCount viewerCount category { slug name }
  owner { username } currentStream { id startedAt health }
  streams(first: 5) { nodes { id title state category { name } } }
  chatRoom { id messages(last: 10) { nodes { id content sentAt senderName sentBy { username } } } } } } }
"""


def statement_app(database_url: str) -> Callable[..., Awaitable[None]]:
    """Bare uvicorn that passes on the bytes of one statement."""
    pool: list[asyncpg.Pool[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not pool:
            pool.append(await asyncpg.create_pool(database_url, min_size=10, max_size=20))
        while (await receive()).get("more_body"):
            pass
        body = (await pool[0].fetchval(ONE_STATEMENT, 20)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def plain_app(database_url: str) -> Callable[..., Awaitable[None]]:
    """Plain Strawberry with DataLoaders, as its documentation teaches, over the same tables."""
    sessions = async_sessionmaker(
        create_engine(database_url, pool_size=20, statement_timeout_ms=15000, name="plain"), expire_on_commit=False
    )

    def by(column: Any) -> Callable[[], DataLoader[Any, Any]]:
        async def load(keys: list[Any]) -> list[Any]:
            async with sessions() as session:
                rows = (await session.execute(select(column.class_).where(column.in_(keys)))).scalars()
                found = {getattr(row, column.key): row for row in rows}
            return [found.get(key) for key in keys]

        return lambda: DataLoader(load)

    async def load_streams(keys: list[UUID]) -> list[list[models.Stream]]:
        order = models.Stream.started_at.desc()
        number = func.row_number().over(partition_by=models.Stream.channel_id, order_by=order).label("number")
        ranked = select(models.Stream.id, number).where(models.Stream.channel_id.in_(keys)).subquery()
        statement = select(models.Stream).join(ranked, ranked.c.id == models.Stream.id).where(ranked.c.number <= 5)
        found: dict[UUID, list[models.Stream]] = {key: [] for key in keys}
        async with sessions() as session:
            for row in (await session.execute(statement.order_by(order))).scalars():
                found[row.channel_id].append(row)
        return [found[key] for key in keys]

    async def load_messages(keys: list[UUID]) -> list[list[models.ChatMessage]]:
        order = models.ChatMessage.sent_at.desc()
        number = func.row_number().over(partition_by=models.ChatMessage.chat_room_id, order_by=order).label("number")
        ranked = select(models.ChatMessage.id, number).where(models.ChatMessage.chat_room_id.in_(keys)).subquery()
        statement = select(models.ChatMessage).join(ranked, ranked.c.id == models.ChatMessage.id)
        found: dict[UUID, list[models.ChatMessage]] = {key: [] for key in keys}
        async with sessions() as session:
            for row in (await session.execute(statement.where(ranked.c.number <= 10).order_by(order))).scalars():
                found[row.chat_room_id].insert(0, row)
        return [found[key] for key in keys]

    loaders = {
        "messages": lambda: DataLoader(load_messages),
        "user": by(models.User.id),
        "category": by(models.Category.id),
        "room": by(models.ChatRoom.user_id),
        "stream": by(models.Stream.id),
        "streams": lambda: DataLoader(load_streams),
    }
    schema = plain_schema(sessions)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received = b""
        while True:
            message = await receive()
            received += message.get("body", b"")
            if not message.get("more_body"):
                break
        context = {name: make() for name, make in loaders.items()}
        result = await schema.execute(json.loads(received)["query"], context_value=context)
        assert not result.errors, result.errors
        body = json.dumps({"data": result.data}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def plain_schema(sessions: Any) -> strawberry.Schema:  # noqa: C901 - one schema, from its leaves to its root
    @strawberry.type
    class Category:
        slug: str
        name: str

    @strawberry.type
    class User:
        username: str

    async def load_sender(root: Any, info: strawberry.Info) -> User | None:
        return await info.context["user"].load(root.user_id) if root.user_id else None  # type: ignore[no-any-return]

    @strawberry.type
    class Message:
        id: strawberry.ID
        content: str
        sender_name: str
        sent_at: strawberry.Private[Any]
        sent_by: User | None = strawberry.field(resolver=load_sender)

        @strawberry.field(name="sentAt")
        def sent(self) -> str:
            return self.sent_at.isoformat()  # type: ignore[no-any-return]

    @strawberry.type
    class Messages:
        nodes: list[Message]

    async def load_messages(root: Any, info: strawberry.Info, last: int) -> Messages:
        return Messages(nodes=await info.context["messages"].load(root.id))

    @strawberry.type
    class Room:
        id: strawberry.ID
        messages: Messages = strawberry.field(resolver=load_messages)

    async def load_category(root: Any, info: strawberry.Info) -> Category | None:
        return await info.context["category"].load(root.category_id) if root.category_id else None  # type: ignore[no-any-return]

    @strawberry.type
    class Stream:
        id: strawberry.ID
        title: str
        state: str
        health: str | None
        started_at: strawberry.Private[Any]
        category: Category | None = strawberry.field(resolver=load_category)

        @strawberry.field(name="startedAt")
        def started(self) -> str:
            return self.started_at.isoformat()  # type: ignore[no-any-return]

    @strawberry.type
    class Streams:
        nodes: list[Stream]

    async def load_owner(root: Any, info: strawberry.Info) -> User:
        return await info.context["user"].load(root.user_id)  # type: ignore[no-any-return]

    async def load_room(root: Any, info: strawberry.Info) -> Room:
        return await info.context["room"].load(root.user_id)  # type: ignore[no-any-return]

    async def load_stream(root: Any, info: strawberry.Info) -> Stream | None:
        return await info.context["stream"].load(root.live_stream_id)  # type: ignore[no-any-return]

    async def load_streams(root: Any, info: strawberry.Info, first: int) -> Streams:
        return Streams(nodes=await info.context["streams"].load(root.id))

    @strawberry.type
    class Channel:
        id: strawberry.ID
        name: str
        title: str
        is_live: bool
        follower_count: int
        viewer_count: int
        category: Category | None = strawberry.field(resolver=load_category)
        owner: User = strawberry.field(resolver=load_owner)
        chat_room: Room = strawberry.field(resolver=load_room)
        current_stream: Stream | None = strawberry.field(resolver=load_stream)
        streams: Streams = strawberry.field(resolver=load_streams)

    @strawberry.type
    class Channels:
        nodes: list[Channel]

    @strawberry.type
    class Query:
        @strawberry.field
        async def channels(self, first: int) -> Channels:
            live = select(models.Channel).where(models.Channel.live_stream_id.is_not(None))
            async with sessions() as session:
                rows = await session.execute(live.order_by(models.Channel.live_since.desc()).limit(first))
                return Channels(nodes=list(rows.scalars()))  # type: ignore[arg-type]

    return strawberry.Schema(Query)


def main() -> None:
    kind, port, database_url = sys.argv[1:]
    app = {"statement": statement_app, "plain": plain_app}[kind](database_url)
    config = uvicorn.Config(
        app, port=int(port), lifespan="off", access_log=False, log_level="warning", http="httptools"
    )
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
