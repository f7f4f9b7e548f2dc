"""A query's number of statements depends on its shape, never on the number of rows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.engine import Sessions
from resolvers import channels, chat_rooms
from tests import factories
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.statements import captured

DOCUMENTS = Path(__file__).parent.parent / "documents"


@pytest.fixture(scope="module")
async def quiet(start_apart: StartServer) -> AsyncIterator[Running]:
    """A server that does nothing on its own."""
    async with start_apart(worker=False, bus_heartbeat_seconds=60.0) as running:
        yield running


@pytest.fixture
async def sessions(quiet: Running) -> Sessions:
    """The way to an empty database."""
    sessions = quiet.runtime.services.sessions
    async with sessions() as session, session.begin():
        await factories.empty(session)
    return sessions


@pytest.fixture
async def reader(quiet: Running) -> AsyncIterator[Client]:
    client = Client(quiet.url)
    yield client
    await client.aclose()


async def seed(sessions: Sessions, *, channels: int, streams: int) -> None:
    async with sessions() as session, session.begin():
        gaming = await factories.category(session, "gaming")
        for index in range(channels):
            channel = await factories.user(session, f"user-{index:03d}", category_id=gaming)
            await factories.streams(session, channel, streams, live=True)


def document(name: str) -> str:
    return (DOCUMENTS / f"{name}.graphql").read_text()


async def test_home_page_answers_what_it_was_asked(sessions: Sessions, reader: Client) -> None:
    await seed(sessions, channels=3, streams=7)
    page = (await reader.data(document("home"), {"first": 2}))["channels"]

    assert [node["name"] for node in page["nodes"]] == ["user-002", "user-001"]
    assert page["pageInfo"]["hasNextPage"] is True
    for node in page["nodes"]:
        assert node["isLive"] is True
        assert node["owner"] == {"username": node["name"]}
        assert node["category"] == {"slug": "gaming", "name": "Gaming"}
        assert node["currentStream"]["startedAt"] == "2026-01-01T00:12:00+00:00"
        assert [stream["state"] for stream in node["streams"]["nodes"]] == ["LIVE"] + ["ENDED"] * 4
        assert node["streams"]["nodes"][0]["id"] == node["currentStream"]["id"]
        assert node["streams"]["pageInfo"]["hasNextPage"] is True


async def test_two_pages_of_one_parent_are_two_reads(quiet: Running, sessions: Sessions, reader: Client) -> None:
    await seed(sessions, channels=2, streams=3)
    query = "{ channels { nodes { a: streams(first: 1) { nodes { id } } b: streams(first: 2) { nodes { id } } } } }"
    with captured(quiet.runtime) as statements:
        nodes = (await reader.data(query))["channels"]["nodes"]

    assert len(statements) == 3
    for node in nodes:
        assert (len(node["a"]["nodes"]), len(node["b"]["nodes"])) == (1, 2)
        assert node["a"]["nodes"][0] == node["b"]["nodes"][0]


async def test_a_statement_is_built_once_for_pages_of_any_size(sessions: Sessions, reader: Client) -> None:
    await seed(sessions, channels=2, streams=3)
    await reader.data(document("home"), {"first": 1})
    reads = (channels.LIVE, channels.STREAMS, chat_rooms.MESSAGES)
    before = [dict(read.statements) for read in reads]
    page = (await reader.data(document("home"), {"first": 2}))["channels"]

    assert len(page["nodes"]) == 2
    assert [read.statements for read in reads] == before


async def test_the_same_rows_are_read_once(quiet: Running, sessions: Sessions, reader: Client) -> None:
    await seed(sessions, channels=4, streams=1)
    ids = [
        node["owner"]["id"]
        for node in (await reader.data("{ channels { nodes { owner { id } } } }"))["channels"]["nodes"]
    ]
    with captured(quiet.runtime) as statements:
        data = await reader.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": [*ids, *ids]})

    assert [node["id"] for node in data["nodes"]] == [*ids, *ids]
    assert len(statements) == 1


async def test_a_page_of_no_list_is_empty(sessions: Sessions, reader: Client) -> None:
    await seed(sessions, channels=1, streams=0)
    page_info = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
    query = f"{{ channels {{ nodes {{ streams {{ nodes {{ id }} {page_info} }} }} }} }}"

    assert (await reader.data(query))["channels"]["nodes"] == [
        {
            "streams": {
                "nodes": [],
                "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
            }
        }
    ]
