"""The two servers that ours is compared with, each its own process: `python -m bench.reads.servers KIND PORT`.

Both believe the header `x-viewer` that tells who is asking.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import uvicorn
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from bench.reads.loaders import Context
from bench.reads.query import schema
from models.engine import async_url
from models.vault import Vault

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Answer = Callable[[str, UUID | None, bytes], Awaitable[bytes]]

POOL = 20
STATEMENTS = Path(__file__).parent / "statements"
# What the statements have in common; PostgreSQL puts the bodies in place of the calls.
FUNCTIONS = """
CREATE FUNCTION pg_temp.opaque(text) RETURNS text LANGUAGE sql STABLE
  RETURN rtrim(encode(convert_to($1, 'UTF8'), 'base64'), '=');
CREATE FUNCTION pg_temp.global_id(text, uuid) RETURNS text LANGUAGE sql STABLE
  RETURN rtrim(encode(convert_to($1 || ':' || replace($2::text, '-', ''), 'UTF8'), 'base64'), '=');
CREATE FUNCTION pg_temp.key_of(text) RETURNS uuid LANGUAGE sql STABLE
  RETURN split_part(convert_from(decode($1 || repeat('=', -length($1) & 3), 'base64'), 'UTF8'), ':', 2)::uuid;
CREATE FUNCTION pg_temp.recordings() RETURNS text LANGUAGE sql STABLE RETURN '{url}/';
"""


def plain(database_url: str) -> Answer:
    """Plain Strawberry with DataLoaders over the same tables."""
    engine = create_async_engine(async_url(database_url), pool_size=POOL, max_overflow=0)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    vault = Vault([os.environ["SECRET_KEY"]])

    async def answer(_: str, viewer: UUID | None, body: bytes) -> bytes:
        asked = json.loads(body)
        context = Context(sessions, vault, viewer)
        result = await schema.execute(asked["query"], variable_values=asked["variables"], context_value=context)
        assert not result.errors, result.errors
        return json.dumps({"data": result.data}).encode()

    return answer


def statement(database_url: str) -> Answer:
    """Bare uvicorn that passes on the bytes of one statement per document."""
    pools: list[asyncpg.Pool[Any]] = []
    texts = {file.stem: file.read_text() for file in STATEMENTS.glob("*.sql")}

    class Asked(msgspec.Struct):
        variables: msgspec.Raw

    decoder = msgspec.json.Decoder(Asked)
    functions = FUNCTIONS.format(url=os.environ["RECORDINGS_CDN_URL"])

    async def reset(_: Any) -> None:
        """Nothing is left behind that would have to be cleaned up."""

    async def answer(page: str, viewer: UUID | None, body: bytes) -> bytes:
        if not pools:
            sizes = {"min_size": POOL, "max_size": POOL}
            init = lambda connection: connection.execute(functions)  # noqa: E731
            pools.append(await asyncpg.create_pool(database_url, **sizes, init=init, reset=reset))
        found: str = await pools[0].fetchval(texts[page], viewer, bytes(decoder.decode(body).variables).decode())
        return found.encode()

    return answer


def app(answer: Answer) -> Asgi:
    """As little of a web server as there can be, and so less than ours has to do."""

    async def respond(scope: Any, receive: Any, send: Any) -> None:
        received, more = b"", True
        while more:
            message = await receive()
            received += message.get("body", b"")
            more = message.get("more_body", False)
        viewer = dict(scope["headers"]).get(b"x-viewer")
        body = await answer(scope["path"][1:], UUID(viewer.decode()) if viewer else None, received)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return respond


def main() -> None:
    kind, port = sys.argv[1:]
    made = {"plain": plain, "statement": statement}[kind](os.environ["DATABASE_URL"])
    # uvicorn takes the same event loop and parser as ours does: uvloop and httptools.
    uvicorn.run(app(made), port=int(port), lifespan="off", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
