"""Pages, forwards and backwards, of any size, add up to the list; what is not a page is refused in words."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests import factories
from tests.client import Client
from tests.conftest import Running, StartServer

TOTAL = 23

STREAMS = """
query($first: Int, $after: String, $last: Int, $before: String) {
  channel(by: { name: "paged" }) {
    streams(first: $first, after: $after, last: $last, before: $before) {
      edges { cursor node { id } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""
CHANNELS = """
query($live: Boolean, $first: Int, $after: String, $last: Int, $before: String) {
  channels(filter: { isLive: $live }, first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { id name } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


@pytest.fixture(scope="module")
async def paged(start_apart: StartServer) -> AsyncIterator[Running]:
    async with start_apart(worker=False, bus_heartbeat_seconds=60.0) as running:
        yield running


@pytest.fixture(scope="module")
async def reader(paged: Running) -> AsyncIterator[Client]:
    """A client of a database with TOTAL live channels, one of which has TOTAL streams."""
    async with paged.runtime.services.sessions() as session, session.begin():
        for index in range(TOTAL):
            channel = await factories.user(session, "paged" if index == 0 else f"other-{index:02d}")
            # All start in the same second: the key must decide.
            await factories.streams(session, channel, TOTAL if index == 0 else 1, live=True)
    client = Client(paged.url)
    yield client
    await client.aclose()


async def page(client: Client, document: str, **arguments: Any) -> dict[str, Any]:
    data = await client.data(document, arguments)
    connection: dict[str, Any] = data["channels"] if "channels" in data else data["channel"]["streams"]
    return connection


async def ids_of(client: Client, document: str, **arguments: Any) -> list[str]:
    return [edge["node"]["id"] for edge in (await page(client, document, first=100, **arguments))["edges"]]


@pytest.mark.parametrize("document", [STREAMS, CHANNELS])
@settings(max_examples=12, deadline=None)
@given(size=st.integers(min_value=1, max_value=TOTAL + 2), forward=st.booleans())
async def test_pages_add_up_to_the_list(reader: Client, document: str, size: int, forward: bool) -> None:
    whole = await ids_of(reader, document)
    assert len(set(whole)) == TOTAL
    seen: list[str] = []
    cursor: str | None = None
    while True:
        arguments = {"first": size, "after": cursor} if forward else {"last": size, "before": cursor}
        part = await page(reader, document, **arguments)
        ids = [edge["node"]["id"] for edge in part["edges"]]
        info = part["pageInfo"]
        assert (info["startCursor"], info["endCursor"]) == (part["edges"][0]["cursor"], part["edges"][-1]["cursor"])
        seen = seen + ids if forward else ids + seen
        more = info["hasNextPage"] if forward else info["hasPreviousPage"]
        assert more == (len(seen) < TOTAL)
        assert (info["hasPreviousPage"] if forward else info["hasNextPage"]) == (cursor is not None)
        if not more:
            break
        cursor = info["endCursor"] if forward else info["startCursor"]
    assert seen == whole


async def test_lists_do_not_shift_when_rows_are_added(paged: Running, reader: Client) -> None:
    before = await ids_of(reader, CHANNELS)
    first = await page(reader, CHANNELS, first=10)
    async with paged.runtime.services.sessions() as session, session.begin():
        await factories.user(session, "newcomer")
    rest = await page(reader, CHANNELS, first=100, after=first["pageInfo"]["endCursor"])
    async with paged.runtime.services.sessions() as session, session.begin():
        await session.execute(text("DELETE FROM users WHERE username = 'newcomer'"))

    assert [edge["node"]["id"] for edge in (*first["edges"], *rest["edges"])] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 101}, "`first` is 101; it must be between 0 and 100."),
        ({"last": -1}, "`last` is -1; it must be between 0 and 100."),
        ({"first": 1, "last": 1}, "`first` and `last` exclude each other: give one of them."),
    ],
)
async def test_impossible_pages_are_refused(reader: Client, arguments: dict[str, int], message: str) -> None:
    error = await reader.error(CHANNELS, arguments)

    assert (error["message"], error["extensions"]) == (message, {"code": "BAD_INPUT"})


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "ä",
        "!!!",
        "AAAA",
        encoded("created"),
        encoded([]),
        encoded(["created"]),
        encoded(["created", 5]),
        encoded(["created", "not a key"]),
        encoded(["live", "2026-01-01T00:00:00Z", "01a20869-5ca2-74f9-8dd4-c80107286b3c"]),
        encoded(["started", "01a20869-5ca2-74f9-8dd4-c80107286b3c"]),
        encoded(["created", "01a20869-5ca2-74f9-8dd4-c80107286b3c", "more"]),
    ],
)
@pytest.mark.parametrize("argument", ["after", "before"])
async def test_foreign_cursors_are_refused(reader: Client, argument: str, cursor: str) -> None:
    error = await reader.error(CHANNELS, {argument: cursor})

    assert error["message"].startswith(f"`{argument}` is not a cursor of this list")
    assert error["extensions"] == {"code": "BAD_INPUT"}


@settings(max_examples=25, deadline=None)
@given(garbage=st.text(max_size=60))
async def test_no_garbage_is_our_fault(reader: Client, garbage: str) -> None:
    for document, variables in (
        (CHANNELS, {"after": garbage}),
        ("query($id: ID!) { node(id: $id) { id } }", {"id": garbage}),
        ("query($id: ID!) { channel(by: { id: $id }) { id } }", {"id": garbage}),
    ):
        assert (await reader.error(document, variables))["extensions"] == {"code": "BAD_INPUT"}
    for document in (
        "query($name: String!) { channel(by: { name: $name }) { id } }",
        "query($name: String!) { user(username: $name) { id } }",
    ):
        assert list((await reader.data(document, {"name": garbage})).values()) == [None]
