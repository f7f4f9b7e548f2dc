"""Who may do and see what: every mutation, restricted field and subscription of the schema, for everybody there is.

What is refused changes no row, calls nothing on AWS and tells nobody.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from graphql import GraphQLObjectType

from schema.build import core_schema
from server.runtime import Resolved, Runtime
from tests.accounts import sql
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.owners import Owner, node_id
from tests.registration import fresh_database
from tests.waiting import eventually

STRANGERS: Final = ("stranger", "invited", "banned")

# Who may: the owner of what is named, whoever is signed in, anybody. The inputs name what is the owner's.
OWNERS: Final[dict[str, dict[str, Any]]] = {
    "channelUpdate": {"channelId": "$channel", "title": "stolen"},
    "channelPlaybackAccessUpdate": {"channelId": "$channel", "access": "FOLLOWERS"},
    "streamKeyReset": {"channelId": "$channel"},
    "streamUpdate": {"streamId": "$stream", "title": "stolen"},
    "streamStop": {"channelId": "$channel"},
    "streamMetadataPut": {"channelId": "$channel", "metadata": "stolen"},
    "recordingDelete": {"recordingId": "$recording"},
    "chatMessageDelete": {"chatRoomId": "$room", "ivsMessageId": "AYk6xKitV4On"},
    "chatUserDisconnect": {"chatRoomId": "$room", "userId": "$user"},
    "chatUserBan": {"chatRoomId": "$room", "userId": "$user"},
    "chatUserUnban": {"chatRoomId": "$room", "userId": "$user"},
    "chatEventSend": {"chatRoomId": "$room", "eventName": "stolen", "attributes": []},
    "stageInvite": {"stageId": "$stage", "user": {"id": "$user"}},
    "stageJoinRequestAccept": {"requestId": "$request"},
    "stageJoinRequestRefuse": {"requestId": "$request"},
    "stageParticipantDisconnect": {"stageId": "$stage", "participant": {"userId": "$user"}},
}
SIGNED_IN: Final[dict[str, dict[str, Any] | None]] = {
    "channelFollow": {"channelId": "$channel"},
    "channelUnfollow": {"channelId": "$channel"},
    "channelProvision": None,
    "passwordChange": {"currentPassword": "a", "newPassword": "b"},
    "stageInvitationDecline": {"stageId": "$stage"},
    "stageJoinRequest": {"stageId": "$stage"},
    "userDelete": {"password": "a"},
}
# What these refuse to whom is decided by more than who asks; their own tests say so.
ANYBODY: Final = {
    "chatTokenCreate",
    "metricsPublish",
    "playbackStart",
    "sessionCreate",
    "sessionDelete",
    "stageTokenCreate",
    "userRegister",
}

# What the owner sees; for all others it is null, and of requests there are but one's own.
FIELDS: Final = {
    "broadcast": "channel(by: { id: $channel }) { broadcast { streamKey } }",
    "events": "stream(id: $stream) { events(first: 1) { nodes { name } } }",
    "metrics": "stream(id: $stream) { metrics(first: 1) { nodes { id } } }",
    "analytics": "stream(id: $stream) { analytics { uniqueViewers } }",
    "bans": "node(id: $room) { ... on ChatRoom { bans(first: 1) { nodes { reason } } } }",
    "joinRequests": "stage(by: { id: $stage }) { joinRequests(first: 1) { nodes { id } } }",
}
SUBSCRIPTIONS: Final = {
    "liveStats": "subscription($channel: ID!) { liveStats(channelId: $channel) { viewerCount } }",
    "streamEvents": "subscription($channel: ID!) { streamEvents(channelId: $channel) { name } }",
}
OPEN_SUBSCRIPTIONS: Final = {"channelChanged", "viewerCountChanged", "directoryChanged", "stageChanged"}


class Notices:
    """Hears what is said in one database, whoever else listens to others in this process."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._heard: list[str] = []

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> "AsyncIterator[Notices]":
        connection = await asyncpg.connect(url)
        notices = cls(connection)
        await connection.add_listener("streamcat", lambda *args: notices._heard.append(args[-1]))
        yield notices
        await connection.close()

    async def heard(self) -> list[str]:
        """Everything but the bus's own probes, up to a last word of our own."""
        last = f"last:{uuid4()}"
        await self._connection.execute("SELECT pg_notify('streamcat', $1)", last)
        await eventually(self._has(last), "the last word")
        return [topic for topic in self._heard if not topic.startswith(("probe:", "last:"))]

    def _has(self, last: str) -> Callable[[], Awaitable[bool]]:
        async def has() -> bool:
            return last in self._heard

        return has


@dataclass(frozen=True)
class Scene:
    """An owner who is live, has banned one and invited another, and somebody who has nothing to do with it."""

    running: Running
    emulator: Emulator
    client: Client
    people: dict[str, Owner]
    ids: dict[str, str]
    notices: Notices

    @property
    def runtime(self) -> Runtime:
        return self.running.runtime

    def token(self, who: str) -> str | None:
        return self.people[who].user.token if who in self.people else None

    def filled(self, given: Any) -> Any:
        """Put the owner's ids in their places."""
        text = json.dumps(given)
        for name, value in self.ids.items():
            text = text.replace(f'"${name}"', json.dumps(value))
        return json.loads(text)

    async def state(self) -> tuple[dict[str, str], list[str], list[str]]:
        """All rows there are, calls to AWS for anything of these people, and what the bus has carried."""
        tables = await sql(
            self.runtime,
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition",
        )
        rows = {
            table: str(
                (await sql(self.runtime, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t"))[0][0]  # noqa: S608 - our names
            )
            for (table,) in tables
        }
        # Another server of these tests may be at work on the same account.
        ours = "SELECT arn FROM channels UNION SELECT arn FROM chat_rooms UNION SELECT arn FROM stages"
        arns = {arn for (arn,) in await sql(self.runtime, ours)}
        calls = [
            call["operation"]
            for call in await self.emulator.calls()
            if arns.intersection(value for value in call["params"].values() if isinstance(value, str))
        ]
        return rows, calls, await self.notices.heard()


@pytest.fixture(scope="module")
async def scene(
    resolved: Resolved, database_url: str, emulator: Emulator, start_server: StartServer
) -> AsyncIterator[Scene]:
    await emulator.lift_faults()
    async with fresh_database(database_url) as url:
        there = replace(resolved, database_url=url, bus_url=url)
        async with start_server(resolved=there, worker=False, bus_heartbeat_seconds=60.0) as running:
            client = Client(running.url)
            names = ("owner", *STRANGERS, "asker")
            people = {name: await Owner.register(client, running.runtime) for name in names}
            async with Notices.of(url) as notices:
                yield await _set(Scene(running, emulator, client, people, {}, notices))
            await client.aclose()


async def _set(scene: Scene) -> Scene:
    owner = scene.people["owner"]
    await owner.goes_live()
    (stream,) = await owner.streams()
    ids = {
        "channel": owner.id,
        "stream": stream["id"],
        "room": owner.user.payload["user"]["chatRoom"]["id"],
        "stage": owner.user.payload["user"]["stage"]["id"],
        "user": scene.people["banned"].user.id,
    }
    recording = uuid4()
    await sql(
        scene.runtime,
        "INSERT INTO recordings (id, channel_id, recording_session_id, started_at, over_at, duration_ms) "
        "VALUES (:id, :channel, 'session', now(), now(), 1000)",
        id=recording,
        channel=owner.key,
    )
    ids["recording"] = node_id("Recording", recording)
    invited = {"stageId": ids["stage"], "user": {"id": scene.people["invited"].user.id}}
    await _done(scene, "stageInvite", invited, "owner")
    await _done(scene, "chatUserBan", {"chatRoomId": ids["room"], "userId": ids["user"]}, "owner")
    asked = await _done(scene, "stageJoinRequest", {"stageId": ids["stage"]}, "asker", "request { id }")
    ids["request"] = asked["request"]["id"]
    return replace(scene, ids=ids)


async def _done(scene: Scene, name: str, given: dict[str, Any], who: str, shown: str = "") -> dict[str, Any]:
    answer = await scene.client.data(mutation(name, shown), {"input": given}, token=scene.token(who))
    payload: dict[str, Any] = answer[name]
    assert payload["errors"] == []
    return payload


def mutation(name: str, shown: str = "") -> str:
    """Write the mutation with its input's type, as the schema has it."""
    root = core_schema.mutation_type
    assert isinstance(root, GraphQLObjectType)
    field = root.fields[name]
    if "input" not in field.args:
        return f"mutation {{ {name} {{ __typename }} }}"
    kind = field.args["input"].type
    return f"mutation($input: {kind}) {{ {name}(input: $input) {{ {shown} errors {{ __typename }} }} }}"


def test_every_mutation_and_subscription_is_somebodys() -> None:
    mutations, subscriptions = core_schema.mutation_type, core_schema.subscription_type
    assert mutations
    assert subscriptions
    assert sorted([*OWNERS, *SIGNED_IN, *ANYBODY]) == sorted(mutations.fields)
    assert sorted([*SUBSCRIPTIONS, *OPEN_SUBSCRIPTIONS, "viewerNotifications"]) == sorted(subscriptions.fields)


async def refused(scene: Scene, name: str, who: str, code: str) -> None:
    given = {**OWNERS, **SIGNED_IN}[name]
    before = await scene.state()
    variables = None if given is None else {"input": scene.filled(given)}
    error = await scene.client.error(mutation(name), variables, token=scene.token(who))
    assert error["extensions"]["code"] == code
    assert await scene.state() == before


@pytest.mark.parametrize("name", [*OWNERS, *SIGNED_IN])
async def test_guests_are_asked_to_sign_in(scene: Scene, name: str) -> None:
    await refused(scene, name, "guest", "UNAUTHENTICATED")


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("name", OWNERS)
async def test_what_is_anothers_is_forbidden(scene: Scene, name: str, who: str) -> None:
    await refused(scene, name, who, "FORBIDDEN")


@pytest.mark.parametrize("who", ["owner", "guest", *STRANGERS])
@pytest.mark.parametrize("name", FIELDS)
async def test_only_the_owner_sees_what_is_his(scene: Scene, name: str, who: str) -> None:
    used = [key for key in scene.ids if f"${key})" in FIELDS[name] or f"${key} " in FIELDS[name]]
    declared = ", ".join(f"${key}: ID!" for key in used)
    variables = {key: scene.ids[key] for key in used}
    answer = await scene.client.data(f"query({declared}) {{ {FIELDS[name]} }}", variables, token=scene.token(who))
    ((found,),) = (one.values() for one in answer.values())
    if who == "owner":
        assert found is not None
        assert found != {"nodes": []} or name == "metrics"
    else:
        assert found == ({"nodes": []} if name == "joinRequests" else None)


async def test_an_invitation_is_its_holders_and_the_owners(scene: Scene) -> None:
    document = "query($stage: ID!) { stage(by: { id: $stage }) { tokens { nodes { token user { username } } } } }"
    name = scene.people["invited"].user.username
    for who in ("owner", "guest", *STRANGERS, "asker"):
        answer = await scene.client.data(document, {"stage": scene.ids["stage"]}, token=scene.token(who))
        tokens = answer["stage"]["tokens"]
        seen = {(one["user"]["username"], one["token"] is not None) for one in (tokens or {"nodes": []})["nodes"]}
        assert seen == {"owner": {(name, False)}, "invited": {(name, True)}}.get(who, set()), who


@pytest.mark.parametrize("who", ["guest", *STRANGERS])
@pytest.mark.parametrize("name", SUBSCRIPTIONS)
async def test_only_the_owner_may_watch_what_is_his(scene: Scene, name: str, who: str) -> None:
    async with open_socket(scene.running.url, scene.token(who)) as socket:
        await socket.subscribe("1", SUBSCRIPTIONS[name], {"channel": scene.ids["channel"]})
        message = json.dumps(await socket.receive())
        assert message.count("UNAUTHENTICATED" if who == "guest" else "FORBIDDEN") == 1


async def test_only_who_is_signed_in_is_notified(scene: Scene) -> None:
    async with open_socket(scene.running.url) as socket:
        await socket.subscribe("1", "subscription { viewerNotifications { __typename } }")
        message = await socket.receive()
        assert message["type"] in ("error", "next")
        assert json.dumps(message).count("UNAUTHENTICATED") == 1
