"""Who watches the directory is told what is live: at once, and when it changes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from server.runtime import Resolved
from tests.accounts import delete_user, sql
from tests.client import Client, open_socket
from tests.conftest import Running, StartServer
from tests.owners import FOLLOW, STREAM_UPDATE, UPDATE, Owner, node_id
from tests.subscriptions.directory import WATCH, watcher


@pytest.fixture
async def server(here: Resolved, start_server: StartServer) -> AsyncIterator[Running]:
    """A server that does not rest between two answers."""
    async with start_server(resolved=here, worker=False, directory_interval_seconds=0) as running:
        yield running


@pytest.fixture
async def owners(server: Running) -> AsyncIterator[list[Owner]]:
    """The owners of channels with the titles A, B and C, the first two of them in categories."""
    client = Client(server.url)
    owners = [await Owner.register(client, server.runtime) for _ in range(3)]
    for owner, title, slug in zip(owners, "ABC", ("gaming", "music", None), strict=True):
        await owner.done(UPDATE, title=title, categoryId=slug and await owner.category(slug))
    yield owners
    await client.aclose()


async def end(owner: Owner, stream: str = "one") -> None:
    await owner.happens(owner.event("Stream End", await owner.now(), stream))


async def test_the_present_state_comes_first_and_then_every_change(server: Running, owners: list[Owner]) -> None:
    a, b, c = owners
    await b.goes_live()
    async with watcher(server) as all_of_them:
        await all_of_them.sees("B")
        await a.goes_live()
        await all_of_them.sees("A", "B")
        await c.goes_live()
        await all_of_them.sees("C", "A", "B")
        # The order is that of the starts: another stream is a later one.
        await b.goes_live("two")
        await all_of_them.sees("B", "C", "A")
        await end(c)
        await all_of_them.sees("B", "A")
        async with watcher(server, first=1) as page:
            first = (await page.next())["liveChannels"]
            assert ([one["title"] for one in first["nodes"]], first["pageInfo"]["hasNextPage"]) == (["B"], True)
        async with watcher(server, after=first["pageInfo"]["endCursor"]) as page:
            await page.sees("A")


async def test_what_happens_while_live_is_told(server: Running, owners: list[Owner]) -> None:
    a, b, c = owners
    music = await a.category("music")
    await a.goes_live()
    (stream,) = await a.streams()
    async with watcher(server) as all_of_them:
        await all_of_them.sees("A")
        await a.done(UPDATE, title="A2")
        await all_of_them.sees("A2")
        await a.done(UPDATE, categoryId=music)
        moved = (await all_of_them.next())["liveChannels"]["nodes"]
        assert moved == [
            {
                "name": a.user.username,
                "title": "A2",
                "category": {"slug": "music"},
                "currentStream": {"title": "A2"},
            }
        ]
        await a.done(STREAM_UPDATE, streamId=stream["id"], title="the stream's own")
        (shown,) = (await all_of_them.next())["liveChannels"]["nodes"]
        assert (shown["title"], shown["currentStream"]) == ("A2", {"title": "the stream's own"})
        # What changes nothing that is listed is not told.
        await a.done(UPDATE, title="A2", categoryId=music)
        await all_of_them.next()  # The stream has the channel's title again.
        await a.done(UPDATE, title="A2", categoryId=music)
        await a.done(STREAM_UPDATE, streamId=stream["id"], title="A2")
        await b.done(UPDATE, title="B2")
        await c.done(FOLLOW, channelId=a.id)
        await a.happens(a.event("Starvation Start", await a.now()), a.event("Session Created", await a.now()))
        await all_of_them.silent()
        await a.goes_live("two")
        await all_of_them.sees("A2")
        await a.done(STREAM_UPDATE, streamId=stream["id"], title="over")
        await all_of_them.silent()
        assert (await delete_user(a.client, a.user.token))["errors"] == []
        await all_of_them.sees()


async def test_a_category_is_watched_alone(server: Running, owners: list[Owner]) -> None:
    a, b, c = owners
    gaming, music = await a.category("gaming"), await a.category("music")
    async with AsyncExitStack() as stack:
        games = await stack.enter_async_context(watcher(server, gaming))
        songs = await stack.enter_async_context(watcher(server, music))
        await games.sees(category="gaming")
        await songs.sees(category="music")
        await a.goes_live()
        await games.sees("A", category="gaming")
        await songs.silent()
        await c.goes_live()
        await games.silent()
        await b.goes_live()
        await songs.sees("B", category="music")
        await games.silent()
        # From one into the other: both are told.
        await a.done(UPDATE, categoryId=music)
        await games.sees(category="gaming")
        await songs.sees("B", "A", category="music")
        await a.done(UPDATE, categoryId=None)
        await songs.sees("B", category="music")
        await games.silent()
        await c.done(UPDATE, categoryId=gaming)
        await games.sees("C", category="gaming")
        await end(c)
        await games.sees(category="gaming")
        await songs.silent()
        assert (await delete_user(b.client, b.user.token))["errors"] == []
        await songs.sees(category="music")


async def test_a_category_must_exist_and_may_end(server: Running, owners: list[Owner]) -> None:
    for wrong in (node_id("Category", uuid4()), owners[0].id, ""):
        async with open_socket(server.url) as socket:
            await socket.subscribe("1", WATCH, {"category": wrong})
            message = await socket.receive()
            (error,) = message["payload"]
            assert (message["type"], error["extensions"]) == ("error", {"code": "BAD_INPUT"})
    ((key,),) = await sql(
        server.runtime,
        "INSERT INTO categories (id, slug, name, position) VALUES (gen_random_uuid(), 'brief', 'Brief', 999)"
        " RETURNING id",
    )
    await owners[0].done(UPDATE, categoryId=node_id("Category", key))
    async with watcher(server, node_id("Category", key)) as brief:
        await brief.sees(category="brief")
        await owners[0].goes_live()
        await brief.sees("A", category="brief")
        await sql(server.runtime, "DELETE FROM categories WHERE id = :key", key=key)
        async with server.runtime.services.publisher.transaction() as transaction:
            transaction.directory_changed(key)
        assert await brief.socket.receive() == {"type": "complete", "id": "1"}
