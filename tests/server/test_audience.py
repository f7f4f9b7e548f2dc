"""Simulated viewers: what they say of themselves is what the API counts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.audience import Audience
from tests.accounts import sql
from tests.client import Client, Registered
from tests.conftest import Running, StartServer
from tests.players import ago, broadcast
from tests.waiting import eventually

COUNTED = "query($id: ID!) { channel(by: { id: $id }) { viewerCount } }"
KEPT = """SELECT count(*), count(DISTINCT viewing_id), count(DISTINCT quality) > 1
  FROM metrics JOIN streams ON streams.id = stream_id JOIN channels ON channels.id = channel_id
  JOIN users ON users.id = channels.user_id WHERE username = :name"""


@pytest.fixture(scope="module")
async def server(start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server(heartbeat_interval_seconds=1.0) as running:
        yield running


@pytest.fixture
async def client(server: Running) -> AsyncIterator[Client]:
    client = Client(server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def owner(client: Client) -> Registered:
    return await client.register()


async def test_what_viewers_say_of_themselves_is_what_is_counted(
    server: Running, client: Client, owner: Registered
) -> None:
    said: list[str] = []
    audience = Audience(f"{server.url}/graphql", owner.username, 20, said.append)
    watching = asyncio.create_task(audience.watch(6))

    async def there() -> bool:
        return audience.truth.joined > 0

    await eventually(there, "somebody waits for the stream")
    assert audience.truth.heartbeats == 0
    await broadcast(server.runtime, owner.channel_id, ago(60))

    async def all_are_counted() -> bool:
        counted = (await client.data(COUNTED, {"id": owner.channel_id}))["channel"]["viewerCount"]
        return bool(counted == audience.truth.joined == 20)

    await eventually(all_are_counted, "everybody is counted")

    async def some_went_on() -> bool:
        return audience.truth.heartbeats >= 40

    await eventually(some_went_on, "they go on")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    truth = audience.truth
    assert truth.watching + truth.left == truth.joined == 20
    [(beats, viewings, several)] = await sql(server.runtime, KEPT, name=owner.username)
    # The answers to the last ones may have come too late for who sent them.
    assert truth.heartbeats <= beats <= truth.heartbeats + truth.watching
    assert (viewings, several) == (20, True)
    left = f"20 came, {truth.left} left before the end; heartbeats: {truth.heartbeats}"
    assert said == [f"Viewers: {left}."]


async def test_of_nobody_there_is_nothing_to_watch(server: Running) -> None:
    said: list[str] = []
    await Audience(f"{server.url}/graphql", "nobody-at-all", 2, said.append).watch(1)
    assert said == [
        "The viewers stop: nobody-at-all has no channel.",
        "Viewers: 0 came, 0 left before the end; heartbeats: 0.",
    ]


async def test_an_api_that_is_no_api(server: Running) -> None:
    said: list[str] = []
    await Audience(server.url, "somebody", 2, said.append).watch(1)
    assert said[0] == f"The viewers stop: {server.url} answers with HTTP 405."
