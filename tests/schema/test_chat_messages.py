"""What was said, as rooms and streams show it: order, pages, replay, senders; and with how many statements."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from graphql import execute, parse
from sqlalchemy import select, text

from models import ChatMessage, ChatRoom, Stream, User, uuid7
from models.engine import Sessions
from resolvers.context import Context
from schema.base import global_id
from schema.build import core_schema
from schema.documents import GraphQLRequest
from schema.execution import Executor
from schema.limits import DocumentLimits
from tests import factories
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.statements import captured

MESSAGES = """
query($name: String!, $stream: ID, $first: Int, $after: String, $last: Int, $before: String) {
  user(username: $name) { chatRoom {
    messages(streamId: $stream, first: $first, after: $after, last: $last, before: $before) {
      nodes { content } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  } }
}
"""
REPLAY = """
query($name: String!, $offset: Int) {
  channel(by: { name: $name }) {
    streams { nodes { id chatMessages(fromOffsetMs: $offset) { nodes { content offsetMs } } } }
  }
}
"""
HALF = timedelta(seconds=30)


@pytest.fixture(scope="module")
async def quiet(start_apart: StartServer) -> AsyncIterator[Running]:
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


async def world(sessions: Sessions, *, users: int, streams: int, messages: int) -> None:
    """Streams of a minute every two minutes, live at last; a message every half minute."""
    async with sessions() as session, session.begin():
        for index in range(users):
            channel = await factories.user(session, f"user-{index}")
            await factories.streams(session, channel, streams, live=True)
            await factories.messages(session, channel, messages, each=HALF)


async def said(reader: Client, **variables: Any) -> tuple[list[str], dict[str, Any]]:
    page = (await reader.data(MESSAGES, {"name": "user-0", **variables}))["user"]["chatRoom"]["messages"]
    return [node["content"].removeprefix("message ") for node in page["nodes"]], page["pageInfo"]


async def test_a_log_reads_from_its_beginning_and_pages_both_ways(sessions: Sessions, reader: Client) -> None:
    await world(sessions, users=1, streams=2, messages=7)
    first, info = await said(reader, first=3)
    assert (first, info["hasNextPage"], info["hasPreviousPage"]) == (["0", "1", "2"], True, False)
    second, info = await said(reader, first=3, after=info["endCursor"])
    assert (second, info["hasNextPage"], info["hasPreviousPage"]) == (["3", "4", "5"], True, True)
    newest, info = await said(reader, last=3)
    assert (newest, info["hasNextPage"], info["hasPreviousPage"]) == (["4", "5", "6"], False, True)
    older, info = await said(reader, last=3, before=info["startCursor"])
    assert older == ["1", "2", "3"]


async def test_messages_of_one_moment_keep_their_order(sessions: Sessions, reader: Client) -> None:
    async with sessions() as session, session.begin():
        channel = await factories.user(session, "user-0")
        await factories.messages(session, channel, 9, each=timedelta())
    whole, _ = await said(reader)
    assert sorted(whole) == [str(number) for number in range(9)]
    paged: list[str] = []
    cursor = None
    while len(paged) < 9:
        part, info = await said(reader, first=2, after=cursor)
        paged, cursor = paged + part, info["endCursor"]
    assert paged == whole


async def test_a_stream_s_messages_are_those_sent_during_it(sessions: Sessions, reader: Client) -> None:
    await world(sessions, users=2, streams=2, messages=7)
    answer = await reader.data(REPLAY, {"name": "user-0", "offset": None})
    live, ended = answer["channel"]["streams"]["nodes"]
    assert ended["chatMessages"]["nodes"] == [
        {"content": "message 0", "offsetMs": 0},
        {"content": "message 1", "offsetMs": 30_000},
    ]
    assert live["chatMessages"]["nodes"] == [
        {"content": "message 4", "offsetMs": 0},
        {"content": "message 5", "offsetMs": 30_000},
        {"content": "message 6", "offsetMs": 60_000},
    ]
    assert (await said(reader, stream=live["id"]))[0] == ["4", "5", "6"]
    assert (await said(reader, stream=ended["id"], last=1))[0] == ["1"]
    # A stream of somebody else's channel.
    other = (await reader.data(REPLAY, {"name": "user-1"}))["channel"]["streams"]["nodes"][0]["id"]
    assert (await said(reader, stream=other))[0] == []


@pytest.mark.parametrize(
    ("offset", "live", "ended"),
    [(0, 3, 2), (1, 2, 1), (30_000, 2, 1), (30_001, 1, 0), (60_000, 1, 0), (2**31 - 1, 0, 0)],
)
async def test_replay_begins_anywhere(sessions: Sessions, reader: Client, offset: int, live: int, ended: int) -> None:
    await world(sessions, users=1, streams=2, messages=7)
    nodes = (await reader.data(REPLAY, {"name": "user-0", "offset": offset}))["channel"]["streams"]["nodes"]
    assert [len(node["chatMessages"]["nodes"]) for node in nodes] == [live, ended]


async def test_arguments_that_are_none_are_refused(sessions: Sessions, reader: Client) -> None:
    await world(sessions, users=1, streams=1, messages=1)
    error = await reader.error(REPLAY, {"name": "user-0", "offset": -1})
    assert error["message"] == "`fromOffsetMs` is -1; it must not be negative."
    error = await reader.error(MESSAGES, {"name": "user-0", "stream": "nonsense"})
    assert error["message"] == "`streamId` is not an id: pass the `id` of an object on unchanged."
    async with sessions() as session:
        room = (await session.execute(text("SELECT id FROM chat_rooms"))).scalar_one()
    error = await reader.error(MESSAGES, {"name": "user-0", "stream": global_id(ChatRoom(id=room))})
    assert error["message"] == "`streamId` is the id of a ChatRoom; the id of a Stream is needed."


async def test_senders_are_kept_by_name(sessions: Sessions, reader: Client) -> None:
    await world(sessions, users=2, streams=1, messages=1)
    async with sessions() as session, session.begin():
        people = {row.username: row.id for row in (await session.execute(text("SELECT id, username FROM users"))).all()}
        room = (
            await session.execute(text("SELECT id FROM chat_rooms WHERE user_id = :id"), {"id": people["user-0"]})
        ).scalar_one()
        row = {"chat_room_id": room, "content": "hi"}
        at = factories.EPOCH - timedelta(seconds=5)
        one = ChatMessage(id=uuid7(), ivs_message_id="a", sender_name="Guest 7", is_guest=True, sent_at=at, **row)
        gone = User(id=uuid7(), username="gone", password_hash="not a hash")
        session.add_all([one, gone])
        await session.flush()
        two = {"user_id": gone.id, "sender_name": "gone", "sent_at": at + HALF / 60}
        session.add(ChatMessage(id=uuid7(), ivs_message_id="b", **two, **row))
        await session.flush()
        await session.execute(text("DELETE FROM users WHERE username = 'gone'"))
        await session.execute(text("UPDATE users SET username = 'renamed' WHERE username = 'user-0'"))
    query = """
    { user(username: "renamed") { id chatRoom { id messages { nodes {
      id ivsMessageId senderName isGuest sentAt offsetMs sentBy { username } stream { state } chatRoom { id }
    } } } } }
    """
    room_shown = (await reader.data(query))["user"]["chatRoom"]
    nodes = room_shown["messages"]["nodes"]
    senders = [(node["ivsMessageId"], node["senderName"], node["isGuest"], node["sentBy"]) for node in nodes]
    assert senders == [
        ("a", "Guest 7", True, None),
        ("b", "gone", False, None),
        ("000000000000", "user-0", False, {"username": "renamed"}),
    ]
    assert [(node["stream"], node["offsetMs"]) for node in nodes] == [
        (None, None), (None, None), ({"state": "LIVE"}, 0),
    ]  # fmt: skip
    assert {node["chatRoom"]["id"] for node in nodes} == {room_shown["id"]}
    again = "query($id: ID!) { node(id: $id) { __typename ... on ChatMessage { content sentAt } } }"
    assert await reader.data(again, {"id": nodes[0]["id"]}) == {
        "node": {"__typename": "ChatMessage", "content": "hi", "sentAt": "2025-12-31T23:59:55+00:00"}
    }


ROOMS = """
query($stream: ID) { channels { nodes { chatRoom {
  newest: messages(last: 2) { nodes { content offsetMs sentBy { username } } }
  ofStream: messages(streamId: $stream, last: 2) { nodes { content } }
  again: messages(last: 2, streamId: $stream) { nodes { id } }
} } } }
"""
STREAMS = """
{ channels { nodes { streams { nodes {
  chatMessages(last: 2) { nodes { content offsetMs } }
  later: chatMessages(fromOffsetMs: 10, first: 2) { nodes { offsetMs } }
  again: chatMessages(first: 2, fromOffsetMs: 10) { nodes { content } }
} } } } }
"""
# channels, chatRoom, newest, ofStream, senders, the messages' streams; what is asked for again is known already.
# channels, streams, chatMessages, later; the messages' streams are known already.
COUNTS = [(ROOMS, 6), (STREAMS, 4)]


async def oldest_stream(sessions: Sessions) -> str:
    async with sessions() as session:
        return global_id((await session.execute(select(Stream).order_by(Stream.started_at).limit(1))).scalar_one())


@pytest.mark.parametrize(("document", "count"), COUNTS)
@pytest.mark.parametrize("shape", [(1, 1, 2), (12, 3, 9)])
async def test_one_statement_per_list_and_arguments(
    quiet: Running, sessions: Sessions, reader: Client, document: str, count: int, shape: tuple[int, int, int]
) -> None:
    users, streams, messages = shape
    await world(sessions, users=users, streams=streams, messages=messages)
    variables = {"stream": await oldest_stream(sessions)}
    with captured(quiet.runtime) as statements:
        await reader.data(document, variables)
    assert len(statements) == count, "\n\n".join(statements)


@pytest.mark.parametrize(("document", "count"), COUNTS)
async def test_plans_answer_as_graphql_core_does(quiet: Running, sessions: Sessions, document: str, count: int) -> None:
    await world(sessions, users=3, streams=3, messages=9)
    variables = {"stream": await oldest_stream(sessions)}
    executor = Executor(core_schema, DocumentLimits(), cache_characters=0)
    ctx = Context(quiet.runtime.services, None, "127.0.0.1")
    planned = await executor.run(executor.prepare(document), GraphQLRequest(document, None, variables), ctx)
    with captured(quiet.runtime) as statements:
        ctx = Context(quiet.runtime.services, None, "127.0.0.1")
        general: Any = execute(core_schema, parse(document), context_value=ctx, variable_values=variables)
        assert planned == {"data": (await general).data}
    assert "message" in str(planned)
    # The slow way is batched as well.
    assert len(statements) == count, "\n\n".join(statements)


async def test_replay_enters_the_index_at_the_moment(quiet: Running, sessions: Sessions, reader: Client) -> None:
    await world(sessions, users=1, streams=1, messages=1)
    with captured(quiet.runtime) as statements:
        await reader.data(REPLAY, {"name": "user-0", "offset": 5000})
    (replay,) = [statement for statement in statements if "chat_messages" in statement]
    async with sessions() as session, session.begin():
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_bitmapscan = off"))
        connection = await session.connection()
        types = ("uuid[]", "interval", "bigint")
        await connection.exec_driver_sql(f"PREPARE replay ({', '.join(types)}) AS {replay}")
        plan = "\n".join(
            row[0]
            for row in await connection.exec_driver_sql(
                "EXPLAIN EXECUTE replay ('{00000000-0000-7000-8000-000000000000}', '5 s', 20)"
            )
        )
        await connection.exec_driver_sql("DEALLOCATE replay")
    (condition,) = [line for line in plan.splitlines() if "Index Cond" in line and "sent_at" in line]
    assert "stream_id = " in condition
    assert "sent_at >= " in condition
