"""What a registration leaves behind: in the answer, in the rows, and on the emulated account."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, make_url, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ivs.client import Aws, AwsConfig, open_aws
from models import Channel, ChatRoom, Stage, migrate
from models.engine import Sessions, create_engine, create_sessions
from schema.base import parse_id
from tests.client import PASSWORD, REGISTER, Client, unique
from tests.waiting import eventually

MODELS = {"channel": Channel, "chatRoom": ChatRoom, "stage": Stage}
LISTS: dict[str, tuple[Any, str, str]] = {
    "channel": ("ivs", "list_channels", "channels"),
    "chatRoom": ("ivschat", "list_rooms", "rooms"),
    "stage": ("ivs-realtime", "list_stages", "stages"),
}
READY = dict.fromkeys(MODELS, "READY")
STATES = "channel { provisioning } chatRoom { provisioning } stage { provisioning }"
VIEWER = f"{{ viewer {{ {STATES} }} }}"
SIGN_IN = """
mutation SignIn($input: SessionCreateInput!) { sessionCreate(input: $input) { user { id } errors { __typename } } }
"""
PROVISION = f"mutation {{ channelProvision {{ user {{ {STATES} }} }} }}"
BROADCAST = "{ viewer { channel { playbackUrl broadcast { arn type streamKey ingestUrl } } } }"


_TEMPLATE = "tests_template"


async def make_template(url: str) -> None:
    """Build what `fresh_database` copies: a copy takes a tenth of the migrations' time."""
    async with _maintenance(url) as connection:
        await connection.execute(text(f"CREATE DATABASE {_TEMPLATE}"))
    await migrate.upgrade(_beside(url, _TEMPLATE))


@asynccontextmanager
async def fresh_database(url: str) -> AsyncIterator[str]:
    """A migrated database of its own on the tests' PostgreSQL, dropped at the end."""
    name = f"tests_{uuid4().hex}"
    async with _maintenance(url) as connection:
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
        try:
            yield _beside(url, name)
        finally:
            await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@asynccontextmanager
async def _maintenance(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_engine(url, pool_size=1, statement_timeout_ms=60_000, name="tests", pooled=False)
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection
    await engine.dispose()


def _beside(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@asynccontextmanager
async def open_sessions(url: str) -> AsyncIterator[Sessions]:
    """Sessions that no server shares, to look at rows and to hold locks on them."""
    engine = create_engine(url, pool_size=10, statement_timeout_ms=60_000, name="tests")
    yield create_sessions(engine)
    await engine.dispose()


@dataclass(frozen=True)
class Person:
    """Somebody who has registered, whatever became of the resources."""

    username: str
    token: str
    id: UUID
    states: dict[str, str]
    payload: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Registry:
    """Registers people at a server and looks where their resources are."""

    client: Client
    sessions: Sessions
    aws: Aws

    async def register(self, username: str | None = None) -> Person:
        """Register somebody: the answer is without errors, the name is theirs and they can sign in."""
        username = username or unique("p")
        credentials = {"input": {"username": username, "password": PASSWORD}}
        payload = (await self.client.data(REGISTER, credentials))["userRegister"]
        assert payload["errors"] == [], payload
        again = (await self.client.data(SIGN_IN, credentials))["sessionCreate"]
        assert (again["errors"], again["user"]["id"]) == ([], payload["user"]["id"])
        _, key = parse_id(payload["user"]["id"], argument="id", expected="User")
        return Person(username, payload["token"], key, _states(payload["user"]), payload)

    async def states(self, person: Person) -> dict[str, str]:
        return _states((await self.client.data(VIEWER, token=person.token))["viewer"])

    async def provision(self, person: Person) -> dict[str, str]:
        return _states((await self.client.data(PROVISION, token=person.token))["channelProvision"]["user"])

    async def rows(self, user_id: UUID) -> dict[str, Any]:
        async with self.sessions() as session:
            return {
                part: (await session.execute(select(model).where(model.user_id == user_id))).scalar_one()
                for part, model in MODELS.items()
            }

    async def owned(self, user_id: UUID) -> dict[str, list[str]]:
        """ARNs of everything on the account that has the user's tag."""
        found: dict[str, list[str]] = {}
        for part, (service, operation, items) in LISTS.items():
            listed = [item async for item in self.aws.pages(service, operation, items)]
            found[part] = [item["arn"] for item in listed if item["tags"].get("streamcat:user") == str(user_id)]
        return found

    async def ready(self, person: Person, seconds: float = 20.0) -> None:
        """Wait until everything is READY, even if a worker means to come back to it."""

        async def done() -> bool:
            return await self.states(person) == READY

        await eventually(done, f"all of {person} READY", seconds)

    async def settled(self, person: Person, seconds: float = 20.0) -> None:
        """Wait until everything is READY and no worker means to come back to it."""

        open_ends = union_all(
            *(
                select(model.id).where(
                    model.user_id == person.id,
                    (model.provisioning != "READY") | model.provision_after.is_not(None),
                )
                for model in MODELS.values()
            )
        )

        async def done() -> bool:
            async with self.sessions() as session:
                return (await session.execute(open_ends)).first() is None

        await eventually(done, f"all of {person} READY and settled", seconds)

    async def leases_end(self) -> None:
        """Let the time pass after which a worker takes up what another one has in hand, or means to come back to."""
        async with self.sessions() as session, session.begin():
            for model in MODELS.values():
                due = update(model).where(model.provision_after.is_not(None)).values(provision_after=func.now())
                await session.execute(due)

    async def has_exactly_one_of_each(self, person: Person) -> None:
        """What the account holds for the person is one of each, the rows name these, and the owner can broadcast."""
        rows = await self.rows(person.id)
        assert await self.owned(person.id) == {part: [row.arn] for part, row in rows.items()}
        assert await self.states(person) == READY
        channel = (await self.aws.call("ivs", "get_channel", arn=rows["channel"].arn))["channel"]
        key = (await self.aws.call("ivs", "get_stream_key", arn=rows["channel"].stream_key_arn))["streamKey"]
        shown = (await self.client.data(BROADCAST, token=person.token))["viewer"]["channel"]
        assert key["channelArn"] == channel["arn"]
        assert shown == {
            "playbackUrl": channel["playbackUrl"],
            "broadcast": {
                "arn": channel["arn"],
                "type": channel["type"],
                "streamKey": key["value"],
                "ingestUrl": f"rtmps://{channel['ingestEndpoint']}:443/app/",
            },
        }


def _states(user: dict[str, Any]) -> dict[str, str]:
    return {part: user[part]["provisioning"] for part in MODELS}


@asynccontextmanager
async def open_registry(server_url: str, database_url: str, aws: AwsConfig) -> AsyncIterator[Registry]:
    """Look at a server, its database and its AWS from outside."""
    client = Client(server_url)
    async with open_sessions(database_url) as sessions, open_aws(aws) as clients:
        yield Registry(client, sessions, clients)
    await client.aclose()
