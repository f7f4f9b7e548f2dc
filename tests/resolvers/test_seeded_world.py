"""A made-up world through the API: what is stored of its viewers is what the server computes of their heartbeats."""

from dataclasses import replace
from typing import Any

from models import seeding, utcnow
from models.seeding import Rhythm, World
from models.vault import Vault
from server.runtime import Resolved, Runtime
from subscriptions.rollups import Rollups, RollupsConfig
from subscriptions.viewers import Viewers, ViewersConfig
from tests.accounts import SIGN_IN, sql
from tests.client import Client, open_socket
from tests.conftest import StartServer
from tests.registration import fresh_database
from tests.waiting import eventually

PASSWORD = "made up for tests"
MINE = """
{
  viewer {
    channel {
      id
      viewerCount
      currentStream { viewerCount peakViewerCount metrics(first: 100) { nodes { id } } }
      streams(first: 40) { nodes { peakViewerCount analytics { peakViewers uniqueViewers watchTimeSeconds } } }
    }
  }
}
"""
WATCH = "subscription ($id: ID!) { liveStats(channelId: $id) { viewerCount peakViewerCount } }"


async def sown(runtime: Runtime) -> World:
    world = seeding.imagine(120, random_seed=5, now=utcnow())
    hashed = await runtime.services.passwords.hash(PASSWORD)
    possessions = [seeding.invented(person) for person in world.people]
    async with runtime.services.sessions() as session, session.begin():
        vault = Vault(runtime.resolved.secret_keys)
        await seeding.write(session, world, possessions, password_hash=hashed, rhythm=Rhythm(), vault=vault)
    return world


async def test_what_is_stored_is_what_is_computed(
    resolved: Resolved, database_url: str, start_server: StartServer
) -> None:
    async with (
        fresh_database(database_url) as url,
        start_server(resolved=replace(resolved, database_url=url, bus_url=url), worker=False) as running,
    ):
        runtime, client = running.runtime, Client(running.url)
        world = await sown(runtime)
        of_streams = """
        SELECT streams.id, count(metrics.id), count(DISTINCT viewing_id), streams.peak_viewer_count
          FROM streams JOIN channels ON channels.id = channel_id LEFT JOIN metrics ON metrics.stream_id = streams.id
         WHERE channels.name = :name GROUP BY streams.id ORDER BY started_at DESC
        """
        hosts = [person for person in world.people if person.live]
        assert len(hosts) == 10
        computed: dict[str, list[Any]] = {}
        for person in hosts:
            signed_in = await client.data(SIGN_IN, {"input": {"username": person.username, "password": PASSWORD}})
            token = signed_in["sessionCreate"]["token"]
            channel = (await client.data(MINE, token=token))["viewer"]["channel"]
            computed[token] = _over(channel)
            rows = await sql(runtime, of_streams, name=person.username)
            shown = [(one["peakViewerCount"], one["analytics"]["uniqueViewers"]) for one in channel["streams"]["nodes"]]
            assert shown == [(peak, viewings) for _, _, viewings, peak in rows]
            for one, (_, beats, _, peak) in zip(channel["streams"]["nodes"], rows, strict=True):
                # Of streams that are too old, the peak alone is left.
                assert one["analytics"]["peakViewers"] == (peak if beats else 0)
                assert (one["analytics"]["watchTimeSeconds"] > 0) == (peak > 0 and beats > 0)
            stream = channel["currentStream"]
            assert channel["viewerCount"] == stream["viewerCount"] <= stream["peakViewerCount"]
            assert len(stream["metrics"]["nodes"]) == min(100, rows[0][1])
        await _rolled_up(runtime, client, computed)
        await _counted_anew(runtime, client, channel["id"], token)
        await client.aclose()


async def _rolled_up(runtime: Runtime, client: Client, computed: dict[str, list[Any]]) -> None:
    """What is made up is rolled up as all else, and nothing that is over changes by that."""
    jobs = Rollups(runtime.services.sessions, RollupsConfig(runtime.services.playback.rhythm, retention_days=730))
    while await jobs.roll_up():
        pass
    assert any(one["watchTimeSeconds"] for of_channel in computed.values() for one in of_channel)
    for token, of_channel in computed.items():
        assert _over((await client.data(MINE, token=token))["viewer"]["channel"]) == of_channel
    old = "SELECT count(*) FROM metric_marks WHERE minute < now() - interval '5 minutes'"
    assert await sql(runtime, old) == [(0,)]


def _over(channel: dict[str, Any]) -> list[Any]:
    """Analytics of the channel's streams that are over."""
    return [one["analytics"] for one in channel["streams"]["nodes"][1:]]


async def _counted_anew(runtime: Runtime, client: Client, channel_id: str, token: str) -> None:
    """The job that counts finds those who were there a moment ago, as `liveStats` does."""
    rules = runtime.services.playback
    viewers = Viewers(runtime.services.publisher, ViewersConfig(rules.window, interval=0.05, retention_days=90))

    async def agrees() -> bool:
        # Between the two somebody's window may end.
        await viewers.count_viewers()
        async with open_socket(client.url, token) as socket:
            await socket.subscribe("1", WATCH, {"id": channel_id})
            stats: dict[str, Any] = (await socket.next("1"))["liveStats"]
        stream = (await client.data(MINE, token=token))["viewer"]["channel"]["currentStream"]
        return stats == {name: stream[name] for name in ("viewerCount", "peakViewerCount")}

    await eventually(agrees, "the count and the statistics agree")
