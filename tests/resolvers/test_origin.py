"""What a request itself tells of its player: its address, and by its user agent the browser and the system."""

from typing import Any

import pytest

from tests.client import Client, Registered
from tests.conftest import Running, StartServer
from tests.players import PUBLISH, Player, ago, beat, broadcast

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.54 "
    "Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
    "Mobile/15E148 Safari/604.1"
)
OURS = "a player of our own"
SOFTWARE = ("browserName", "browserVersion", "os")
METRICS = f"""
query Metrics($id: ID!) {{
  channel(by: {{ id: $id }}) {{ streams {{ nodes {{ metrics {{ nodes {{ ip {" ".join(SOFTWARE)} }} }} }} }} }}
}}
"""
SHARES = """
query Shares($id: ID!) {
  channel(by: { id: $id }) {
    streams { nodes { analytics { browsers { name viewers } operatingSystems { name viewers } } } }
  }
}
"""


@pytest.fixture
async def owner(client: Client, running: Running) -> Registered:
    """A streamer who has been live for a minute."""
    owner = await client.register()
    await broadcast(running.runtime, owner.channel_id, ago(60))
    return owner


async def watch(
    client: Client, owner: Registered, agent: str = OURS, forwarded: str | None = None, **told: Any
) -> None:
    """Play the stream with a new player that sends one heartbeat."""
    player = await Player.start(client, owner.channel_id)
    variables = {"input": {"viewerToken": player.token, "heartbeats": [beat(**told)]}}
    headers = {"user-agent": agent} | ({"x-forwarded-for": forwarded} if forwarded else {})
    response = await client.post(PUBLISH, variables, **headers)
    assert response.json()["data"]["metricsPublish"] == {"accepted": 1, "errors": []}


async def ask(client: Client, owner: Registered, document: str) -> Any:
    data = await client.data(document, {"id": owner.channel_id}, token=owner.token)
    (stream,) = data["channel"]["streams"]["nodes"]
    return stream


@pytest.mark.parametrize(
    ("agent", "told", "kept"),
    [
        (CHROME, {}, ["Chrome", "141.0.7390.54", "Windows"]),
        (CHROME, {"browserName": None, "os": None}, ["Chrome", "141.0.7390.54", "Windows"]),
        (IPHONE, {}, ["Mobile Safari", "18.5", "iOS"]),
        (IPHONE, {"browserName": "Our app"}, ["Our app", None, "iOS"]),
        (IPHONE, {"browserVersion": "1.0", "os": "visionOS"}, ["Mobile Safari", "1.0", "visionOS"]),
        (CHROME, {"browserName": "Opera", "browserVersion": "120", "os": "Linux"}, ["Opera", "120", "Linux"]),
        (OURS, {}, [None, None, None]),
        ("", {}, [None, None, None]),
        # Longer than a player may tell.
        (f"Chrome/{'1' * 60}.0", {}, ["Chrome", None, None]),
        # Beyond what is kept of the header.
        ("x" * 512 + CHROME, {}, [None, None, None]),
    ],
    ids=["Chrome", "nulls", "iPhone", "name told", "rest told", "all told", "unknown", "empty", "too long", "cut"],
)
async def test_a_user_agent_tells_what_its_player_does_not(
    client: Client, owner: Registered, agent: str, told: dict[str, Any], kept: list[str | None]
) -> None:
    await watch(client, owner, agent, **told)
    (node,) = (await ask(client, owner, METRICS))["metrics"]["nodes"]
    assert [node[name] for name in SOFTWARE] == kept


async def test_analytics_count_what_user_agents_tell(
    client: Client, owner: Registered, start_server: StartServer
) -> None:
    # Each is forgotten for the next, and read again.
    async with start_server(worker=False, user_agents_remembered=1) as forgetful:
        door = Client(forgetful.url)
        for agent in (CHROME, IPHONE, OURS, CHROME):
            await watch(door, owner, agent)
        await watch(door, owner, IPHONE, browserName="Chrome")
        await door.aclose()
    found = (await ask(client, owner, SHARES))["analytics"]
    assert found["browsers"] == [{"name": "Chrome", "viewers": 3}, {"name": "Mobile Safari", "viewers": 1}]
    assert found["operatingSystems"] == [{"name": "Windows", "viewers": 2}, {"name": "iOS", "viewers": 2}]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, "127.0.0.0/24"),
        ({"trusted_proxies": ("127.0.0.1/32",)}, "203.0.113.0/24"),
        ({"trusted_proxies": ("127.0.0.1/32",), "metrics_address": "full"}, "203.0.113.77"),
        ({"trusted_proxies": ("127.0.0.1/32",), "metrics_address": "none"}, None),
    ],
    ids=["nobody trusted", "truncated", "full", "none"],
)
async def test_of_the_address_is_kept_what_the_operators_want(
    client: Client, owner: Registered, start_server: StartServer, settings: dict[str, Any], kept: str | None
) -> None:
    async with start_server(worker=False, **settings) as proxied:
        door = Client(proxied.url)
        # Only the last was written by the proxy.
        await watch(door, owner, forwarded="198.51.100.1, 203.0.113.77")
        await door.aclose()
    (node,) = (await ask(client, owner, METRICS))["metrics"]["nodes"]
    assert node["ip"] == kept
