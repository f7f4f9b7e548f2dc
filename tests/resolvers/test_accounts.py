import asyncio
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.accounts import fresh_address, kinds, people, sign_in, sql
from tests.client import PASSWORD, REGISTER, Client, unique
from tests.conftest import Running, StartServer

FORM = "A user name has 3 to 30 of the characters a-z, A-Z, 0-9, _ and -, and begins with a letter or digit."
SHORT = "A password needs at least 8 characters."
LONG = "A password may have at most 128 characters."
MONOTONOUS = "A password needs at least 5 different characters."
COMMON = "This password is among the first that anybody would guess; choose another."
RUNS = "A password must be more than runs of neighbours, as in 12345678 or qwer4321; choose another."
SAME = "The password must not be the user name."


def invalid_name() -> dict[str, Any]:
    return {"__typename": "UsernameInvalid", "message": FORM, "path": ["input", "username"]}


def taken(message: str) -> dict[str, Any]:
    return {"__typename": "UsernameTaken", "message": message, "path": ["input", "username"]}


def bad_password(message: str) -> dict[str, Any]:
    return {"__typename": "PasswordInvalid", "message": message, "path": ["input", "password"]}


async def register(client: Client, username: str, password: str = PASSWORD) -> dict[str, Any]:
    data = await client.data(REGISTER, {"input": {"username": username, "password": password}})
    payload: dict[str, Any] = data["userRegister"]
    return payload


async def refused(client: Client, running: Running, username: str, password: str = PASSWORD) -> list[dict[str, Any]]:
    """Return the errors of a registration that must leave nothing behind, no cookie either."""
    before = await people(running.runtime)
    response = await client.post(REGISTER, {"input": {"username": username, "password": password}})
    payload = response.json()["data"]["userRegister"]
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert [payload[name] for name in ("user", "token", "expiresAt")] == [None] * 3
    assert await people(running.runtime) == before
    errors: list[dict[str, Any]] = payload["errors"]
    return errors


async def test_registration_signs_in(client: Client) -> None:
    name = unique("Anna_B")
    payload = await register(client, name)
    user = payload["user"]
    assert payload["errors"] == []
    assert user["username"] == name
    assert [user[part]["provisioning"] for part in ("channel", "chatRoom", "stage")] == ["READY"] * 3
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", payload["token"])
    left = datetime.fromisoformat(payload["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=30, seconds=-60) < left <= timedelta(days=30)
    assert await client.data("{ viewer { id } }", token=payload["token"]) == {"viewer": {"id": user["id"]}}


@pytest.mark.parametrize("length", [3, 30])
async def test_names_of_the_least_and_the_greatest_length(client: Client, length: int) -> None:
    name = secrets.token_hex(15)[:length]
    assert (await register(client, name))["user"]["username"] == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 31,
        "a b c",
        "a.b.c",
        "émile",
        "\uff21\uff22\uff23",
        "\u0430bcd",
        "-abc",
        "_abc",
        "abcd\n",
        "ab\0cd",
        "a/b",
        "ab\U0001f600",
    ],
    ids=ascii,
)
async def test_names_that_are_refused(client: Client, running: Running, name: str) -> None:
    assert await refused(client, running, name) == [invalid_name()]


async def test_names_differ_by_more_than_case(client: Client, running: Running) -> None:
    name = unique("Bob")
    await client.register(name)
    for spelling in (name, name.upper(), name.swapcase()):
        assert await refused(client, running, spelling) == [
            taken(f"The name {spelling!r} is taken; upper and lower case make no difference.")
        ]


@pytest.mark.parametrize("name", ["admin", "GraphQL", "streamCAT"])
async def test_reserved_names(client: Client, running: Running, name: str) -> None:
    assert await refused(client, running, name) == [taken(f"The name {name!r} is reserved; choose another.")]


@pytest.mark.parametrize(
    ("password", "messages"),
    [
        ("", [SHORT, MONOTONOUS]),
        ("abcdefg", [SHORT]),
        ("aabbaabbaabb", [MONOTONOUS]),
        ("Password1", [COMMON]),
        ("streamcat-demo", [COMMON]),
        ("1234567890123", [RUNS]),
        ("abcdefgh1", [RUNS]),
        ("QwertyuiOP", [RUNS]),
        ("asdf98765", [RUNS]),
        ("0123456789" * 12 + "012345678", [LONG]),
        ("x" * 50_000, [LONG]),
        ("\0\0\0\0\0\0\0\0", [MONOTONOUS]),
    ],
    ids=lambda value: ascii(value)[:12] if isinstance(value, str) else "",
)
async def test_passwords_that_are_refused(client: Client, running: Running, password: str, messages: list[str]) -> None:
    errors = await refused(client, running, unique("weak"), password)
    assert errors == [bad_password(message) for message in messages]


async def test_password_must_not_be_the_name(client: Client, running: Running) -> None:
    name = unique("same")
    assert await refused(client, running, name, name.upper()) == [bad_password(SAME)]


@pytest.mark.parametrize(
    "password", ["abcde\0f-g", "a0b1c2d3" * 16, "abcd-4-xyz", "пароль-пароль", " a b c d "], ids=ascii
)
async def test_passwords_that_are_accepted_as_they_are(client: Client, password: str) -> None:
    user = await client.register(password=password)
    for wrong in (password[:-1], password + "x", password.strip()):
        if wrong != password:
            assert kinds(await sign_in(client, user.username, wrong)) == ["CredentialsInvalid"]
    assert kinds(await sign_in(client, user.username, password)) == []


async def test_all_faults_are_told_at_once(client: Client, running: Running) -> None:
    assert await refused(client, running, "a b", "aaa") == [
        invalid_name(),
        bad_password(SHORT),
        bad_password(MONOTONOUS),
    ]


async def test_of_many_at_once_exactly_one_gets_the_name(client: Client, running: Running) -> None:
    name = unique("race")
    before = await people(running.runtime)
    spellings = [name, name.upper()] * 4
    responses = await asyncio.gather(
        *(client.post(REGISTER, {"input": {"username": each, "password": PASSWORD}}) for each in spellings)
    )
    payloads = [response.json()["data"]["userRegister"] for response in responses]
    winners = [payload for payload in payloads if payload["user"] is not None]
    assert sorted(str(kinds(payload)) for payload in payloads) == ["['UsernameTaken']"] * 7 + ["[]"]
    assert ["set-cookie" in response.headers for response in responses].count(True) == 1
    assert await people(running.runtime) == [count + 1 for count in before]
    assert (await client.data("{ viewer { id } }", token=winners[0]["token"]))["viewer"]["id"] == winners[0]["user"][
        "id"
    ]


async def test_registrations_from_one_address_are_limited(start_server: StartServer) -> None:
    async with start_server(worker=False, registrations_per_hour_per_address=2) as limited:
        client, other = Client(limited.url, address=fresh_address()), Client(limited.url, address=fresh_address())
        name = unique("first")
        start = datetime.now(UTC)
        assert kinds(await register(client, name)) == []
        # What is refused for its form or for being taken is no attempt.
        assert kinds(await register(client, name)) == ["UsernameTaken"]
        assert kinds(await register(client, "x")) == ["UsernameInvalid"]
        assert kinds(await register(client, unique("second"))) == []
        (error,) = await refused(client, limited, unique("third"))
        elapsed = (datetime.now(UTC) - start).total_seconds()
        wait = error.pop("retryAfterSeconds")
        assert 1800 - elapsed <= wait <= 1800
        assert error == {
            "__typename": "TooManyAttempts",
            "message": f"Too many registrations from this address; try again in {wait} seconds.",
            "path": None,
        }
        assert kinds(await register(other, unique("elsewhere"))) == []
        await client.aclose()
        await other.aclose()


async def test_nothing_secret_is_stored_as_it_is(client: Client, running: Running) -> None:
    password = f"secret {secrets.token_hex(8)}"
    user = await client.register(password=password)
    broadcast = await client.data("{ viewer { channel { broadcast { streamKey } } } }", token=user.token)
    key = broadcast["viewer"]["channel"]["broadcast"]["streamKey"]
    tables = await sql(running.runtime, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 8
    for (table,) in tables:
        for secret in (user.token, password, key):
            # A row as text shows bytea in hexadecimal.
            statement = f'SELECT count(*) FROM "{table}" t WHERE strpos(t::text, :plain) + strpos(t::text, :hex) > 0'  # noqa: S608
            found = await sql(running.runtime, statement, plain=secret, hex=secret.encode().hex())
            assert found[0][0] == 0, table
    hashed = "SELECT count(*) FROM sessions WHERE token_hash = sha256(convert_to(:token, 'UTF8'))"
    assert (await sql(running.runtime, hashed, token=user.token))[0][0] == 1
