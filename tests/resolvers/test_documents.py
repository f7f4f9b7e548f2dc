"""What real clients ask, over a made-up world: each document is answered, by as many statements as ever, whatever
the number of rows."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from models import Recording, seeding, utcnow
from models.seeding import Person, World
from models.vault import Vault
from schema.base import global_id
from server.runtime import Runtime
from tests import factories
from tests.accounts import SIGN_IN
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.statements import captured

DOCUMENTS = Path(__file__).parent.parent / "documents"
PASSWORD: Final = "made up for tests"

# One statement per declared read, however many parents ask; `signed in` knows session and user in one more.
STATEMENTS: Final = {
    # channels; categories, owners, current streams; latest streams, their other categories; rooms, messages, senders.
    "home": 9,
    # category, its live channels counted; channels, their owners, current streams and followers; all categories.
    "category": 7,
    # channel; owner, streams; stage, room.
    "channel": 5,
    # recording; channel, its owner; streams, their category, messages, their senders; the newest recordings.
    "recording": 8,
    # stage; channel of its owner, who asks; participants, invitations, requests, and the users of each.
    "stage": 6,
    # channel, category, stream; events, metrics; of analytics what is marked, two to compute that, what is stored of
    # viewers and of presence; streams, recordings; room, messages, bans.
    "dashboard": 15,
    # channel, room, stage.
    "settings": 3,
}
SIGNED_IN: Final = {"category", "dashboard", "settings", "stage"}


@pytest.fixture(scope="module")
async def quiet(start_apart: StartServer) -> AsyncIterator[Running]:
    """A server that does nothing on its own."""
    async with start_apart(worker=False, bus_heartbeat_seconds=60.0) as running:
        yield running


@dataclass(frozen=True)
class Frontend:
    """A client of the world, who can be its most popular person who is live."""

    client: Client
    world: World
    me: Person
    token: str

    def variables(self, name: str) -> dict[str, Any]:
        """Return what the page asks for, which is of the most popular ones."""
        return {
            "home": {"first": 20},
            "category": {"slug": self.me.category, "first": 20},
            "channel": {"name": self.me.username.upper()},
            "recording": {"id": self.recording},
            "stage": {"name": self.me.username},
            "dashboard": {},
            "settings": {},
        }[name]

    @property
    def recording(self) -> str:
        """The recording of my last stream but one, which has its chat."""
        one = next(stream for stream in reversed(self.me.streams) if stream.recorded_as)
        return global_id(Recording(id=one.recorded_as))

    async def ask(self, name: str) -> dict[str, Any]:
        document = (DOCUMENTS / f"{name}.graphql").read_text()
        return await self.client.data(document, self.variables(name), token=self.token if name in SIGNED_IN else None)


async def populate(quiet: Running, count: int) -> Frontend:
    runtime: Runtime = quiet.runtime
    hashed = await runtime.services.passwords.hash(PASSWORD)
    async with runtime.services.sessions() as session, session.begin():
        await factories.empty(session)
        world = seeding.imagine(count, random_seed=1, now=utcnow())
        possessions = [seeding.invented(person) for person in world.people]
        vault = Vault(runtime.resolved.secret_keys)
        await seeding.write(session, world, possessions, password_hash=hashed, vault=vault)
    me = next(person for person in world.people if person.live)
    client = Client(quiet.url)
    signed_in = await client.data(SIGN_IN, {"input": {"username": me.username, "password": PASSWORD}})
    return Frontend(client, world, me, signed_in["sessionCreate"]["token"])


@pytest.fixture(scope="module")
async def pages(quiet: Running) -> dict[str, list[tuple[int, int]]]:
    """Per document, for a smaller and a larger world: statements, and characters of the answer."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in STATEMENTS}
    for count in (60, 400):
        frontend = await populate(quiet, count)
        for name in STATEMENTS:
            with captured(quiet.runtime) as statements:
                answer = await frontend.ask(name)
            found[name].append((len(statements), len(json.dumps(answer))))
        await frontend.client.aclose()
    return found


def test_every_document_is_counted() -> None:
    assert {file.stem for file in DOCUMENTS.glob("*.graphql")} == STATEMENTS.keys()


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_document_costs_as_many_statements_as_ever(pages: dict[str, list[tuple[int, int]]], name: str) -> None:
    expected = STATEMENTS[name] + (name in SIGNED_IN)
    assert [statements for statements, _ in pages[name]] == [expected, expected]
