"""Categories: their channels, live ones first, and how many are live; from indexes, in a fixed number of statements."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.runtime import Resolved
from tests import factories
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.owners import UPDATE, Owner
from tests.statements import captured

PAGE = """
query Page($slug: String!, $first: Int, $after: String, $last: Int, $before: String) {
  category(by: { slug: $slug }) {
    liveChannelCount
    channels(first: $first, after: $after, last: $last, before: $before) {
      nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""
ALL = "{ categories { slug liveChannelCount channels(first: 2) { nodes { name isLive category { slug } } } } }"


@pytest.fixture
async def server(here: Resolved, start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server(resolved=here, worker=False, bus_heartbeat_seconds=60.0) as running:
        yield running


@pytest.fixture
async def reader(server: Running) -> AsyncIterator[Client]:
    client = Client(server.url)
    yield client
    await client.aclose()


async def page(reader: Client, slug: str, **part: Any) -> tuple[int, list[str], dict[str, Any]]:
    found = (await reader.data(PAGE, {"slug": slug, **part}))["category"]
    channels = found["channels"]
    return found["liveChannelCount"], [one["name"] for one in channels["nodes"]], channels["pageInfo"]


async def populate(server: Running, slug: str, *lives: int) -> list[str]:
    """Add channels, of which each has had so many streams and is live if any; return names in the category's order."""
    rows: list[tuple[int, int, str]] = []
    async with server.runtime.services.sessions() as session, session.begin():
        category_id = await factories.category(session, slug)
        for number, streams in enumerate(lives):
            channel = await factories.user(session, category_id=category_id)
            await factories.streams(session, channel, streams, live=True)
            rows.append((streams, number, channel.name))
    return [name for _, _, name in sorted(rows, reverse=True)]


async def test_live_ones_come_first_and_are_counted(server: Running, reader: Client) -> None:
    owners = [await Owner.register(reader, server.runtime) for _ in range(3)]
    one, two, three = [owner.user.username for owner in owners]
    gaming, music = await owners[0].category("gaming"), await owners[0].category("music")
    assert (await page(reader, "gaming"))[:2] == (0, [])
    for owner in owners:
        await owner.done(UPDATE, categoryId=gaming)
    # Newest first.
    assert (await page(reader, "gaming"))[:2] == (0, [three, two, one])
    await owners[1].goes_live()
    await owners[0].goes_live()
    assert (await page(reader, "gaming"))[:2] == (2, [one, two, three])
    await owners[1].goes_live("two")
    assert (await page(reader, "gaming"))[:2] == (2, [two, one, three])
    # The channel's category counts and not that of its stream, which may be about something else.
    await owners[1].done(UPDATE, categoryId=music)
    assert (await page(reader, "gaming"))[:2] == (1, [one, three])
    assert (await page(reader, "music"))[:2] == (1, [two])
    await owners[0].happens(owners[0].event("Stream End", await owners[0].now()))
    assert (await page(reader, "gaming"))[:2] == (0, [three, one])
    await owners[1].done(UPDATE, categoryId=None)
    assert (await page(reader, "music"))[:2] == (0, [])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pages_add_up_in_both_directions(server: Running, reader: Client, size: int) -> None:
    expected = await populate(server, "art", 0, 2, 2, 0, 1, 0, 3)
    await populate(server, "music", 1, 0)
    for first, after, more, cursor in (
        ("first", "after", "hasNextPage", "endCursor"),
        ("last", "before", "hasPreviousPage", "startCursor"),
    ):
        pages: list[list[str]] = []
        part: dict[str, Any] = {first: size}
        while True:
            count, names, info = await page(reader, "art", **part)
            assert count == 4
            pages.append(names)
            if not info[more]:
                break
            part[after] = info[cursor]
        ordered = pages if first == "first" else pages[::-1]
        assert [name for names in ordered for name in names] == expected


async def test_all_categories_cost_as_much_as_one(server: Running, reader: Client) -> None:
    async def look() -> tuple[dict[str, tuple[int, list[str]]], int]:
        with captured(server.runtime) as statements:
            found = (await reader.data(ALL))["categories"]
        shown = {
            one["slug"]: (one["liveChannelCount"], [channel["name"] for channel in one["channels"]["nodes"]])
            for one in found
        }
        for one in found:
            assert all(channel["category"] == {"slug": one["slug"]} for channel in one["channels"]["nodes"])
        return shown, len(statements)

    await look()
    empty, _ = await look()
    assert {value[0] for value in empty.values()} == {0}
    gaming = await populate(server, "gaming", 1)
    _, few = await look()
    music = await populate(server, "music", 0, 4, 1)
    art = await populate(server, "art", 2, 2, 0, 0, 0)
    shown, many = await look()
    assert many == few
    assert shown == empty | {"gaming": (1, gaming), "music": (2, music[:2]), "art": (2, art[:2])}
