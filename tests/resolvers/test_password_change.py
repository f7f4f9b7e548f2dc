import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.accounts import PASSWORD_CHANGE, VIEWER, change_password, kinds, sign_in, sql
from tests.client import PASSWORD, Client, Registered, open_socket
from tests.conftest import Running, StartServer

NEW = "another horse, another battery"
WRONG = {
    "__typename": "CredentialsInvalid",
    "message": "This is not your password.",
    "path": ["input", "currentPassword"],
}
SESSION_OVER = (4403, "Forbidden: the session is over")
STATE = """
SELECT password_hash, users.updated_at, array_agg(sessions.id ORDER BY sessions.id)
  FROM users JOIN sessions ON user_id = users.id WHERE username = :name GROUP BY users.id
"""


def invalid(message: str) -> dict[str, Any]:
    return {"__typename": "PasswordInvalid", "message": message, "path": ["input", "newPassword"]}


async def state(running: Running, user: Registered) -> list[Any]:
    return await sql(running.runtime, STATE, name=user.username)


async def test_the_new_password_takes_the_place_of_the_old(client: Client) -> None:
    user, other = await client.register(), await client.register()
    payload = await change_password(client, user.token, PASSWORD, NEW)
    assert payload == {"user": {"username": user.username}, "errors": []}
    assert kinds(await sign_in(client, user.username)) == ["CredentialsInvalid"]
    assert kinds(await sign_in(client, user.username, NEW)) == []
    assert kinds(await sign_in(client, other.username)) == []
    # And back again.
    assert kinds(await change_password(client, user.token, NEW, PASSWORD)) == []
    assert kinds(await sign_in(client, user.username)) == []


async def test_all_other_sessions_end_and_their_sockets_close(client: Client, start_server: StartServer) -> None:
    user, other = await client.register(), await client.register()
    second = (await sign_in(client, user.username))["token"]
    async with (
        start_server(worker=False) as elsewhere,
        open_socket(client.url, user.token) as mine,
        open_socket(client.url, second) as same_server,
        open_socket(elsewhere.url, headers={"cookie": f"streamcat_session={second}"}) as other_server,
        open_socket(client.url, other.token) as others,
    ):
        await mine.subscribe("1", PASSWORD_CHANGE, {"input": {"currentPassword": PASSWORD, "newPassword": NEW}})
        assert (await mine.next("1"))["passwordChange"]["errors"] == []
        assert await same_server.closed() == SESSION_OVER
        assert await other_server.closed() == SESSION_OVER
        for socket, name in ((mine, user.username), (others, other.username)):
            await socket.subscribe("2", VIEWER)
            while (message := await socket.receive())["id"] != "2":
                pass
            assert message["payload"]["data"] == {"viewer": {"username": name}}
    assert (await client.post(VIEWER, token=second)).status_code == 401
    assert await client.data(VIEWER, token=user.token) == {"viewer": {"username": user.username}}


@pytest.mark.parametrize(
    ("current", "new", "errors"),
    [
        ("not this one", NEW, [WRONG]),
        ("", NEW, [WRONG]),
        ("x" * 50_000, NEW, [WRONG]),
        (PASSWORD + "\0", NEW, [WRONG]),
        (PASSWORD, PASSWORD, [invalid("The new password must differ from the present one.")]),
        (PASSWORD, "abcdefg", [invalid("A password needs at least 8 characters.")]),
        (PASSWORD, "x" * 50_000, [invalid("A password may have at most 128 characters.")]),
        (
            "wrong",
            "wrong",
            [
                WRONG,
                invalid("A password needs at least 8 characters."),
                invalid("The new password must differ from the present one."),
            ],
        ),
    ],
    ids=["wrong", "empty", "long", "nul", "same", "short", "new is long", "all at once"],
)
async def test_what_is_refused_changes_nothing(
    client: Client, running: Running, current: str, new: str, errors: list[dict[str, Any]]
) -> None:
    user = await client.register()
    second = (await sign_in(client, user.username))["token"]
    before = await state(running, user)
    assert await change_password(client, user.token, current, new) == {"user": None, "errors": errors}
    assert await state(running, user) == before
    assert await client.data(VIEWER, token=second) == {"viewer": {"username": user.username}}


async def test_the_name_is_no_password(client: Client) -> None:
    user = await client.register()
    payload = await change_password(client, user.token, PASSWORD, user.username.upper())
    assert payload["errors"] == [invalid("The password must not be the user name.")]


async def test_guests_have_no_password(client: Client, running: Running) -> None:
    error = await client.error(PASSWORD_CHANGE, {"input": {"currentPassword": PASSWORD, "newPassword": NEW}})
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}


async def test_of_many_changes_at_once_one_counts(client: Client, running: Running) -> None:
    user = await client.register()
    tokens = [user.token] + [(await sign_in(client, user.username))["token"] for _ in range(5)]
    passwords = [f"{NEW} {number}" for number in range(len(tokens))]
    responses = await asyncio.gather(
        *(
            client.post(PASSWORD_CHANGE, {"input": {"currentPassword": PASSWORD, "newPassword": new}}, token=token)
            for token, new in zip(tokens, passwords, strict=True)
        )
    )
    # Whoever comes late has no session any more, or only a password that has gone.
    payloads = [one.json()["data"]["passwordChange"] if one.status_code == 200 else None for one in responses]
    (winner,) = [number for number, payload in enumerate(payloads) if payload and payload["errors"] == []]
    assert all(payload["errors"] == [WRONG] for payload in payloads if payload and payload["errors"])
    fits = [kinds(await sign_in(client, user.username, password)) == [] for password in passwords]
    assert fits == [number == winner for number in range(len(tokens))]
    alive = [(await client.post(VIEWER, token=token)).status_code == 200 for token in tokens]
    assert alive == [number == winner for number in range(len(tokens))]
    assert kinds(await sign_in(client, user.username)) == ["CredentialsInvalid"]


async def test_a_sign_in_with_the_old_password_does_not_survive_the_change(
    client: Client, running: Running, start_server: StartServer
) -> None:
    """The sign-in has verified the old password when it is changed; its dearer hash must not come back either."""
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
        assert kinds(await change_password(client, user.token, PASSWORD, NEW)) == []
        before = await state(running, user)
        go_on.set()
        assert kinds(await signing_in) == ["CredentialsInvalid"]
        assert await state(running, user) == before
        await late.aclose()


def assert_late(payload: dict[str, Any], start: datetime) -> None:
    (error,) = payload["errors"]
    elapsed = (datetime.now(UTC) - start).total_seconds()
    wait = error["retryAfterSeconds"]
    assert 60 - elapsed <= wait <= 60
    assert error == {
        "__typename": "TooManyAttempts",
        "message": f"Too many attempts with a password; try again in {wait} seconds.",
        "path": None,
        "retryAfterSeconds": wait,
    }


async def test_attempts_are_limited_per_user_and_forgiven(client: Client, start_server: StartServer) -> None:
    user, other = await client.register(), await client.register()
    limits: dict[str, Any] = {"worker": False, "sign_in_burst": 3, "sign_ins_per_hour_per_user": 60}
    async with start_server(**limits) as first, start_server(**limits) as second:
        clients = [Client(first.url), Client(second.url)]
        for _ in range(2):
            assert kinds(await change_password(clients[0], user.token, "wrong", NEW)) == ["CredentialsInvalid"]
        assert kinds(await change_password(clients[1], user.token, PASSWORD, NEW)) == []
        start = datetime.now(UTC)
        for each in (*clients, clients[0]):
            assert kinds(await change_password(each, user.token, "wrong", PASSWORD)) == ["CredentialsInvalid"]
        # The right password too: or guessing could go on. Signing in is another matter.
        assert_late(await change_password(clients[1], user.token, NEW, PASSWORD), start)
        assert kinds(await sign_in(clients[1], user.username, NEW)) == []
        assert kinds(await change_password(clients[0], other.token, PASSWORD, NEW)) == []
        for each in clients:
            await each.aclose()
