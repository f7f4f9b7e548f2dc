"""Who asks the same is told by one run; who may see more than others never lends them that."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
import websockets
from sqlalchemy import update

import models
from server.runtime import Runtime
from tests.accounts import metric, sql
from tests.client import Client, Socket, open_socket
from tests.conftest import Running, StartServer
from tests.owners import UPDATE, Owner
from tests.subscriptions.hearing import caught_up
from tests.waiting import eventually

PUBLIC = """subscription Watch($id: ID!) {
  channelChanged(channelId: $id) { channel { title isLive owner { username } category { slug } } }
}"""
PRIVATE = "subscription Watch($id: ID!) {{ channelChanged(channelId: $id) {{ channel {{ title {} }} }} }}"
# What each viewer is shown of a field that is not the same for all.
OWN = {
    "viewerCanManage": {"owner": True, "fan": False, "stranger": False, "guest": False},
    "viewerIsFollowing": {"owner": False, "fan": True, "stranger": False, "guest": False},
    "broadcast { streamKey }": {"fan": None, "stranger": None, "guest": None},
    "chatRoom { bans(first: 1) { nodes { reason } } }": {
        "owner": {"bans": {"nodes": []}},
        "fan": {"bans": None},
        "stranger": {"bans": None},
        "guest": {"bans": None},
    },
}
COUNT = "subscription Count($id: ID!) { viewerCountChanged(channelId: $id) { viewerCount } }"
RUNS, MEMBERS, EVENTS = "streamcat_subscription_runs", "streamcat_subscriptions", "streamcat_subscription_events_total"


@pytest.fixture
async def owner(client: Client, running: Running) -> Owner:
    return await Owner.register(client, running.runtime)


async def figures(running: Running) -> list[float]:
    """Runs, clients' subscriptions, and results that were made, so far."""
    return [await metric(running.url, name) for name in (RUNS, MEMBERS, EVENTS)]


async def grown(running: Running, before: list[float], *expected: int) -> None:
    async def so() -> bool:
        return [now - then for now, then in zip(await figures(running), before, strict=True)] == list(expected)

    await eventually(so, f"runs, subscriptions and results grow by {expected}")


async def test_who_asks_the_same_shares_one_run(client: Client, running: Running, owner: Owner) -> None:
    stranger = await client.register()
    before = await figures(running)
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(open_socket(running.url, token))
            for token in (None, None, owner.user.token, stranger.token)
        ]
        for socket in sockets:
            for name in ("a", 'an id \\ with "signs" ü'):
                await socket.subscribe(name, PUBLIC, {"id": owner.id})
                await socket.next(name)
        await grown(running, before, 1, 8, 8)
        await owner.done(UPDATE, title="Nöw")
        for socket in sockets:
            messages = [await socket.receive(), await socket.receive()]
            assert sorted(message["id"] for message in messages) == ["a", 'an id \\ with "signs" ü']
            for message in messages:
                channel = message["payload"]["data"]["channelChanged"]["channel"]
                assert channel == {
                    "title": "Nöw",
                    "isLive": False,
                    "owner": {"username": owner.user.username},
                    "category": None,
                }
        # One look for the eight of them.
        await grown(running, before, 1, 8, 9)
    await grown(running, before, 0, 0, 9)


@pytest.mark.parametrize("other", ["document", "name", "variables"])
async def test_who_asks_something_else_does_not(client: Client, running: Running, owner: Owner, other: str) -> None:
    second = await Owner.register(client, running.runtime)
    before = await figures(running)
    both = PUBLIC + PUBLIC.replace("Watch", "See").replace("title", "name")
    questions = {
        "document": [(PUBLIC, None, owner.id), (PUBLIC.replace("title", "name"), None, owner.id)],
        "name": [(both, "Watch", owner.id), (both, "See", owner.id)],
        "variables": [(PUBLIC, None, owner.id), (PUBLIC, None, second.id)],
    }[other]
    async with open_socket(running.url) as socket:
        answers = []
        for number, (document, name, channel_id) in enumerate(questions):
            payload = {"query": document, "operationName": name, "variables": {"id": channel_id}}
            await socket.send({"type": "subscribe", "id": str(number), "payload": payload})
            answers.append(await socket.next(str(number)))
        assert answers[0] != answers[1]
        await grown(running, before, 2, 2, 2)


FOLLOW = "mutation Follow($input: ChannelFollowInput!) { channelFollow(input: $input) { errors { __typename } } }"


@pytest.mark.parametrize(
    "order", [["owner", "fan", "stranger", "guest"], ["guest", "stranger", "fan", "owner"]], ids=" ".join
)
@pytest.mark.parametrize("field", OWN)
async def test_nobody_sees_what_another_may(
    client: Client, running: Running, owner: Owner, field: str, order: list[str]
) -> None:
    fan, stranger = await client.register(), await client.register()
    await client.data(FOLLOW, {"input": {"channelId": owner.id}}, token=fan.token)
    tokens = {"owner": owner.user.token, "fan": fan.token, "stranger": stranger.token, "guest": None}
    document, name = PRIVATE.format(field), field.split(maxsplit=1)[0]
    expected = dict(OWN[field])

    async def shown(socket: Socket) -> tuple[str, Any]:
        channel = (await socket.next("1"))["channelChanged"]["channel"]
        return channel["title"], channel[name]

    before = await figures(running)
    async with AsyncExitStack() as stack:
        sockets = {}
        for who in order:
            sockets[who] = await stack.enter_async_context(open_socket(running.url, tokens[who]))
            await sockets[who].subscribe("1", document, {"id": owner.id})
            _, value = await shown(sockets[who])
            assert expected.setdefault(who, value) == value
        assert expected["owner"] != expected["guest"] or expected["fan"] != expected["guest"]
        # A viewer with two sockets of one session is the same viewer.
        again = await stack.enter_async_context(open_socket(running.url, owner.user.token))
        await again.subscribe("1", document, {"id": owner.id})
        assert (await shown(again))[1] == expected["owner"]
        await grown(running, before, 4, 5, 5)
        await owner.done(UPDATE, title="changed for all")
        for who, socket in [*sockets.items(), ("owner", again)]:
            assert await shown(socket) == ("changed for all", expected[who])


async def rename(runtime: Runtime, owner: Owner, title: str) -> None:
    """Change the channel, and tell nobody."""
    await sql(runtime, "UPDATE channels SET title = :title WHERE id = :id", title=title, id=owner.key)


def title(data: dict) -> str:  # type: ignore[type-arg]
    found: str = data["channelChanged"]["channel"]["title"]
    return found


async def test_who_joins_a_run_sees_the_present_of_that_moment(running: Running, owner: Owner) -> None:
    async with open_socket(running.url) as first, open_socket(running.url) as second:
        await first.subscribe("1", PUBLIC, {"id": owner.id})
        await first.next("1")
        for number in range(5):
            await rename(running.runtime, owner, f"title {number}")
            await second.subscribe(str(number), PUBLIC, {"id": owner.id})
            answers = {}
            while str(number) not in answers:
                message = await second.receive()
                answers[message["id"]] = title(message["payload"]["data"])
            assert set(answers.values()) == {f"title {number}"}
            assert title(await first.next("1")) == f"title {number}"


async def count(runtime: Runtime, owner: Owner, viewers: int) -> None:
    """Change the number of viewers as the job does that counts them."""
    async with runtime.services.publisher.transaction() as transaction:
        await transaction.session.execute(
            update(models.Channel).where(models.Channel.id == owner.key).values(viewer_count=viewers)
        )
        transaction.viewers_changed(owner.key)


async def test_who_joins_does_not_wait_for_the_others_rest(start_apart: StartServer) -> None:
    # On a database of its own, where nobody else counts.
    async with start_apart(worker=False) as running, AsyncExitStack() as stack:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        await owner.goes_live()
        first, *others = [await stack.enter_async_context(open_socket(running.url)) for _ in range(6)]
        began = time.monotonic()
        await first.subscribe("1", COUNT, {"id": owner.id})
        assert await first.next("1") == {"viewerCountChanged": {"viewerCount": 0}}
        for number, socket in enumerate(others, start=1):
            await count(running.runtime, owner, number)
            await socket.subscribe("1", COUNT, {"id": owner.id})
            assert await socket.next("1") == {"viewerCountChanged": {"viewerCount": number}}
        rest = 0
        newest = 0
        while newest < len(others):
            newest = (await first.next("1"))["viewerCountChanged"]["viewerCount"]
            rest += 1
            # However often others come, it is told once a second.
            assert time.monotonic() - began >= rest * 1.0
        for number, socket in enumerate(others, start=1):
            last = number
            while last < len(others):
                last = (await socket.next("1"))["viewerCountChanged"]["viewerCount"]
        await client.aclose()


async def test_the_end_of_what_is_watched_ends_it_for_all(client: Client, running: Running, owner: Owner) -> None:
    before = await figures(running)
    async with open_socket(running.url) as one, open_socket(running.url) as two:
        for socket in (one, two):
            await socket.subscribe("1", PUBLIC, {"id": owner.id})
            await socket.next("1")
        await sql(
            running.runtime, "DELETE FROM users WHERE id = (SELECT user_id FROM channels WHERE id = :id)", id=owner.key
        )
        async with running.runtime.services.publisher.transaction() as transaction:
            transaction.channel_changed(owner.key)
        for socket in (one, two):
            assert await socket.receive() == {"id": "1", "type": "complete"}
            await socket.subscribe("1", PUBLIC, {"id": owner.id})
            message = await socket.receive()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "BAD_INPUT")
        await grown(running, before, 0, 0, 2)


async def test_a_burst_ends_with_the_newest_state(running: Running, owner: Owner) -> None:
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_socket(running.url)) for _ in range(20)]
        for socket in sockets:
            await socket.subscribe("1", PUBLIC, {"id": owner.id})
            await socket.next("1")
        await asyncio.gather(*(owner.done(UPDATE, title=f"title {number}") for number in range(30)))
        await owner.done(UPDATE, title="the last")
        await caught_up(running.runtime.services)
        for socket in sockets:
            while title(await socket.next("1")) != "the last":
                pass


@pytest.mark.parametrize(
    ("setting", "limit", "status"), [("sockets", "sockets", 503), ("sockets_per_address", "sockets_per_address", 429)]
)
async def test_only_so_many_sockets_are_accepted(
    start_server: StartServer, setting: str, limit: str, status: int
) -> None:
    async with start_server(worker=False, **{setting: 2}) as running:
        reached = f'streamcat_limit_reached_total{{limit="{limit}"}}'
        before = await metric(running.url, reached)
        async with open_socket(running.url):
            async with open_socket(running.url):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    async with open_socket(running.url):
                        pass
                response = refused.value.response
                assert (response.status_code, response.headers["Retry-After"]) == (status, "5")
                (error,) = json.loads(response.body)["errors"]
                assert error["extensions"] == {"code": "TOO_COSTLY"}
                assert "2 websockets" in error["message"]
                assert await metric(running.url, reached) == before + 1

            async def admitted() -> bool:
                try:
                    async with open_socket(running.url):
                        return True
                except websockets.InvalidStatus:
                    return False

            await eventually(admitted, "the place is free again")


async def test_only_so_many_messages_are_accepted(start_server: StartServer) -> None:
    async with start_server(worker=False, socket_messages_per_second=5) as running:
        reached = 'streamcat_limit_reached_total{limit="socket_messages"}'
        before = await metric(running.url, reached)
        async with open_socket(running.url) as socket:
            for _ in range(20):
                await socket.send({"type": "ping"})
            assert await socket.closed() == (1008, "Too many messages: 5 per second are accepted")
        assert await metric(running.url, reached) == before + 1


async def test_a_query_on_a_socket_has_its_own_viewer(client: Client, running: Running, owner: Owner) -> None:
    async with open_socket(running.url, owner.user.token) as socket:
        await socket.subscribe("1", PUBLIC, {"id": owner.id})
        await socket.next("1")
        await socket.subscribe("2", "{ viewer { username } }")
        assert await socket.next("2") == {"viewer": {"username": owner.user.username}}
