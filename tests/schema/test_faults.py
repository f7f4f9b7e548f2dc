import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import websockets
from sqlalchemy import make_url, text

from models.engine import create_engine
from server.runtime import Resolved
from tests.accounts import SIGN_IN, VIEWER, kinds, sign_in, sql
from tests.client import PASSWORD, REGISTER, Client, Registered, open_socket, unique
from tests.conftest import Running, StartServer
from tests.registration import fresh_database
from tests.relay import relayed
from tests.waiting import eventually

AWAY = "The database does not answer; try again in a moment."
CHANNELS = "{ channels(first: 1) { nodes { id } } }"
UNAVAILABLE = {"message": AWAY, "extensions": {"code": "UNAVAILABLE"}}
INSIDES = ("sql", "select", "insert", "update", "users", "sessions", "asyncpg", "traceback", ".py", "boom", "argon2")


def assert_masked(error: dict[str, Any], caplog: pytest.LogCaptureFixture, field: str, secrets: list[str]) -> None:
    """The answer says nothing but a reference, under which the log says all but values."""
    # Another server of these tests may have jobs that warn.
    (record,) = [record for record in caplog.records if record.name == "schema.faults"]
    assert record.levelno == logging.ERROR
    reference = error["message"].removeprefix("Internal error; tell the operators the reference ").removesuffix(".")
    assert len(reference) == 8
    assert error == {
        "message": f"Internal error; tell the operators the reference {reference}.",
        "locations": error["locations"],
        "path": [field],
        "extensions": {"code": "INTERNAL"},
    }
    assert [word for word in INSIDES if word in str(error).lower()] == []
    assert record.getMessage() == f"internal error {reference} at ['{field}']"
    assert "Traceback" in caplog.text
    assert "boom" in caplog.text
    assert [secret for secret in secrets if secret in caplog.text] == []


async def test_internal_faults_are_masked_and_logged_once(
    client: Client, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    name, password = unique("boom"), f"{PASSWORD} {unique('p')}"
    # A fault that neither the code nor its tests foresaw, with a message that must stay inside.
    fault = f"""CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.username = '{name}' THEN RAISE 'boom in users'; END IF; RETURN NEW; END $$"""
    await sql(running.runtime, fault)
    await sql(running.runtime, "CREATE TRIGGER boom BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION boom()")
    try:
        response = await client.post(REGISTER, {"input": {"username": name, "password": password}})
    finally:
        await sql(running.runtime, "DROP FUNCTION boom CASCADE")
    (error,) = response.json()["errors"]
    assert (response.status_code, response.json()["data"]) == (200, None)
    assert "set-cookie" not in response.headers
    assert_masked(error, caplog, "userRegister", [name, password, "$argon2id$"])
    assert (await client.register(name, password)).username == name


async def test_rows_that_postgresql_quotes_are_not_logged(
    client: Client, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    user = await client.register()
    async with start_server(worker=False, password_passes=3) as dearer:
        # PostgreSQL's message about a CHECK quotes the whole row, here with the new password hash.
        await sql(dearer.runtime, "ALTER TABLE users ADD CONSTRAINT boom CHECK (password_hash !~ 't=3') NOT VALID")
        today = Client(dearer.url)
        try:
            error = await today.error(SIGN_IN, {"input": {"username": user.username, "password": PASSWORD}})
        finally:
            await sql(dearer.runtime, "ALTER TABLE users DROP CONSTRAINT boom")
        assert_masked(error, caplog, "sessionCreate", [user.username, PASSWORD, "$argon2id$", "Failing row"])
        assert kinds(await sign_in(today, user.username)) == []
        await today.aclose()


@dataclass(frozen=True)
class Outage:
    """A server whose database can be taken away."""

    running: Running
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[Any]]


@pytest.fixture(params=["cut off", "no connection left"])
async def outage(
    request: pytest.FixtureRequest, start_server: StartServer, resolved: Resolved
) -> AsyncIterator[Outage]:
    cut_off = request.param == "cut off"
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(fresh_database(resolved.database_url))
        relay = await stack.enter_async_context(relayed(direct))
        url = relay.through(direct) if cut_off else direct
        changed = replace(resolved, database_url=url, bus_url=url)
        running = await stack.enter_async_context(start_server(worker=False, resolved=changed))

        async def limit(connections: int) -> None:
            name = make_url(direct).database
            async with elsewhere(resolved.database_url) as execute:
                await execute(f"ALTER DATABASE {name} CONNECTION LIMIT {connections}")
                others = f"FROM pg_stat_activity WHERE datname = '{name}'"
                await execute(f"SELECT pg_terminate_backend(pid) {others}")

        if cut_off:
            yield Outage(running, relay.cut, relay.mend)
        else:
            yield Outage(running, lambda: limit(0), lambda: limit(-1))


@asynccontextmanager
async def elsewhere(url: str) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    engine = create_engine(url, pool_size=1, statement_timeout_ms=60_000, name="tests", pooled=False)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        yield lambda statement: connection.execute(text(statement))
    await engine.dispose()


async def test_without_its_database_the_server_says_so_and_recovers(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    url = outage.running.url
    client = Client(url)
    user = await client.register()
    await outage.begin()

    error = await client.error(CHANNELS)
    assert error == {**UNAVAILABLE, "locations": [{"line": 1, "column": 3}], "path": ["channels"]}
    error = await client.error(SIGN_IN, {"input": {"username": user.username, "password": PASSWORD}})
    assert (error["message"], error["extensions"]) == (AWAY, {"code": "UNAVAILABLE"})
    await assert_nobody_is_known(client, user)
    # What needs no database is answered all the same.
    assert await client.data("{ __typename }") == {"__typename": "Query"}
    async with open_socket(url) as socket:
        await socket.subscribe("1", CHANNELS)
        message = await socket.receive()
        assert message["payload"]["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
    ready = await client.http.get("/readyz")
    assert (ready.status_code, ready.json()["database"].partition(":")[0]) == (503, "does not answer")
    assert "Traceback" not in caplog.text
    assert {record.levelname for record in caplog.records if record.name == "schema.faults"} == {"WARNING"}

    await outage.end()

    async def back() -> bool:
        return "errors" not in await client.execute(CHANNELS) and (await client.http.get("/readyz")).status_code == 200

    await eventually(back, "the server finds its database again")
    assert await client.data(VIEWER, token=user.token) == {"viewer": {"username": user.username}}
    async with open_socket(url, user.token) as socket:
        await socket.subscribe("1", VIEWER)
        assert await socket.next("1") == {"viewer": {"username": user.username}}
    await client.aclose()


async def assert_nobody_is_known(client: Client, user: Registered) -> None:
    """Who is asking cannot be found out, and that is not the client's fault: neither 401 nor a fatal close."""
    for headers in ({"authorization": f"Bearer {user.token}"}, {"cookie": f"streamcat_session={user.token}"}):
        response = await client.post(VIEWER, **headers)
        assert (response.status_code, response.json()) == (503, {"errors": [UNAVAILABLE]})
    async with open_socket(client.url, init=False) as socket:
        payload = {"authorization": f"Bearer {user.token}"}
        await socket.send({"type": "connection_init", "payload": payload})
        assert await socket.closed() == (1013, AWAY)
    with pytest.raises(websockets.ConnectionClosed):
        await socket.receive()
