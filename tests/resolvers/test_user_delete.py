"""The end of an account, as its owner and everybody else see it. What becomes of it on Amazon: test_removal."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from models import Follow, uuid7
from schema.base import parse_id
from tests.accounts import USER_DELETE, VIEWER, delete_user, kinds, people, sign_in, sql
from tests.client import PASSWORD, Client, Registered, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.waiting import eventually

WRONG = {"__typename": "CredentialsInvalid", "message": "This is not your password.", "path": ["input", "password"]}
SESSION_OVER = (4403, "Forbidden: the session is over")
WATCH = "subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { name } } }"
EVERYWHERE = """
query Everywhere($name: String!, $ids: [ID!]!, $channel: ID!) {
  user(username: $name) { id }
  byName: channel(by: { name: $name }) { id }
  byId: channel(by: { id: $channel }) { id }
  nodes(ids: $ids) { id }
  channels(first: 100) { nodes { id } }
}
"""
TABLES = "SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id' AND table_schema = 'public'"
DELETIONS = ("DeleteStreamKey", "StopStream", "DeleteChannel", "DeleteRoom", "DeleteStage")


def key(user: Registered) -> Any:
    return parse_id(user.id, argument="id", expected="User")[1]


def left(user: Registered) -> dict[str, Any]:
    """What the mutation says of a user who has left."""
    return {"user": {"id": user.id, "username": user.username, "channel": None}, "errors": []}


async def removals_of(running: Running, user: Registered) -> list[tuple[str, str | None]]:
    """Kind and ARN of what is still to be deleted of the user, by kind."""
    noted = "SELECT kind, arn FROM removals WHERE resource_name LIKE '%' || :user ORDER BY kind"
    return [tuple(row) for row in await sql(running.runtime, noted, user=key(user).hex)]


async def test_nobody_finds_the_user_any_more(clean: None, client: Client, running: Running) -> None:
    user, other = await client.register(), await client.register()
    parts = [user.payload["user"][part]["id"] for part in ("channel", "chatRoom", "stage")]
    payload = await delete_user(client, user.token)
    assert payload == left(user)
    variables = {"name": user.username, "ids": [user.id, *parts], "channel": user.channel_id}
    for token in (None, other.token):
        assert await client.data(EVERYWHERE, variables, token=token) == {
            "user": None,
            "byName": None,
            "byId": None,
            "nodes": [None] * 4,
            "channels": {"nodes": [{"id": other.channel_id}]},
        }
    assert (await client.post(VIEWER, token=user.token)).status_code == 401
    assert kinds(await sign_in(client, user.username)) == ["CredentialsInvalid"]
    assert await people(running.runtime) == [1] * 5
    for (table,) in await sql(running.runtime, TABLES):
        rows = await sql(running.runtime, f"SELECT 1 FROM {table} WHERE user_id = :user", user=key(user))  # noqa: S608
        assert rows == [], table


async def test_the_name_is_free_at_once(client: Client) -> None:
    user = await client.register()
    assert kinds(await delete_user(client, user.token)) == []
    second = await client.register(user.username.upper())
    assert second.id != user.id
    assert await client.data(VIEWER, token=second.token) == {"viewer": {"username": user.username.upper()}}
    # Nobody comes in with what belonged to the first.
    assert (await client.post(VIEWER, token=user.token)).status_code == 401


async def test_all_sockets_close_and_watching_ends(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    second = (await sign_in(client, user.username))["token"]
    async with (
        start_server(worker=False) as elsewhere,
        open_socket(client.url, user.token) as mine,
        open_socket(elsewhere.url, headers={"cookie": f"streamcat_session={second}"}) as second_session,
        open_socket(client.url) as guest,
    ):
        await guest.subscribe("1", WATCH, {"id": user.channel_id})
        await guest.next("1")
        await mine.subscribe("1", USER_DELETE, {"input": {"password": PASSWORD}})
        assert await mine.next("1") == {"userDelete": left(user)}
        assert await mine.closed() == SESSION_OVER
        assert await second_session.closed() == SESSION_OVER
        assert await guest.receive() == {"id": "1", "type": "complete"}


async def test_the_browser_loses_its_cookie(server_url: str, client: Client) -> None:
    user = await client.register()
    browser = Client(server_url, browser=True)
    assert kinds(await sign_in(browser, user.username)) == []
    response = await browser.post(USER_DELETE, {"input": {"password": "wrong"}})
    assert "set-cookie" not in response.headers
    response = await browser.post(USER_DELETE, {"input": {"password": PASSWORD}})
    assert response.json()["data"]["userDelete"]["errors"] == []
    assert response.headers["set-cookie"].startswith("streamcat_session=; Path=/; Max-Age=0;")
    assert await browser.data(VIEWER) == {"viewer": None}
    await browser.aclose()


@pytest.mark.parametrize("password", ["not this one", "", "x" * 50_000, PASSWORD + "\0"], ids=lambda text: text[:5])
async def test_a_wrong_password_deletes_nothing(
    client: Client, running: Running, emulator: Emulator, password: str
) -> None:
    user = await client.register()
    before = await people(running.runtime)
    assert await delete_user(client, user.token, password) == {"user": None, "errors": [WRONG]}
    assert await people(running.runtime) == before
    assert await removals_of(running, user) == []
    arns = "SELECT arn FROM channels WHERE user_id = :user UNION ALL SELECT arn FROM chat_rooms WHERE user_id = :user"
    mine = {row[0] for row in await sql(running.runtime, arns, user=key(user))}
    # Removals of other tests may be under way.
    deleted = [call["params"] for operation in DELETIONS for call in await emulator.calls(operation)]
    assert [params for params in deleted if mine & set(params.values())] == []
    assert await client.data(VIEWER, token=user.token) == {"viewer": {"username": user.username}}


async def test_guests_have_nothing_to_delete(client: Client, running: Running) -> None:
    before = await people(running.runtime)
    error = await client.error(USER_DELETE, {"input": {"password": PASSWORD}})
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert await people(running.runtime) == before


async def test_attempts_are_limited_together_with_changes_of_the_password(
    client: Client, start_server: StartServer
) -> None:
    user = await client.register()
    async with start_server(worker=False, sign_in_burst=2, sign_ins_per_hour_per_user=60) as limited:
        guesser, start = Client(limited.url), datetime.now(UTC)
        for _ in range(2):
            assert kinds(await delete_user(guesser, user.token, "wrong")) == ["CredentialsInvalid"]
        (error,) = (await delete_user(guesser, user.token))["errors"]
        wait = error["retryAfterSeconds"]
        assert 60 - (datetime.now(UTC) - start).total_seconds() <= wait <= 60
        assert error == {
            "__typename": "TooManyAttempts",
            "message": f"Too many attempts with a password; try again in {wait} seconds.",
            "path": None,
            "retryAfterSeconds": wait,
        }
        await guesser.aclose()


async def test_only_one_of_many_deletions_deletes(client: Client, start_server: StartServer, running: Running) -> None:
    async with start_server(worker=False) as idle:
        user = await client.register()
        tokens = [user.token] + [(await sign_in(client, user.username))["token"] for _ in range(4)]
        one = Client(idle.url)
        responses = await asyncio.gather(
            *(one.post(USER_DELETE, {"input": {"password": PASSWORD}}, token=token) for token in tokens)
        )
        bodies = [response.json() for response in responses]
        deleted = [body for body in bodies if body.get("data") and body["data"]["userDelete"]]
        assert [body["data"]["userDelete"] for body in deleted] == [left(user)]
        codes = [body["errors"][0]["extensions"]["code"] for body in bodies if body not in deleted]
        assert codes == ["UNAUTHENTICATED"] * 4
        await one.aclose()


async def test_friends_who_leave_at_once_do_not_stand_in_each_others_way(client: Client, running: Running) -> None:
    """Each deletion counts down the others' followers, whose channels are being deleted themselves."""
    friends = [await client.register() for _ in range(6)]
    stayer = await client.register()
    channels = [parse_id(one.channel_id, argument="id")[1] for one in (*friends, stayer)]
    async with running.runtime.services.sessions() as session, session.begin():
        session.add_all(
            Follow(id=uuid7(), user_id=key(friend), channel_id=channel)
            for index, friend in enumerate(friends)
            for position, channel in enumerate(channels)
            if position != index
        )
    count = "SELECT follower_count FROM channels WHERE id = :id"
    assert await sql(running.runtime, count, id=channels[-1]) == [(6,)]
    payloads = await asyncio.gather(*(delete_user(client, friend.token) for friend in friends))
    assert [kinds(payload) for payload in payloads] == [[]] * 6
    assert await sql(running.runtime, count, id=channels[-1]) == [(0,)]


async def test_a_sign_in_during_the_deletion_is_refused(client: Client, start_server: StartServer) -> None:
    user = await client.register()
    async with start_server(worker=False, password_passes=2) as dearer:
        passwords = dearer.runtime.services.passwords
        verified, go_on = asyncio.Event(), asyncio.Event()
        real = passwords.hash

        async def held(password: str) -> str:
            verified.set()
            await go_on.wait()
            return await real(password)

        passwords.hash = held  # type: ignore[method-assign]
        late = Client(dearer.url)
        signing_in = asyncio.create_task(sign_in(late, user.username))
        await verified.wait()
        assert kinds(await delete_user(client, user.token)) == []
        go_on.set()
        assert kinds(await signing_in) == ["CredentialsInvalid"]
        await late.aclose()


async def test_what_amazon_holds_is_gone_soon(client: Client, running: Running) -> None:
    user = await client.register()
    assert kinds(await delete_user(client, user.token)) == []

    async def gone() -> bool:
        return not await removals_of(running, user)

    await eventually(gone, "nothing is left to be removed")
