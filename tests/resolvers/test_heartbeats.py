"""Heartbeats: stored for good before the answer, once however often they are sent, seen by the channel's owner."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from resolvers.heartbeats import kept_address
from resolvers.viewer_tokens import ViewerTokens
from schema.base import parse_id
from tests.accounts import delete_user, kinds, metric, sql
from tests.client import Client, Registered, open_socket
from tests.conftest import SECRET_KEY, Running, StartServer
from tests.players import PUBLISH, Player, ago, beat, broadcast
from tests.waiting import eventually

READINGS = {
    "browserName": "Firefox",
    "browserVersion": "140.0",
    "os": "Linux",
    "isMobile": False,
    "timeZone": "Europe/Berlin",
    "availableResolution": "1920x1080",
    "currentResolution": "1280x720",
    "quality": "720p60",
    "codecs": "avc1.4D401F,mp4a.40.2",
    "bitrate": 2_500_000,
    "framerate": 59.94,
    "latencySeconds": 3.25,
    "bufferSeconds": 0,
}
METRICS = f"""
query Metrics($id: ID!, $after: String) {{
  channel(by: {{ id: $id }}) {{
    streams {{
      nodes {{
        id
        metrics(first: 2, after: $after) {{
          nodes {{ id sentAt createdAt ip userAgent stream {{ id }} {" ".join(READINGS)} }}
          pageInfo {{ hasNextPage endCursor }}
        }}
      }}
    }}
  }}
}}
"""


@pytest.fixture
async def owner(client: Client, running: Running) -> Registered:
    """A streamer who has been live for a minute."""
    owner = await client.register()
    await broadcast(running.runtime, owner.channel_id, ago(60))
    return owner


async def stored(running: Running, owner: Registered) -> list[Any]:
    statement = """
    SELECT metrics.* FROM metrics JOIN users ON users.id = metrics.user_id WHERE username = :name ORDER BY sent_at
    """
    return await sql(running.runtime, statement, name=owner.username)


async def shown(client: Client, owner: Registered, token: str | None, after: str | None = None) -> Any:
    data = await client.data(METRICS, {"id": owner.channel_id, "after": after}, token=token)
    (stream,) = data["channel"]["streams"]["nodes"]
    return stream["metrics"]


async def test_the_owner_sees_what_a_player_told(client: Client, owner: Registered, running: Running) -> None:
    stranger = await client.register()
    player = await Player.start(client, owner.channel_id)
    before = datetime.now(UTC)
    await player.beats(beat(**READINGS))
    (node,) = (await shown(client, owner, owner.token))["nodes"]
    assert {name: node[name] for name in READINGS} == READINGS
    assert node["ip"] == "127.0.0.0/24"
    assert node["userAgent"].startswith("python-httpx/")
    for name in ("sentAt", "createdAt"):
        assert before - timedelta(seconds=1) < datetime.fromisoformat(node[name]) <= datetime.now(UTC)
    assert await shown(client, owner, stranger.token) is None
    assert await shown(client, owner, None) is None
    for token, found in ((owner.token, {"id": node["id"]}), (stranger.token, None), (None, None)):
        data = await client.data("query($id: ID!) { node(id: $id) { id } }", {"id": node["id"]}, token=token)
        assert data["node"] == found


async def test_what_is_not_told_is_null(client: Client, owner: Registered) -> None:
    player = await Player.start(client, owner.channel_id)
    await player.beats(beat(quality=None, bitrate=None))
    (node,) = (await shown(client, owner, owner.token))["nodes"]
    assert {name: node[name] for name in READINGS} == dict.fromkeys(READINGS)


async def test_pages_are_newest_first(client: Client, owner: Registered) -> None:
    players = [await Player.start(client, owner.channel_id) for _ in range(5)]
    for number, player in enumerate(players):
        await player.beats(beat(bitrate=number))
    seen: list[int] = []
    after = None
    for _ in range(3):
        page = await shown(client, owner, owner.token, after)
        seen += [node["bitrate"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert seen == [4, 3, 2, 1, 0]


async def test_a_retry_counts_once(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    beats = [beat(), beat()]
    answers = [await player.send(*beats), await player.send(*beats), await player.send(beats[0])]
    answers += await asyncio.gather(*(player.send(*beats) for _ in range(20)))
    assert [answer["accepted"] for answer in answers] == [2, 2, 1, *[2] * 20]
    # Within one request too, and in another spelling.
    other = await Player.start(client, owner.channel_id)
    twin = beat()
    await other.beats(twin, {**twin, "id": twin["id"].upper()})
    # The same id of another player is another heartbeat.
    third = await Player.start(client, owner.channel_id)
    await third.beats(twin)
    assert len(await stored(running, owner)) == 4


async def test_two_processes_count_a_retry_once(
    client: Client, owner: Registered, running: Running, start_server: StartServer
) -> None:
    async with start_server(worker=False) as second:
        other = Client(second.url)
        for _ in range(10):
            player, same = await Player.start(client, owner.channel_id), beat()
            answers = await asyncio.gather(*(player.send(same, client=each) for each in (client, other) * 3))
            assert answers == [{"accepted": 1, "errors": []}] * 6
        await other.aclose()
    assert len(await stored(running, owner)) == 10


async def test_a_player_beats_at_its_interval(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    first = beat()
    await player.beats(first)
    refused = await player.send(first, beat())
    assert kinds(refused) == ["TooManyAttempts"]
    assert refused["accepted"] is None
    assert 22 <= refused["errors"][0]["retryAfterSeconds"] <= 24
    # Another player of the same person does not wait for this one.
    await (await Player.start(client, owner.channel_id)).beats(beat())
    statement = "UPDATE metrics SET created_at = created_at - interval '25 s', sent_at = sent_at - interval '25 s'"
    await sql(running.runtime, f"{statement} WHERE user_id = :id", id=parse_id(owner.id, argument="id")[1])
    await player.beats(beat())
    assert len(await stored(running, owner)) == 3


async def test_times_are_moved_into_viewing_and_stream(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    began = datetime.now(UTC)
    times = [ago(86_400), ago(-86_400), datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    odd = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
    await player.beats(*(beat(sentAt=each) for each in [*(time.isoformat() for time in times), *odd]))
    rows = await stored(running, owner)
    assert len(rows) == 6
    for row in rows:
        assert began - timedelta(seconds=1) <= row.sent_at <= row.created_at <= datetime.now(UTC)


async def test_heartbeats_belong_to_the_stream_of_their_time(client: Client, running: Running) -> None:
    owner = await client.register()
    player = await Player.start(client, owner.channel_id)
    assert kinds(await player.send(beat())) == ["NotLive"]
    await broadcast(running.runtime, owner.channel_id, ago(600), ago(300), name="st-a")
    assert kinds(await player.send(beat())) == ["NotLive"]
    await broadcast(running.runtime, owner.channel_id, ago(200), name="st-b")
    await player.beats(beat())
    late = await Player.start(client, owner.channel_id)
    await broadcast(running.runtime, owner.channel_id, ago(200), ago(0.01), name="st-b")
    await late.beats(beat(), beat())
    gone = await Player.start(client, owner.channel_id)
    await broadcast(running.runtime, owner.channel_id, ago(200), ago(-1), name="st-b")
    statement = "UPDATE streams SET stream_ended_at = now() - interval '121 s' WHERE ivs_stream_id = 'st-b'"
    await sql(running.runtime, statement)
    refused = await gone.send(beat(), beat())
    assert kinds(refused) == ["NotLive", "NotLive"]
    assert [error["path"] for error in refused["errors"]] == [["input", "heartbeats", str(index)] for index in (0, 1)]
    assert len(await stored(running, owner)) == 3


async def test_heartbeats_of_a_channel_that_is_gone_are_of_no_stream(client: Client, owner: Registered) -> None:
    player = await Player.start(client, owner.channel_id)
    await delete_user(client, owner.token)
    assert kinds(await player.send(beat())) == ["NotLive"]


BAD: list[tuple[str, Any, str]] = [
    ("bitrate", -1, "NumberInvalid"),
    ("bitrate", 1_000_000_001, "NumberInvalid"),
    ("framerate", 1000.5, "NumberInvalid"),
    ("latencySeconds", -0.1, "NumberInvalid"),
    ("bufferSeconds", 1e300, "NumberInvalid"),
    ("quality", "", "TextInvalid"),
    ("quality", "x" * 33, "TextInvalid"),
    ("browserName", "a\0b", "TextInvalid"),
    ("codecs", "x" * 101, "TextInvalid"),
]


async def test_all_faults_are_told_at_once(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    beats = [beat(), *(beat(**{name: value}) for name, value, _ in BAD)]
    refused = await player.send(*beats)
    expected = [(kind, ["input", "heartbeats", str(index), name]) for index, (name, _, kind) in enumerate(BAD, 1)]
    assert [(error["__typename"], error["path"]) for error in refused["errors"]] == expected
    assert refused["accepted"] is None
    wrong = Player(client, "x" + player.token, player.url)
    assert kinds(await wrong.send(*beats[:2])) == ["ViewerTokenInvalid", "NumberInvalid"]
    assert await stored(running, owner) == []
    # Nothing of it was counted against the player.
    await player.beats(beat())


@pytest.mark.parametrize(
    "beats",
    [
        [],
        [beat() for _ in range(21)],
        [{"id": "1"}],
        [beat(bitrate=2**31)],
        *([beat(sentAt=odd)] for odd in ("2026-01-01T00:00:00", "yesterday", 1, [], "", "2026-02-30T00:00:00Z")),
    ],
    ids=["none", "too many", "id", "not an Int", "no zone", "words", "number", "list", "empty", "no such day"],
)
async def test_what_no_player_sends_is_bad_input(client: Client, owner: Registered, beats: list[Any]) -> None:
    player = await Player.start(client, owner.channel_id)
    error = await client.error(PUBLISH, {"input": {"viewerToken": player.token, "heartbeats": beats}})
    assert error["extensions"] == {"code": "BAD_INPUT"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
async def test_what_is_no_number_is_refused(client: Client, owner: Registered, running: Running, number: str) -> None:
    player = await Player.start(client, owner.channel_id)
    body = (
        '{"query": "mutation($i: MetricsPublishInput!) { metricsPublish(input: $i) { accepted } }", "variables": '
        f'{{"i": {{"viewerToken": "{player.token}", '
        f'"heartbeats": [{{"id": "{uuid4()}", "latencySeconds": {number}}}]}}}}}}'
    )
    answer = await client.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert answer.json()["errors"][0]["extensions"] == {"code": "BAD_INPUT"}
    assert await stored(running, owner) == []


async def test_tokens_expire_and_are_bound_to_their_channel(
    client: Client, owner: Registered, running: Running
) -> None:
    other = await client.register()
    await broadcast(running.runtime, other.channel_id, ago(60))
    await (await Player.start(client, other.channel_id)).beats(beat())
    assert await stored(running, owner) == []
    past = ViewerTokens([SECRET_KEY], lifetime=-1)
    expired = past.sign(past.begin(parse_id(owner.channel_id, argument="id")[1]))
    for token in (expired, "", base64.urlsafe_b64encode(b"x" * 81).decode()):
        refused = await Player(client, token, "").send(beat())
        assert kinds(refused) == ["ViewerTokenInvalid"]
        assert refused["errors"][0]["path"] == ["input", "viewerToken"]
    assert await stored(running, owner) == []


async def test_heartbeats_come_by_websocket_too(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    async with open_socket(running.url, headers={"User-Agent": "player/1"}) as socket:
        variables = {"input": {"viewerToken": player.token, "heartbeats": [beat()]}}
        await socket.subscribe("1", PUBLISH, variables)
        assert (await socket.next("1"))["metricsPublish"] == {"accepted": 1, "errors": []}
    assert "player/1" in str((await stored(running, owner))[0].user_agent)


async def test_a_user_agent_is_cut_not_refused(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    variables = {"input": {"viewerToken": player.token, "heartbeats": [beat()]}}
    await client.post(PUBLISH, variables, **{"user-agent": "x" * 2000})
    ((agent,),) = [(row.user_agent,) for row in await stored(running, owner)]
    assert agent == "x" * 512


@pytest.mark.parametrize(
    ("address", "full", "truncated"),
    [
        ("203.0.113.77", "203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.77", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::1", "fe80::/48"),
        ("unknown", None, None),
    ],
)
def test_kept_address(address: str, full: str | None, truncated: str | None) -> None:
    assert [kept_address(address, how) for how in ("full", "truncated", "none")] == [full, truncated, None]


@pytest.fixture
async def narrow(start_server: StartServer) -> AsyncIterator[Running]:
    """A server in which little may wait."""
    async with start_server(worker=False, metrics_queue_rows=20, metrics_address="full") as running:
        yield running


async def test_answers_wait_for_the_commit_and_the_queue_is_bounded(
    client: Client, owner: Registered, running: Running, narrow: Running
) -> None:
    door = Client(narrow.url)
    players = [await Player.start(door, owner.channel_id) for _ in range(4)]
    overloaded = 'streamcat_heartbeats_total{outcome="overloaded"}'
    before = await metric(narrow.url, overloaded)
    async with running.runtime.services.sessions() as session, session.begin():
        # Readers pass, writers wait.
        await session.execute(text("LOCK TABLE metrics IN SHARE MODE"))
        waiting = [asyncio.create_task(player.send(*(beat() for _ in range(10)))) for player in players[:2]]

        async def full() -> bool:
            return await metric(narrow.url, "streamcat_heartbeats_waiting") == 20

        await eventually(full, "the queue is full")
        refused = await players[2].send(beat())
        assert kinds(refused) == ["Overloaded"]
        assert refused["errors"][0]["retryAfterSeconds"] == 2
        assert await metric(narrow.url, overloaded) == before + 1
        assert not any(task.done() for task in waiting)
        assert await stored(running, owner) == []
    assert await asyncio.gather(*waiting) == [{"accepted": 10, "errors": []}] * 2
    await players[2].beats(beat())
    rows = await stored(running, owner)
    assert len(rows) == 21
    assert {row.ip for row in rows} == {"127.0.0.1"}
    await door.aclose()


async def test_many_requests_share_a_commit(client: Client, owner: Registered, running: Running) -> None:
    players = [await Player.start(client, owner.channel_id) for _ in range(100)]
    before = await metric(running.url, "streamcat_heartbeat_commits_total")
    await asyncio.gather(*(player.beats(beat(), beat()) for player in players))
    commits = await metric(running.url, "streamcat_heartbeat_commits_total") - before
    assert 0 < commits < 50
    assert len(await stored(running, owner)) == 200


async def test_a_refused_request_does_not_concern_its_neighbours(
    client: Client, owner: Registered, running: Running
) -> None:
    idle = await client.register()
    players = [await Player.start(client, each.channel_id) for each in (owner, idle) * 10]
    answers = await asyncio.gather(*(player.send(beat()) for player in players))
    assert [kinds(answer) for answer in answers] == [[], ["NotLive"]] * 10
    assert len(await stored(running, owner)) == 10


async def test_a_missing_partition_is_made(client: Client, owner: Registered, running: Running) -> None:
    player = await Player.start(client, owner.channel_id)
    today = f"metrics_{datetime.now(UTC):%Y%m%d}"
    await sql(running.runtime, f"DROP TABLE {today}")
    await player.beats(beat())
    assert len(await stored(running, owner)) == 1
