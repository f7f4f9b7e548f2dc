"""Titles and categories: a channel's, its live stream's, and those that a stream had when it began."""

import asyncio
import json
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import sql
from tests.client import Client, open_socket
from tests.conftest import Running
from tests.owners import STREAM_UPDATE, UPDATE, Owner, node_id

WATCH = "subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { title category { slug } } } }"


@pytest.fixture
async def owner(client: Client, running: Running) -> Owner:
    return await Owner.register(client, running.runtime)


def named(title: str, slug: str | None = None) -> dict[str, Any]:
    return {"title": title, "category": slug and {"slug": slug}}


OFFLINE: dict[str, Any] = {"isLive": False, "currentStream": None}


async def test_an_owner_changes_title_and_category(owner: Owner) -> None:
    music = await owner.category("music")
    assert await owner.done(UPDATE, title="  Evening songs ") == named("Evening songs") | OFFLINE
    assert await owner.done(UPDATE, categoryId=music) == named("Evening songs", "music") | OFFLINE
    # Absent leaves, null takes away.
    assert await owner.done(UPDATE, title="Late songs") == named("Late songs", "music") | OFFLINE
    assert await owner.done(UPDATE) == named("Late songs", "music") | OFFLINE
    assert await owner.done(UPDATE, categoryId=None) == named("Late songs") | OFFLINE
    former = "SELECT title, category_id IS NULL FROM channel_titles WHERE channel_id = :key ORDER BY ended_at"
    assert [tuple(row) for row in await sql(owner.runtime, former, key=owner.key)] == [
        (f"{owner.user.username}'s channel", True),
        ("Evening songs", True),
        ("Evening songs", False),
        ("Late songs", False),
    ]


@pytest.mark.parametrize("title", ["x", "ü" * 140, "🐈" * 140, "a\nb", "%_\\ \"'"])
async def test_titles_of_every_acceptable_kind(owner: Owner, title: str) -> None:
    assert (await owner.done(UPDATE, title=title))["title"] == title


@pytest.mark.parametrize("title", ["", "   ", "x" * 141, "a\0b"])
async def test_titles_that_are_none(owner: Owner, title: str) -> None:
    await owner.goes_live()
    before = await owner.streams()
    unknown = node_id("Category", uuid4())
    for document, given in ((UPDATE, {}), (STREAM_UPDATE, {"streamId": before[0]["id"]})):
        wrong = await owner.refused(document, title=title, categoryId=unknown, **given)
        assert wrong == [("TextInvalid", ["input", "title"]), ("NotFound", ["input", "categoryId"])]
    assert await owner.streams() == before
    assert await sql(owner.runtime, "SELECT 1 FROM channel_titles WHERE channel_id = :key", key=owner.key) == []


async def test_half_a_character_is_no_title(owner: Owner) -> None:
    body = json.dumps({"query": UPDATE, "variables": {"input": {"channelId": owner.id, "title": "a\ud800b"}}})
    headers = {"authorization": f"Bearer {owner.user.token}", "content-type": "application/json"}
    response = await owner.client.http.post("/graphql", content=body, headers=headers)
    assert (response.status_code, response.json()["errors"][0]["extensions"]) == (400, {"code": "BAD_INPUT"})
    literal = f"""mutation {{
      channelUpdate(input: {{ channelId: "{owner.id}", title: "a\\ud800b" }}) {{ errors {{ __typename }} }}
    }}"""
    assert (await owner.client.error(literal, token=owner.user.token))["extensions"] == {"code": "BAD_INPUT"}


async def test_an_id_of_something_else_is_bad_input(owner: Owner) -> None:
    for document, given, name in (
        (UPDATE, {"channelId": owner.user.id}, "input.channelId"),
        (UPDATE, {"channelId": owner.id, "categoryId": owner.id}, "input.categoryId"),
        (STREAM_UPDATE, {"streamId": owner.id}, "input.streamId"),
    ):
        error = await owner.client.error(document, {"input": {"title": "t", **given}}, token=owner.user.token)
        assert error["extensions"] == {"code": "BAD_INPUT"}
        assert error["message"].startswith(f"`{name}` is the id of a ")
    error = await owner.client.error(UPDATE, {"input": {"channelId": owner.id, "title": None}}, token=owner.user.token)
    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_watchers_hear_of_a_change_and_of_nothing_else(owner: Owner, server_url: str) -> None:
    await owner.done(UPDATE, title="one")
    async with open_socket(server_url) as socket:
        await socket.subscribe("1", WATCH, {"id": owner.id})
        assert (await socket.next("1"))["channelChanged"]["channel"] == named("one")
        await owner.done(UPDATE, title="one")
        await owner.done(UPDATE, title="two", categoryId=await owner.category("art"))
        assert (await socket.next("1"))["channelChanged"]["channel"] == named("two", "art")


async def test_the_live_stream_takes_the_change_and_past_ones_do_not(owner: Owner) -> None:
    art = await owner.category("art")
    await owner.done(UPDATE, title="old")
    past = await owner.goes_live("past", ago=0)
    await owner.happens(owner.event("Stream End", await owner.now(), "past"))
    await owner.goes_live("live")
    shown = await owner.done(UPDATE, title="new", categoryId=art)
    assert shown == named("new", "art") | {"isLive": True, "currentStream": named("new", "art")}
    live, over = await owner.streams()
    assert (live["title"], over["title"], over["startedAt"]) == ("new", "old", past.isoformat())
    # An earlier start arrives, of a time when the title was another: the edit stays.
    await owner.goes_live("live", ago=3600)
    assert (await owner.streams())[-1] | {"startedAt": "", "id": ""} == named("new", "art") | {
        "startedAt": "",
        "id": "",
    }


async def test_a_stream_is_edited_live_and_afterwards(owner: Owner) -> None:
    music = await owner.category("music")
    await owner.done(UPDATE, title="channel's")
    await owner.goes_live()
    (stream,) = await owner.streams()
    assert await owner.done(STREAM_UPDATE, streamId=stream["id"], title="first") == named("first")
    await owner.happens(owner.event("Stream End", await owner.now()))
    assert await owner.done(STREAM_UPDATE, streamId=stream["id"], categoryId=music) == named("first", "music")
    assert await owner.done(STREAM_UPDATE, streamId=stream["id"], categoryId=None) == named("first")
    assert await owner.done(STREAM_UPDATE, streamId=stream["id"]) == named("first")
    assert await owner.done(UPDATE) == named("channel's") | OFFLINE
    # Neither the channel's next title nor an earlier start changes what the owner has chosen.
    await owner.done(UPDATE, title="later", categoryId=music)
    await owner.goes_live(ago=3600)
    assert [(one["title"], one["category"]) for one in await owner.streams()] == [("first", None)]


async def test_an_edit_of_one_thing_leaves_the_other_to_the_start(owner: Owner) -> None:
    art, music = await owner.category("art"), await owner.category("music")
    await owner.done(UPDATE, title="early", categoryId=art)
    started = await owner.now()
    await owner.done(UPDATE, title="late", categoryId=music)
    # The end is seen first, so the stream has the category of that moment until the start is known.
    await owner.happens(owner.event("Stream End", await owner.now()))
    ((key,),) = await sql(owner.runtime, "SELECT id FROM streams WHERE channel_id = :key", key=owner.key)
    stream_id = node_id("Stream", key)
    assert await owner.done(STREAM_UPDATE, streamId=stream_id, title="mine") == named("mine", "music")
    await owner.happens(owner.event("Stream Start", started))
    assert [(one["title"], one["category"]["slug"]) for one in await owner.streams()] == [("mine", "art")]


async def test_streams_have_the_names_of_their_start_in_whatever_order_events_come(owner: Owner) -> None:
    times = [await owner.now()]
    for given in ({"title": "A"}, {"title": "B", "categoryId": await owner.category("art")}, {"title": "C"}):
        await owner.done(UPDATE, **given)
        times.append(await owner.now())
    first, a, b, c = times
    orders = list(permutations(range(5)))
    for number, order in enumerate(orders):
        events = [
            owner.event("Stream Start", a, f"one-{number}"),
            owner.event("Stream End", b, f"one-{number}"),
            owner.event("Session Created", first, f"two-{number}"),
            owner.event("Stream Start", b, f"two-{number}"),
            owner.event("Stream End", c, f"two-{number}"),
        ]
        for index in order:
            await owner.happens(events[index])
    # Never started: what was seen first counts.
    await owner.happens(owner.event("Session Created", a, "not"), owner.event("Session Ended", b, "not"))
    found = await sql(
        owner.runtime,
        "SELECT split_part(ivs_stream_id, '-', 3), title, slug, count(*) FROM streams"
        " LEFT JOIN categories ON categories.id = category_id WHERE channel_id = :key GROUP BY 1, 2, 3 ORDER BY 1",
        key=owner.key,
    )
    total = len(orders)
    assert [tuple(row) for row in found] == [
        ("not", "A", None, 1),
        ("one", "A", None, total),
        ("two", "B", "art", total),
    ]


async def test_changes_at_once_have_a_history_in_their_order(owner: Owner) -> None:
    titles = [f"title {number}" for number in range(8)]
    await asyncio.gather(*(owner.done(UPDATE, title=title) for title in titles))
    former = "SELECT title FROM channel_titles WHERE channel_id = :key ORDER BY ended_at, id"
    history = [row[0] for row in await sql(owner.runtime, former, key=owner.key)]
    present = (await owner.done(UPDATE))["title"]
    assert history[0] == f"{owner.user.username}'s channel"
    assert sorted([*history[1:], present]) == titles


async def test_the_end_of_a_category_ends_no_title(owner: Owner) -> None:
    ((key,),) = await sql(
        owner.runtime,
        "INSERT INTO categories (id, slug, name, position) VALUES (gen_random_uuid(), 'brief', 'Brief', 999)"
        " RETURNING id",
    )
    await owner.done(UPDATE, title="in it", categoryId=node_id("Category", key))
    at = await owner.goes_live()
    await owner.done(UPDATE, title="still in it")
    await sql(owner.runtime, "DELETE FROM categories WHERE id = :key", key=key)
    await owner.happens(owner.event("Stream End", at), owner.event("Stream Start", at, "late"))
    assert [(one["title"], one["category"]) for one in await owner.streams()] == [
        ("in it", None),
        ("still in it", None),
    ]
