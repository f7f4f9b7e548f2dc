import asyncio
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.accounts import SIGN_IN, SIGN_OUT, VIEWER, fresh_address, kinds, sign_in, sql
from tests.client import PASSWORD, Client, unique
from tests.conftest import Running, StartServer

HASH = "SELECT password_hash, updated_at FROM users WHERE username = :name"
REFUSED = {"__typename": "CredentialsInvalid", "message": "No user has this name and password.", "path": None}
OVER = {
    "message": "The session is unknown or over: sign in again with sessionCreate.",
    "extensions": {"code": "UNAUTHENTICATED"},
}


async def test_sign_in_in_any_spelling_opens_another_session(client: Client) -> None:
    user = await client.register(unique("Carl"))
    payload = await sign_in(client, user.username.swapcase())
    assert payload["errors"] == []
    assert payload["user"] == {"id": user.id, "username": user.username}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", payload["token"])
    assert payload["token"] != user.token
    left = datetime.fromisoformat(payload["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=30, seconds=-60) < left <= timedelta(days=30)
    for token in (payload["token"], user.token):
        assert await client.data(VIEWER, token=token) == {"viewer": {"username": user.username}}


async def test_wrong_password_and_unknown_user_cannot_be_told_apart(client: Client) -> None:
    user = await client.register()
    attempts = [
        (user.username, "not this one"),
        (unique("nobody"), "not this one"),
        (unique("nobody"), PASSWORD),
        (user.username, PASSWORD + "\0"),
        (user.username, ""),
        (user.username, "x" * 50_000),
        (unique("nobody"), "x" * 50_000),
        ("a\0b", "not this one"),
        ("\U0001f600", PASSWORD),
        ("", ""),
        ("n" * 50_000, PASSWORD),
    ]
    answers = []
    for name, password in attempts:
        response = await client.post(SIGN_IN, {"input": {"username": name, "password": password}})
        headers = {key: value for key, value in response.headers.items() if key != "date"}
        answers.append((response.status_code, headers, response.json()))
    payload = {"token": None, "expiresAt": None, "user": None, "errors": [REFUSED]}
    assert answers[0][0] == 200
    assert answers[0][2] == {"data": {"sessionCreate": payload}}
    assert "set-cookie" not in answers[0][1]
    assert answers == [answers[0]] * len(attempts)


async def test_an_unknown_user_costs_a_hash_too(client: Client, running: Running) -> None:
    # Time is what would tell; what takes it is that the hash is computed.
    hasher = running.runtime.services.passwords
    computed: list[str] = []
    fits = hasher._fits
    hasher._fits = lambda known, password: computed.append(known) or fits(known, password)  # type: ignore[method-assign,func-returns-value]
    try:
        await sign_in(client, unique("nobody"))
    finally:
        del hasher._fits  # type: ignore[method-assign]
    assert len(computed) == 1


@pytest.mark.parametrize("end", ["expiry", "sign-out"])
async def test_after_its_end_a_bearer_is_refused_and_a_cookie_is_a_guests(
    client: Client, running: Running, end: str
) -> None:
    user = await client.register()
    other = (await sign_in(client, user.username))["token"]
    if end == "sign-out":
        assert await client.data(SIGN_OUT, token=user.token) == {"sessionDelete": {"user": {"username": user.username}}}
    else:
        past = (
            "UPDATE sessions SET created_at = now() - interval '2 s', expires_at = now() - interval '1 ms' "
            "WHERE token_hash = sha256(convert_to(:token, 'UTF8'))"
        )
        await sql(running.runtime, past, token=user.token)
    response = await client.post(VIEWER, token=user.token)
    assert (response.status_code, response.json()) == (401, {"errors": [OVER]})
    response = await client.post(VIEWER, cookie=f"streamcat_session={user.token}")
    assert (response.status_code, response.json()) == (200, {"data": {"viewer": None}})
    # A stale cookie must not keep its browser from signing in anew, nor a session from its user's others.
    assert kinds(await sign_in(client, user.username, cookie=f"streamcat_session={user.token}")) == []
    assert await client.data(VIEWER, token=other) == {"viewer": {"username": user.username}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Bearer wrong", OVER["message"]),
        ("Bearer " + "x" * 10_000, OVER["message"]),
        ("Bearer", "Authorization must be `Bearer <token>` with the token of sessionCreate."),
        ("Basic dXNlcjpwYXNz", "Authorization must be `Bearer <token>` with the token of sessionCreate."),
        ("wrong", "Authorization must be `Bearer <token>` with the token of sessionCreate."),
    ],
    ids=["unknown", "long", "empty", "basic", "bare"],
)
async def test_authorization_that_is_none(client: Client, value: str, message: str) -> None:
    response = await client.post(VIEWER, authorization=value)
    error = {"message": message, "extensions": {"code": "UNAUTHENTICATED"}}
    assert (response.status_code, response.json()) == (401, {"errors": [error]})


async def test_hashes_are_renewed_with_todays_costs(start_server: StartServer, client: Client) -> None:
    user = await client.register()
    async with start_server(worker=False, password_passes=2) as dearer:
        ((before, updated),) = await sql(dearer.runtime, HASH, name=user.username)
        today = Client(dearer.url)
        assert kinds(await sign_in(today, user.username, "not this one")) == ["CredentialsInvalid"]
        assert await sql(dearer.runtime, HASH, name=user.username) == [(before, updated)]
        assert kinds(await sign_in(today, user.username)) == []
        ((after, still),) = await sql(dearer.runtime, HASH, name=user.username)
        assert before.startswith("$argon2id$v=19$m=64,t=1,p=1$")
        assert after.startswith("$argon2id$v=19$m=64,t=2,p=1$")
        assert still == updated
        assert kinds(await sign_in(today, user.username)) == []
        assert await sql(dearer.runtime, HASH, name=user.username) == [(after, updated)]
        await today.aclose()


def assert_late(payload: dict[str, Any], cost: int, start: datetime) -> None:
    elapsed = (datetime.now(UTC) - start).total_seconds()
    (error,) = payload["errors"]
    wait = error["retryAfterSeconds"]
    assert cost - elapsed <= wait <= cost
    assert error == {
        "__typename": "TooManyAttempts",
        "message": f"Too many sign-in attempts; try again in {wait} seconds.",
        "path": None,
        "retryAfterSeconds": wait,
    }


async def test_attempts_per_user_are_limited_on_all_servers_together(start_server: StartServer, client: Client) -> None:
    name, other = (await client.register()).username, (await client.register()).username
    limits: dict[str, Any] = {"worker": False, "sign_in_burst": 3, "sign_ins_per_hour_per_user": 60}
    async with AsyncExitStack() as stack:
        first, second = [
            Client((await stack.enter_async_context(start_server(**limits))).url, address=fresh_address())
            for _ in range(2)
        ]
        stack.push_async_callback(first.aclose)
        stack.push_async_callback(second.aclose)
        start = datetime.now(UTC)
        for client_, spelling in ((first, name), (second, name.upper()), (first, name.title())):
            assert kinds(await sign_in(client_, spelling, "not this one")) == ["CredentialsInvalid"]
        # The right password too: or guessing could go on.
        for client_, spelling in ((first, name), (second, name.swapcase())):
            assert_late(await sign_in(client_, spelling), 60, start)
        # Refused attempts cost nothing: waiting is counted from the ones that were made.
        assert_late(await sign_in(first, name), 60, start)
        assert kinds(await sign_in(first, other)) == []


async def test_attempts_at_once_are_not_more_than_the_limit(start_server: StartServer, client: Client) -> None:
    name = (await client.register()).username
    async with start_server(worker=False, sign_in_burst=3, sign_ins_per_hour_per_user=60) as limited:
        guesser = Client(limited.url)
        payloads = await asyncio.gather(*(sign_in(guesser, name, f"guess {number}") for number in range(12)))
        await guesser.aclose()
    assert sorted(kinds(payload)[0] for payload in payloads) == ["CredentialsInvalid"] * 3 + ["TooManyAttempts"] * 9


async def test_unknown_names_are_limited_like_known_ones(start_server: StartServer) -> None:
    async with start_server(worker=False, sign_in_burst=1, sign_ins_per_hour_per_user=60) as limited:
        guesser, start = Client(limited.url), datetime.now(UTC)
        name = unique("nobody")
        assert kinds(await sign_in(guesser, name)) == ["CredentialsInvalid"]
        assert_late(await sign_in(guesser, name), 60, start)
        await guesser.aclose()


async def test_success_forgives_the_users_attempts(start_server: StartServer, client: Client) -> None:
    name = (await client.register()).username
    async with start_server(worker=False, sign_in_burst=3, sign_ins_per_hour_per_user=60) as limited:
        owner = Client(limited.url)
        for _ in range(2):
            for _ in range(2):
                assert kinds(await sign_in(owner, name, "not this one")) == ["CredentialsInvalid"]
            assert kinds(await sign_in(owner, name)) == []
        start = datetime.now(UTC)
        for _ in range(3):
            assert kinds(await sign_in(owner, name, "not this one")) == ["CredentialsInvalid"]
        assert_late(await sign_in(owner, name), 60, start)
        await owner.aclose()


async def test_attempts_per_address_are_limited(start_server: StartServer) -> None:
    async with start_server(worker=False, sign_ins_per_hour_per_address=3) as limited:
        here, there = Client(limited.url, address=fresh_address()), Client(limited.url, address=fresh_address())
        start = datetime.now(UTC)
        for _ in range(3):
            assert kinds(await sign_in(here, unique("nobody"))) == ["CredentialsInvalid"]
        # Not even when it says to come from elsewhere: nobody is trusted to say so.
        assert_late(await sign_in(here, unique("nobody")), 1200, start)
        assert_late(await sign_in(here, unique("nobody"), **{"x-forwarded-for": "203.0.113.5"}), 1200, start)
        assert kinds(await sign_in(there, unique("nobody"))) == ["CredentialsInvalid"]
        await here.aclose()
        await there.aclose()


async def test_addresses_are_those_that_trusted_proxies_tell(start_server: StartServer) -> None:
    proxy = fresh_address()
    limits: dict[str, Any] = {"worker": False, "sign_ins_per_hour_per_address": 1}
    async with start_server(trusted_proxies=(f"{proxy}/32",), **limits) as limited:
        trusted, stranger = Client(limited.url, address=proxy), Client(limited.url, address=fresh_address())
        start = datetime.now(UTC)

        async def attempt(client: Client, forwarded: str) -> dict[str, Any]:
            return await sign_in(client, unique("nobody"), **{"x-forwarded-for": forwarded})

        clients = [fresh_address().replace("127.", "10.", 1) for _ in range(3)]
        assert kinds(await attempt(trusted, clients[0])) == ["CredentialsInvalid"]
        assert kinds(await attempt(trusted, clients[1])) == ["CredentialsInvalid"]
        assert_late(await attempt(trusted, clients[0]), 3600, start)
        # Only the last entry was written by the proxy; whatever stands before it the client may have invented.
        assert_late(await attempt(trusted, f"{clients[2]}, {clients[0]}"), 3600, start)
        assert kinds(await attempt(trusted, f"{clients[0]}, {clients[2]}")) == ["CredentialsInvalid"]
        assert kinds(await attempt(stranger, clients[0])) == ["CredentialsInvalid"]
        assert_late(await attempt(stranger, "10.0.0.1"), 3600, start)
        await trusted.aclose()
        await stranger.aclose()
