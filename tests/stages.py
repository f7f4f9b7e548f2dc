"""What tests about stages do again and again: people with stages, and what they ask of each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from schema.base import parse_id
from server.runtime import Runtime
from subscriptions import topics
from tests.accounts import kinds, sql
from tests.client import Client, Registered
from tests.conftest import Emulator, Running
from tests.subscriptions.hearing import Ear
from tests.waiting import eventually

ERRORS = "errors { __typename ... on UserError { message path } }"
LIMITED = "errors { __typename ... on UserError { message path } ... on TooManyAttempts { retryAfterSeconds } }"
INVITATION = "{ id participantId token capabilities expiresAt isExpired user { username } stage { id } }"
TOKEN = f"""
mutation Token($input: StageTokenCreateInput!) {{
  stageTokenCreate(input: $input) {{ token participantId capabilities expiresAt stage {{ id }} {LIMITED} }}
}}
"""
INVITE = f"""
mutation Invite($input: StageInviteInput!) {{
  stageInvite(input: $input) {{ invitation {INVITATION} {ERRORS} }}
}}
"""
DECLINE = f"""
mutation Decline($input: StageInvitationDeclineInput!) {{
  stageInvitationDecline(input: $input) {{ stage {{ id }} {ERRORS} }}
}}
"""
ASK = f"""
mutation Ask($input: StageJoinRequestInput!) {{
  stageJoinRequest(input: $input) {{ request {{ id state user {{ username }} stage {{ id }} }} {ERRORS} }}
}}
"""
ACCEPT = f"""
mutation Accept($input: StageJoinRequestAcceptInput!) {{
  stageJoinRequestAccept(input: $input) {{ request {{ id state }} invitation {INVITATION} {ERRORS} }}
}}
"""
REFUSE = f"""
mutation Refuse($input: StageJoinRequestRefuseInput!) {{
  stageJoinRequestRefuse(input: $input) {{ request {{ id state }} {ERRORS} }}
}}
"""
DISCONNECT = f"""
mutation Disconnect($input: StageParticipantDisconnectInput!) {{
  stageParticipantDisconnect(input: $input) {{ stage {{ id }} {ERRORS} }}
}}
"""
ON_STAGE = """
query OnStage($id: ID!) {
  stage(by: {id: $id}) { isLive participants { participantId publishedAt user { username } } }
}
"""


@dataclass(frozen=True)
class Person:
    """A user with a stage, who speaks to the server."""

    client: Client
    user: Registered
    stage_id: str
    arn: str

    @property
    def name(self) -> str:
        return self.user.username

    @property
    def key(self) -> UUID:
        return parse_id(self.user.id, argument="id")[1]

    async def does(self, document: str, **given: Any) -> dict[str, Any]:
        """Run a mutation; return its payload."""
        (payload,) = (await self.client.data(document, {"input": given}, token=self.user.token)).values()
        found: dict[str, Any] = payload
        return found

    async def fails(self, document: str, **given: Any) -> str:
        """Run a mutation that must be refused as a whole; return the code."""
        error = await self.client.error(document, {"input": given}, token=self.user.token)
        return str(error["extensions"]["code"])

    async def asks_in_vain(self, document: str, **given: Any) -> list[str]:
        """Run a mutation that must be refused; return types of its errors, or the code if it is refused as a whole."""
        return await in_vain(self.client, document, given, token=self.user.token)

    async def invites(self, other: "Person") -> dict[str, Any]:
        payload = await self.does(INVITE, stageId=self.stage_id, user={"username": other.name})
        assert payload["errors"] == [], payload
        invitation: dict[str, Any] = payload["invitation"]
        return invitation

    async def asks(self, other: "Person") -> dict[str, Any]:
        payload = await self.does(ASK, stageId=other.stage_id)
        assert payload["errors"] == [], payload
        request: dict[str, Any] = payload["request"]
        return request


async def person(client: Client, runtime: Runtime) -> Person:
    """Register somebody whose stage is READY."""
    user = await client.register()
    async with runtime.services.sessions() as session:
        found = text("SELECT arn FROM stages WHERE name = :name")
        arn = (await session.execute(found, {"name": user.username})).scalar_one()
    return Person(client, user, user.payload["user"]["stage"]["id"], arn)


async def shown(client: Client, stage_id: str) -> dict[str, Any]:
    """Who is on stage, as everybody sees it."""
    stage: dict[str, Any] = (await client.data(ON_STAGE, {"id": stage_id}))["stage"]
    return stage


async def names(client: Client, stage_id: str) -> list[str | None]:
    """The users on stage."""
    on_stage = (await shown(client, stage_id))["participants"]
    return [one["user"]["username"] if one["user"] else None for one in on_stage]


async def joins(emulator: Emulator, at: Person, token: str, *, publish: bool = True) -> dict[str, Any]:
    """Play a client that joins a stage with a token."""
    return await emulator.control("stages/participants", {"stageArn": at.arn, "token": token, "publish": publish})


async def arrives(client: Client, stage_id: str, expected: list[str | None]) -> None:
    """Wait until just these are on stage, in the order of their coming."""

    async def there() -> bool:
        return await names(client, stage_id) == expected

    await eventually(there, f"{expected} on stage")


async def sends(emulator: Emulator, operation: str) -> list[dict[str, Any]]:
    """What was asked of Amazon in the calls of this operation."""
    return [call["params"] for call in await emulator.calls(operation)]


async def in_vain(client: Client, document: str, given: dict[str, Any], *, token: str | None = None) -> list[str]:
    """Run a mutation that must be refused; return types of its errors, or the code if it is refused as a whole."""
    body = await client.execute(document, {"input": given}, token=token)
    if "errors" in body:
        return [error["extensions"]["code"] for error in body["errors"]]
    (payload,) = body["data"].values()
    assert {value for name, value in payload.items() if name != "errors"} == {None}, payload
    return kinds(payload)


TABLES = ("stages", "stage_tokens", "stage_join_requests", "stage_revocations", "stage_participants")


async def rows(running: Running) -> dict[str, list[Any]]:
    """All that the database holds about stages."""
    statements = {table: f"SELECT to_jsonb(t) FROM {table} t ORDER BY id" for table in TABLES}  # noqa: S608 - our names
    return {table: await sql(running.runtime, statement) for table, statement in statements.items()}


async def account_calls(emulator: Emulator) -> list[dict[str, Any]]:
    return [call for call in await emulator.calls() if call["service"] == "ivs-realtime"]


@asynccontextmanager
async def nothing_happens(running: Running, emulator: Emulator, *people: Person) -> AsyncIterator[None]:
    """Let the block change nothing about stages, ask nothing of Amazon, and tell nothing to these people."""
    services = running.runtime.services
    before, called = await rows(running), await account_calls(emulator)
    watched = [topics.user(one.key) for one in people]
    watched += [topics.stage(parse_id(one.stage_id, argument="id")[1]) for one in people]
    with services.hub.listen(*watched) as listener:
        ear = Ear(listener)
        await ear.hears()
        yield
        assert await ear.silent(services)
        waiting = ear.waiting()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await ear.changes.aclose()
    assert (await rows(running), await account_calls(emulator)) == (before, called)
