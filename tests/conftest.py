"""The world of the tests: a real PostgreSQL, the emulated AWS over HTTP, and the server on a real socket.

One of each per test process. The server shares the tests' event loop, so that SQL can be counted, but is reached only
through its socket.
"""

import asyncio
import contextlib
import dataclasses
import functools
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import httpx
import pytest
from sqlalchemy.exc import DBAPIError

from ivs.client import AwsConfig, open_aws
from ivs.delivery import ensure_delivery, ensure_recording_configuration
from models import migrate
from server.embedded.child import Child
from server.embedded.postgres import EmbeddedPostgres
from server.runtime import Resolved, Runtime, open_runtime
from server.serving import Server
from server.settings import Settings
from server.web import Web
from tests import factories
from tests.client import Client
from tests.registration import fresh_database, make_template

ROOT = Path(__file__).parent.parent
SECRET_KEY = "tests-only-tests-only-tests-only-tests-only"

# Everything that costs time in production on purpose costs little here; what a test is about it sets itself.
SETTINGS: dict[str, Any] = {
    "password_memory_kib": 64,
    "password_passes": 1,
    "sign_in_burst": 1000,
    "sign_ins_per_hour_per_user": 100_000,
    "sign_ins_per_hour_per_address": 1_000_000,
    "registrations_per_hour_per_address": 1_000_000,
    "aws_calls_per_second": 100.0,
    "provision_wait_seconds": 10.0,
    "provision_interval_seconds": 0.3,
    "playback_starts_per_minute_per_address": 1_000_000,
    "viewer_count_interval_seconds": 0.3,
    "metrics_rollup_seconds": 2.0,
    "recordings_interval_seconds": 0.3,
    "recordings_first_pause_seconds": 0.05,
    # Most tests make streams, and people on stages, that no Amazon knows.
    "reconcile_seconds": 0.0,
    "reconcile_stages_seconds": 0.0,
    "reconcile_recordings_seconds": 0.0,
    "events_wait_seconds": 1,
    # A server that stops may have asked for events that it does not get any more; they come back after so long.
    "events_visibility_seconds": 5,
    "bus_heartbeat_seconds": 0.5,
    "socket_init_timeout_seconds": 1.0,
    "shutdown_seconds": 5.0,
}


# Who starts the tests in the background makes them ignore Ctrl-C, and so every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Every server opens clients of its own, and botocore would read the same megabytes of service models for each.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("database") / "postgres", {"fsync": "off"})
    server.url = server.start()  # type: ignore[attr-defined]
    yield server
    server.stop()


@pytest.fixture(scope="session")
async def database_url(postgres: EmbeddedPostgres) -> str:
    """A database built by the migrations from nothing."""
    url: str = postgres.url  # type: ignore[attr-defined]
    await migrate.upgrade(url)
    await make_template(url)
    return url


class Emulator:
    """The emulated AWS and its control door."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=30)

    async def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = await self._http.post(f"/_emulator/{path}", json=body or {})
        assert response.is_success, response.text
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    async def fault(self, operation: str, kind: str, **details: Any) -> None:
        await self.control("faults", {"operation": operation, "kind": kind, **details})

    async def lift_fault(self, fault: dict[str, Any]) -> None:
        assert (await self._http.delete(f"/_emulator/faults/{fault['id']}")).is_success

    async def lift_faults(self) -> None:
        assert (await self._http.delete("/_emulator/faults")).is_success

    async def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        query = {"operation": operation} if operation else {}
        answer = (await self._http.get("/_emulator/calls", params=query)).json()
        calls: list[dict[str, Any]] = answer["calls"]
        return calls

    async def aclose(self) -> None:
        await self._http.aclose()


@pytest.fixture(scope="session")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    child = Child("AWS emulator", [sys.executable, "-m", "ivs.emulator"], folder / "log", "emulator ready ", cwd=ROOT)
    url = await asyncio.to_thread(child.start)
    emulator = Emulator(url)
    yield emulator
    await emulator.aclose()
    await asyncio.to_thread(child.stop)


@pytest.fixture(scope="session")
async def resolved(database_url: str, emulator: Emulator) -> Resolved:
    """What a server of the tests is built on."""
    aws = AwsConfig("us-east-1", emulator.url, "emulator", "emulator", read_timeout=2.0)
    async with open_aws(aws) as clients:
        queue_url = await ensure_delivery(clients)
        recording = await ensure_recording_configuration(clients, "recordings")
    return Resolved(database_url, database_url, (SECRET_KEY,), aws, queue_url, recording, f"{emulator.url}/recordings")


@dataclass(frozen=True)
class Running:
    """A server on a socket of its own."""

    url: str
    runtime: Runtime
    server: Server


StartServer = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def start_server(resolved: Resolved) -> StartServer:
    """Return the way to start a server with other settings, or on other foundations (`resolved=`)."""

    @asynccontextmanager
    async def start(*, worker: bool = True, resolved: Resolved = resolved, **settings: Any) -> AsyncIterator[Running]:
        chosen = Settings(**{**SETTINGS, **settings})
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        ready = asyncio.Event()
        async with open_runtime(chosen, resolved) as runtime:
            if worker:
                runtime.worker.start()
            server = Server(Web(runtime), chosen, ready.set)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({serving, waiting}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert ready.is_set(), "the server did not start"
            try:
                yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", runtime, server)
            finally:
                server.should_exit = True
                await serving
        with contextlib.suppress(OSError):
            listener.close()

    return start


@pytest.fixture(scope="session")
def start_apart(start_server: StartServer, resolved: Resolved) -> StartServer:
    """Return the way to start a server on an empty database of its own, which no other server's jobs change."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Running]:
        async with fresh_database(resolved.database_url) as url:
            here = dataclasses.replace(resolved, database_url=url, bus_url=url)
            async with start_server(resolved=here, **settings) as running:
                yield running

    return start


@pytest.fixture(scope="session")
async def running(start_server: StartServer) -> AsyncIterator[Running]:
    """The server that most tests talk to."""
    async with start_server() as running:
        yield running


@pytest.fixture(scope="session")
def server_url(running: Running) -> str:
    return running.url


@pytest.fixture
async def client(server_url: str) -> AsyncIterator[Client]:
    """A guest."""
    client = Client(server_url)
    yield client
    await client.aclose()


async def _emptied(running: Running) -> bool:
    """Empty the database, unless a worker is still at what another test has left and locks in another order."""
    try:
        async with running.runtime.services.sessions() as session, session.begin():
            await factories.empty(session)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "40P01":
            raise
        return False
    return True


@pytest.fixture
async def clean(request: pytest.FixtureRequest, running: Running, emulator: Emulator) -> AsyncIterator[None]:
    """An empty database before the test, and no faults or recorded calls of another; ask for it where lists matter."""
    await emulator.lift_faults()
    await emulator.control("calls/clear")
    while not await _emptied(running):
        pass
    yield
    await emulator.lift_faults()
