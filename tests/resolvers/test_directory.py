"""Discovery: filters, orders, search and pages, over channels of which each differs from the others."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import text

from models import Follow, User, uuid7
from resolvers.auth import open_session
from resolvers.context import Context
from server.runtime import Resolved
from tests import factories
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.owners import node_id
from tests.registration import fresh_database

LIST = """
query List(
  $filter: ChannelFilter, $order: ChannelOrder, $first: Int, $after: String, $last: Int, $before: String
) {
  channels(filter: $filter, orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
    nodes { name }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
CATEGORY = """
query Category($by: CategoryBy!) { category(by: $by) { slug liveChannelCount channels { nodes { name } } } }
"""
# Name, title, category, streams (the last of them live), followers; in the order of creation.
ROWS: list[tuple[str, str, str | None, int, int]] = [
    ("delta", "100% pure cats", "gaming", 0, 3),
    ("Alpha", "Dogs and cats", "music", 4, 0),
    ("bravo", "under_score", "gaming", 2, 7),
    ("Echo", "back\\slash", None, 0, 3),
    ("charlie", "ÜBER katzen", "music", 0, 1),
    ("fox-trot", "100 percent", "gaming", 6, 0),
]
NAMES = [row[0] for row in ROWS]
FOLLOWED = {"Alpha", "Echo"}
VIEWERS = {"Alpha": 5, "bravo": 9}


@pytest.fixture(scope="module")
async def running_here(start_server: StartServer, resolved: Resolved) -> AsyncIterator[Running]:
    """A server with a database of its own: elsewhere a worker counts viewers, and finds none of those made up here."""
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url)
        async with start_server(resolved=here, worker=False, bus_heartbeat_seconds=60.0) as running:
            yield running


@pytest.fixture(scope="module")
async def token(running_here: Running) -> str:
    """The session of a viewer who follows two channels."""
    services = running_here.runtime.services
    async with services.publisher.transaction() as transaction:
        session = transaction.session
        viewer = User(id=uuid7(), username="viewer", password_hash="-")
        crowd = [User(id=uuid7(), username=f"fan-{number}", password_hash="-") for number in range(10)]
        session.add_all([viewer, *crowd])
        await session.flush()
        for name, title, slug, streams, followers in ROWS:
            category_id = slug and await factories.category(session, slug)
            channel = await factories.user(session, name, category_id=category_id)
            channel.title = title
            await factories.streams(session, channel, streams, live=True)
            channel.viewer_count = VIEWERS.get(name, 0)
            fans = [viewer] if name in FOLLOWED else []
            fans += crowd[: followers - len(fans)] if followers else []
            session.add_all([Follow(id=uuid7(), user_id=fan.id, channel_id=channel.id) for fan in fans])
        return open_session(Context(services, None, "127.0.0.1"), transaction, viewer).token


@pytest.fixture
async def reader(running_here: Running, token: str) -> AsyncIterator[Client]:
    client = Client(running_here.url)
    yield client
    await client.aclose()


async def names(reader: Client, token: str | None = None, **arguments: Any) -> list[str]:
    found = await reader.data(LIST, arguments, token=token)
    return [one["name"] for one in found["channels"]["nodes"]]


NEWEST = list(reversed(NAMES))
LIVE = ["fox-trot", "Alpha", "bravo"]
ORDERS = {
    None: NEWEST,
    "CREATED": NEWEST,
    "LIVE_SINCE": [*LIVE, "charlie", "Echo", "delta"],
    "FOLLOWERS": ["bravo", "Echo", "delta", "charlie", "Alpha", "fox-trot"],
    "VIEWERS": ["bravo", "Alpha", "fox-trot", "charlie", "Echo", "delta"],
    "NAME": ["Alpha", "bravo", "charlie", "delta", "Echo", "fox-trot"],
}


async def test_every_filter_with_every_order(reader: Client, token: str) -> None:
    categories = (await reader.data("{ categories { id slug } }"))["categories"]
    ids = {one["slug"]: one["id"] for one in categories}
    live = {name: streams > 0 for name, _, _, streams, _ in ROWS}
    slugs = {name: slug for name, _, slug, _, _ in ROWS}
    counts = {name: followers or (name in FOLLOWED) for name, _, _, _, followers in ROWS}
    assert counts["Alpha"] == 1
    order_by = dict(ORDERS) | {"FOLLOWERS": sorted(NEWEST, key=lambda name: -int(counts[name]))}
    lists = " ".join(
        f"{order or 'unordered'}: channels(filter: $filter, orderBy: {order or 'null'}) {{ nodes {{ name }} }}"
        for order in order_by
    )
    document = f"query Lists($filter: ChannelFilter) {{ {lists} }}"
    for is_live, slug, followed, search in product(
        (None, True, False), (None, "gaming", "art"), (None, True, False), (None, "cats")
    ):
        which = {"isLive": is_live, "categoryId": slug and ids[slug], "followedByViewer": followed, "search": search}
        found = await reader.data(document, {"filter": which}, token=token)
        for order, every in order_by.items():
            expected = [
                name
                # Without an order, live channels have the one of their start.
                for name in (LIVE if order is None and is_live else every)
                if is_live in (None, live[name])
                and slug in (None, slugs[name])
                and followed in (None, name in FOLLOWED)
                and (search is None or name in ("delta", "Alpha"))
            ]
            assert [one["name"] for one in found[order or "unordered"]["nodes"]] == expected, (order, which)


async def test_guests_follow_nobody(reader: Client, token: str) -> None:
    assert await names(reader, filter={"followedByViewer": True}) == []
    assert await names(reader, filter={"followedByViewer": False}) == NEWEST


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("cats", ["Alpha", "delta"]),
        ("CATS dogs", ["Alpha"]),
        ("dogs delta", []),
        ("alpha cats", ["Alpha"]),
        ("über", ["charlie"]),
        ("KATZEN", ["charlie"]),
        ("%", []),
        ("%%%", []),
        ("100%", ["delta"]),
        ("___", []),
        ("r_s", ["bravo"]),
        ("k\\s", ["Echo"]),
        ("\\\\\\", []),
        ("' OR 1=1 --", []),
        ("al", ["Alpha"]),
        ("lp", []),
        ("ba", ["Echo"]),
        ("x-t", ["fox-trot"]),
        ("", NEWEST),
        ("   ", NEWEST),
        ("x" * 100, []),
        ("🐈🐈🐈", []),
    ],
)
async def test_search_takes_words_as_they_are(reader: Client, search: str, expected: list[str]) -> None:
    assert sorted(await names(reader, filter={"search": search})) == sorted(expected)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({"search": "x" * 101}, "`search` has 0 to 100 characters."),
        ({"search": "a\0b"}, "`search` must not hold the character NUL, nor half of a surrogate pair."),
        ({"search": "a b c d e f g h i"}, "`search` has 9 words; at most 8 are accepted."),
        ({"categoryId": ""}, "`filter.categoryId` is not an id: pass the `id` of an object on unchanged."),
    ],
)
async def test_what_cannot_be_found_is_refused(reader: Client, which: dict[str, str], message: str) -> None:
    error = await reader.error(LIST, {"filter": which})
    assert (error["message"], error["extensions"]) == (message, {"code": "BAD_INPUT"})


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_pages_add_up_in_every_order(reader: Client, order: str | None, size: int) -> None:
    whole = await names(reader, order=order)
    assert sorted(whole) == sorted(NAMES)
    for first, after, more, cursor in (
        ("first", "after", "hasNextPage", "endCursor"),
        ("last", "before", "hasPreviousPage", "startCursor"),
    ):
        pages: list[list[str]] = []
        part: dict[str, Any] = {first: size}
        while True:
            found = (await reader.data(LIST, {"order": order, **part}))["channels"]
            pages.append([one["name"] for one in found["nodes"]])
            if not found["pageInfo"][more]:
                break
            part[after] = found["pageInfo"][cursor]
        pages = pages if first == "first" else pages[::-1]
        assert [name for page in pages for name in page] == whole


async def test_a_cursor_is_good_for_its_order_alone(reader: Client) -> None:
    cursors = {
        order: (await reader.data(LIST, {"order": order, "first": 1}))["channels"]["pageInfo"]["endCursor"]
        for order in ORDERS
    }
    for order, other in product(ORDERS, ORDERS):
        same = order == other or {order, other} == {None, "CREATED"}
        body = await reader.execute(LIST, {"order": order, "after": cursors[other]})
        assert ("errors" not in body) == same


async def test_categories_know_their_channels(reader: Client) -> None:
    gaming = {"slug": "gaming", "liveChannelCount": 2, "channels": {"nodes": []}}
    gaming["channels"] = {"nodes": [{"name": name} for name in ("fox-trot", "bravo", "delta")]}
    assert (await reader.data(CATEGORY, {"by": {"slug": "gaming"}}))["category"] == gaming
    (key,) = [
        one["id"] for one in (await reader.data("{ categories { id slug } }"))["categories"] if one["slug"] == "gaming"
    ]
    assert (await reader.data(CATEGORY, {"by": {"id": key}}))["category"] == gaming
    art = {"slug": "art", "liveChannelCount": 0, "channels": {"nodes": []}}
    assert (await reader.data(CATEGORY, {"by": {"slug": "art"}}))["category"] == art
    for unknown in ({"slug": "nothing"}, {"slug": "a\0b"}, {"slug": "Gaming"}, {"id": node_id("Category", uuid7())}):
        assert (await reader.data(CATEGORY, {"by": unknown}))["category"] is None


async def test_search_and_lists_are_answered_from_indexes(running_here: Running, token: str) -> None:
    """With sequential scans forbidden, PostgreSQL must not need one."""
    wanted = {
        "name ILIKE '%cat%' OR title ILIKE '%cat%'": "ix_channels_name_title_trigrams",
        "name ILIKE 'ca%' OR title ILIKE 'ca%'": "ix_channels_name_title_trigrams",
        "TRUE ORDER BY listed_at DESC, id DESC LIMIT 5": "ix_channels_listed_at_id",
        "TRUE ORDER BY follower_count DESC, id DESC LIMIT 5": "ix_channels_follower_count_id",
        "TRUE ORDER BY viewer_count DESC, id DESC LIMIT 5": "ix_channels_viewer_count_id",
        "TRUE ORDER BY name_order LIMIT 5": "uq_channels_name_order",
        f"category_id = '{uuid7()}' ORDER BY listed_at DESC, id DESC": "ix_channels_category_id_listed_at_id",
        f"category_id = '{uuid7()}' AND live_stream_id IS NOT NULL ORDER BY live_since DESC, id DESC": (
            "ix_channels_live_category_id"
        ),
    }
    async with running_here.runtime.services.sessions() as session, session.begin():
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_sort = off"))
        for condition, index in wanted.items():
            plan = await session.execute(text(f"EXPLAIN SELECT id FROM channels WHERE {condition}"))  # noqa: S608
            lines = "\n".join(plan.scalars())
            assert index in lines, lines
            assert "Seq Scan" not in lines
