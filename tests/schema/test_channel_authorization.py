"""Who may do what to a channel: guests and strangers change nothing, call nothing on AWS, and are heard by nobody."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from server.runtime import Resolved
from subscriptions import topics
from tests.accounts import sql
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.owners import FOLLOW, METADATA, RESET, STOP, STREAM_UPDATE, UNFOLLOW, UPDATE, Owner, node_id
from tests.registration import fresh_database
from tests.removals import go_live
from tests.subscriptions.hearing import Ear

GUEST = ("UNAUTHENTICATED", "Sign in first: send `Authorization: Bearer <token>` from sessionCreate.")
TABLES = ("users", "channels", "streams", "channel_titles", "chores", "follows", "chat_rooms", "stages", "paces")
OWNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "channelUpdate": (UPDATE, {"title": "stolen"}),
    "streamUpdate": (STREAM_UPDATE, {"title": "stolen"}),
    "streamKeyReset": (RESET, {}),
    "streamStop": (STOP, {}),
    "streamMetadataPut": (METADATA, {"metadata": "m"}),
}
FOLLOWS: dict[str, tuple[str, dict[str, Any]]] = {"channelFollow": (FOLLOW, {}), "channelUnfollow": (UNFOLLOW, {})}


@dataclass(frozen=True)
class Scene:
    """A channel that is live, and somebody else."""

    running: Running
    emulator: Emulator
    owner: Owner
    stranger: Owner
    stream_id: str

    async def given(self, field: str) -> dict[str, Any]:
        """The input with which the owner would succeed."""
        target = {"streamId": self.stream_id} if field == "streamUpdate" else {"channelId": self.owner.id}
        return {**{**OWNERS, **FOLLOWS}[field][1], **target}

    async def rows(self) -> dict[str, list[Any]]:
        """Everything that the database holds of them."""
        return {
            table: [tuple(row) for row in await sql(self.running.runtime, f"SELECT * FROM {table} ORDER BY id")]  # noqa: S608 - our names
            for table in TABLES
        }

    async def calls(self) -> list[str]:
        return [call["operation"] for call in await self.emulator.calls() if call["service"] == "ivs"]

    async def error(self, document: str, given: dict[str, Any], token: str | None) -> tuple[str, str]:
        """Send what is refused as a whole; return code and message."""
        error = await self.owner.client.error(document, {"input": given}, token=token)
        return error["extensions"]["code"], error["message"]


@pytest.fixture(scope="module")
async def server(
    resolved: Resolved, database_url: str, emulator: Emulator, start_server: StartServer
) -> AsyncIterator[Running]:
    await emulator.lift_faults()
    async with fresh_database(database_url) as url:
        there = replace(resolved, database_url=url, bus_url=url)
        async with start_server(resolved=there, worker=False, bus_heartbeat_seconds=60.0) as running:
            yield running


@pytest.fixture
async def scene(server: Running, emulator: Emulator) -> AsyncIterator[Scene]:
    client = Client(server.url)
    owner, stranger = [await Owner.register(client, server.runtime) for _ in range(2)]
    await go_live(emulator, owner.arn)
    await owner.goes_live()
    # Neither own channel nor own stream give a right to another's.
    await stranger.goes_live()
    await stranger.done(FOLLOW, channelId=owner.id)
    (stream,) = await owner.streams()
    await emulator.control("calls/clear")
    yield Scene(server, emulator, owner, stranger, stream["id"])
    await client.aclose()


@pytest.mark.parametrize("field", [*OWNERS, *FOLLOWS])
async def test_guests_are_asked_to_sign_in(scene: Scene, field: str) -> None:
    document = {**OWNERS, **FOLLOWS}[field][0]
    services = scene.running.runtime.services
    before = await scene.rows()
    with services.hub.listen(topics.channel(scene.owner.key), topics.directory(None)) as listener:
        ear = Ear(listener)
        await ear.hears()
        assert await scene.error(document, await scene.given(field), None) == GUEST
        async with open_socket(scene.running.url) as socket:
            await socket.subscribe("1", document, {"input": await scene.given(field)})
            (error,) = (await socket.receive())["payload"]["errors"]
            assert (error["extensions"]["code"], error["message"]) == GUEST
        assert await ear.silent(services)
        ear.waiting().cancel()
    assert await scene.rows() == before
    assert await scene.calls() == []
    assert await scene.owner.on_air()


@pytest.mark.parametrize("field", OWNERS)
async def test_what_is_anothers_is_forbidden(scene: Scene, field: str) -> None:
    document, token = OWNERS[field][0], scene.stranger.user.token
    services = scene.running.runtime.services
    noun = "stream" if field == "streamUpdate" else "channel"
    unknown = node_id(noun.capitalize(), uuid4())
    before = await scene.rows()
    with services.hub.listen(topics.channel(scene.owner.key), topics.directory(None)) as listener:
        ear = Ear(listener)
        await ear.hears()
        given = await scene.given(field)
        found = await scene.error(document, given, token)
        assert found == ("FORBIDDEN", "The channel is not yours.")
        # Nobody can tell what does not exist from what is another's.
        assert await scene.error(document, {**given, f"{noun}Id": unknown}, token) == found
        # Rights come before faults: who may not, is not told what else is wrong.
        faulty = {name: "" for name in given if name in ("title", "metadata")}
        assert await scene.error(document, given | faulty, token) == found
        assert await ear.silent(services)
        ear.waiting().cancel()
    assert await scene.rows() == before
    assert await scene.calls() == []
    assert await scene.owner.on_air()


@pytest.mark.parametrize("field", [*OWNERS, *FOLLOWS])
async def test_a_session_that_has_ended_is_no_session(scene: Scene, field: str) -> None:
    document = {**OWNERS, **FOLLOWS}[field][0]
    await sql(scene.running.runtime, "DELETE FROM sessions")
    before = await scene.rows()
    response = await scene.owner.client.post(
        document, {"input": await scene.given(field)}, token=scene.owner.user.token
    )
    assert response.status_code == 401
    assert await scene.rows() == before
    assert await scene.calls() == []


@pytest.mark.parametrize("field", OWNERS)
async def test_the_owner_may(scene: Scene, field: str) -> None:
    """The same input, so that the refusals above are for who asks and for nothing else."""
    assert await scene.owner.done(OWNERS[field][0], **await scene.given(field))
    expected = {
        "streamKeyReset": ["DeleteStreamKey", "ListStreamKeys", "CreateStreamKey"],
        "streamStop": ["StopStream"],
        "streamMetadataPut": ["PutMetadata"],
    }
    assert await scene.calls() == expected.get(field, [])


@pytest.mark.parametrize("field", [*OWNERS, *FOLLOWS])
async def test_ids_of_another_kind_are_no_ids(scene: Scene, field: str) -> None:
    document = {**OWNERS, **FOLLOWS}[field][0]
    name = "streamId" if field == "streamUpdate" else "channelId"
    before = await scene.rows()
    for wrong in (scene.owner.user.id, "", "x" * 5000, "🐈"):
        given = {**await scene.given(field), name: wrong}
        assert (await scene.error(document, given, scene.owner.user.token))[0] == "BAD_INPUT"
    assert await scene.rows() == before
    assert await scene.calls() == []
