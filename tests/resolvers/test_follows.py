"""Following: once however often it is asked for, never one's own, counted, and seen by who follows."""

import asyncio
from typing import Any
from uuid import uuid4

from tests import factories
from tests.accounts import sql
from tests.client import Client
from tests.conftest import Running
from tests.owners import FOLLOW, UNFOLLOW, Owner, node_id

SEEN = """
query Seen($id: ID!) { channel(by: { id: $id }) { followerCount viewerIsFollowing } }
"""
FOLLOWED = """
query Followed($name: String!, $first: Int, $after: String, $last: Int, $before: String) {
  user(username: $name) {
    followedChannels(first: $first, after: $after, last: $last, before: $before) {
      nodes { name viewerIsFollowing }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""


def shown(count: int, *, mine: bool) -> dict[str, Any]:
    return {"followerCount": count, "viewerIsFollowing": mine, "isPartner": False}


async def test_following_and_unfollowing(client: Client, running: Running) -> None:
    owner, one, two = [await Owner.register(client, running.runtime) for _ in range(3)]
    for _ in range(2):
        assert await one.done(FOLLOW, channelId=owner.id) == shown(1, mine=True)
    ((since,),) = await sql(running.runtime, "SELECT created_at FROM follows WHERE channel_id = :key", key=owner.key)
    assert await two.done(FOLLOW, channelId=owner.id) == shown(2, mine=True)
    assert await one.done(FOLLOW, channelId=two.id) == shown(1, mine=True)
    for token, mine in ((None, False), (owner.user.token, False), (one.user.token, True), (two.user.token, True)):
        seen = (await client.data(SEEN, {"id": owner.id}, token=token))["channel"]
        assert seen == {"followerCount": 2, "viewerIsFollowing": mine}
    for _ in range(2):
        assert await two.done(UNFOLLOW, channelId=owner.id) == shown(1, mine=False)
    kept = await sql(running.runtime, "SELECT created_at FROM follows WHERE channel_id = :key", key=owner.key)
    assert [row[0] for row in kept] == [since]


async def test_nobody_follows_their_own_channel_or_none(client: Client, running: Running) -> None:
    owner = await Owner.register(client, running.runtime)
    unknown = node_id("Channel", uuid4())
    path = ["input", "channelId"]
    assert await owner.refused(FOLLOW) == [("OwnChannel", path)]
    assert await owner.refused(FOLLOW, channelId=unknown) == [("NotFound", path)]
    assert await owner.refused(UNFOLLOW, channelId=unknown) == [("NotFound", path)]
    assert await owner.done(UNFOLLOW) == shown(0, mine=False)
    for document in (FOLLOW, UNFOLLOW):
        error = await client.error(document, {"input": {"channelId": owner.user.id}}, token=owner.user.token)
        assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_many_at_once_are_counted_once_each(client: Client, running: Running) -> None:
    owner, *fans = [await Owner.register(client, running.runtime) for _ in range(6)]
    await asyncio.gather(*(fan.done(FOLLOW, channelId=owner.id) for fan in fans for _ in range(3)))
    assert (await client.data(SEEN, {"id": owner.id}))["channel"]["followerCount"] == 5
    await asyncio.gather(*(fan.done(UNFOLLOW, channelId=owner.id) for fan in fans for _ in range(3)))
    assert (await client.data(SEEN, {"id": owner.id}))["channel"]["followerCount"] == 0


async def test_followed_channels_are_live_first_then_newest(clean: None, client: Client, running: Running) -> None:
    fan = await Owner.register(client, running.runtime)
    async with running.runtime.services.sessions() as session, session.begin():
        # The later a channel's last stream began, the more streams it has had.
        for number, live in enumerate((0, 3, 0, 5, 1, 0)):
            channel = await factories.user(session, f"channel-{number}")
            await factories.streams(session, channel, live or 2, live=live > 0)
        await factories.user(session, "unfollowed")
    for row in await sql(running.runtime, "SELECT id FROM channels WHERE name LIKE 'channel-%' ORDER BY name"):
        await fan.done(FOLLOW, channelId=node_id("Channel", row[0]))
    expected = [f"channel-{number}" for number in (3, 1, 4, 5, 2, 0)]

    async def page(**part: Any) -> dict[str, Any]:
        found = await client.data(FOLLOWED, {"name": fan.user.username, **part}, token=fan.user.token)
        connection: dict[str, Any] = found["user"]["followedChannels"]
        assert all(one["viewerIsFollowing"] for one in connection["nodes"])
        return connection

    assert [one["name"] for one in (await page())["nodes"]] == expected
    for size in (1, 2, 4):
        forward: list[str] = []
        part: dict[str, Any] = {"first": size}
        while True:
            connection = await page(**part)
            forward += [one["name"] for one in connection["nodes"]]
            if not connection["pageInfo"]["hasNextPage"]:
                break
            part["after"] = connection["pageInfo"]["endCursor"]
        backward: list[str] = []
        part = {"last": size}
        while True:
            connection = await page(**part)
            backward = [one["name"] for one in connection["nodes"]] + backward
            if not connection["pageInfo"]["hasPreviousPage"]:
                break
            part["before"] = connection["pageInfo"]["startCursor"]
        assert forward == backward == expected
    guest = await client.data(FOLLOWED, {"name": fan.user.username})
    assert [one["viewerIsFollowing"] for one in guest["user"]["followedChannels"]["nodes"]] == [False] * 6
