"""No read calls AWS: every query, as deep as the schema goes, is answered while AWS is switched off."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_object_type,
    is_required_argument,
    parse,
    validate,
    visit,
)
from sqlalchemy import select, update

from ivs.client import AwsConfig, open_aws
from ivs.delivery import ensure_delivery, ensure_recording_configuration
from models import Category, Channel, ChatBan, ChatMessage, Follow, Metric, Stage, User, utcnow, uuid7
from schema.base import global_id, parse_id
from schema.build import sdl
from server.embedded.child import Child
from server.runtime import Resolved
from tests.client import Client, Registered, open_socket
from tests.conftest import ROOT, SECRET_KEY, Emulator, Running, StartServer
from tests.players import Player, beat
from tests.registration import fresh_database
from tests.waiting import eventually

SCHEMA: GraphQLSchema = build_schema(sdl)
# Types of the fields of each name.
NAMED: dict[str, set[str]] = {}
for _type in SCHEMA.type_map.values():
    for _name, _field in _type.fields.items() if is_object_type(_type) else ():
        NAMED.setdefault(_name, set()).add(str(_field.type))
SECRETS = "{ viewer { channel { broadcast { arn type ingestUrl streamKey } } } }"
STREAMS = """
query Streams($id: ID!) {
  channel(by: {id: $id}) {
    id name category { id } owner { id } chatRoom { id } stage { id } currentStream { id } streams { nodes { id } }
    recordings { nodes { id playbackUrl } }
  }
}
"""


@dataclass
class Stopped:
    """A server with something to read, and an emulator that can be switched off."""

    running: Running
    emulator: Emulator
    child: Child
    client: Client
    owner: Registered
    ids: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
async def world(
    database_url: str, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stopped]:
    command, log = [sys.executable, "-m", "ivs.emulator"], tmp_path_factory.mktemp("emulator") / "log"
    child = Child("AWS emulator", command, log, "emulator ready ", cwd=ROOT)
    url = await asyncio.to_thread(child.start)
    emulator, aws = Emulator(url), AwsConfig("us-east-1", url, "emulator", "emulator", connect_timeout=0.5)
    async with open_aws(aws) as clients:
        queue, recording = await ensure_delivery(clients), await ensure_recording_configuration(clients, "recordings")
    async with fresh_database(database_url) as database:
        limits = {f"max_document_{name}": 1_000_000 for name in ("tokens", "depth", "fields", "aliases")}
        async with start_server(
            resolved=Resolved(database, database, (SECRET_KEY,), aws, queue, recording, f"{url}/recordings"),
            max_request_bytes=10_000_000,
            **limits,
        ) as running:
            client = Client(running.url)
            world = Stopped(running, emulator, child, client, await client.register())
            await _stream(world)
            await _chat(world)
            await _gather(world)
            await _watch(world)
            yield world
            await client.aclose()
    await emulator.aclose()
    await asyncio.to_thread(child.stop)


async def _stream(world: Stopped) -> None:
    """Let the owner stream twice, the second time without an end."""
    async with world.running.runtime.services.sessions() as session, session.begin():
        category = select(Category.id).limit(1).scalar_subquery()
        await session.execute(update(Channel).values(category_id=category))
        arn = (await session.execute(select(Channel.arn))).scalar_one()
    # No encoder sends anything, and all the documents take a while.
    await world.emulator.control("settings", {"silenceSeconds": 3600})
    for ends in (True, False):
        stream = (await world.emulator.control("broadcasts", {"channelArn": arn}))["streamId"]
        await world.emulator.control(f"broadcasts/{stream}/start")
        if ends:
            await world.emulator.control(f"broadcasts/{stream}/end")

    async def live() -> bool:
        channel = (await world.client.data(STREAMS, {"id": world.owner.channel_id}))["channel"]
        world.ids = {
            "Channel": channel["id"],
            "Category": channel["category"]["id"],
            "User": channel["owner"]["id"],
            "ChatRoom": channel["chatRoom"]["id"],
            "Stage": channel["stage"]["id"],
            "Stream": channel["currentStream"]["id"] if channel["currentStream"] else "",
            # Once it can be played, nobody looks for it on S3 any more.
            "Recording": "".join(one["id"] for one in channel["recordings"]["nodes"] if one["playbackUrl"]),
        }
        return all(world.ids.values()) and len(channel["streams"]["nodes"]) == 2

    await eventually(live, "one stream over and recorded, one live")


async def _chat(world: Stopped) -> None:
    """Let the owner say something, and ban somebody."""
    other = await world.client.register()
    message = ChatMessage(id=uuid7(), ivs_message_id="a", content="Hello", sender_name="Owner", sent_at=utcnow())
    message.chat_room_id, message.stream_id, message.user_id = (
        parse_id(world.ids[name], argument="id")[1] for name in ("ChatRoom", "Stream", "User")
    )
    banned = parse_id(other.id, argument="id")[1]
    async with world.running.runtime.services.sessions() as session, session.begin():
        session.add_all([message, ChatBan(id=uuid7(), chat_room_id=message.chat_room_id, user_id=banned)])
    world.ids["ChatMessage"] = global_id(message)


INVITE = """
mutation($stage: ID!, $name: String!) {
  stageInvite(input: {stageId: $stage, user: {username: $name}}) { invitation { id } errors { __typename } }
}
"""
ASK = "mutation($stage: ID!) { stageJoinRequest(input: {stageId: $stage}) { request { id } errors { __typename } } }"
ON_STAGE = "query($id: ID!) { stage(by: {id: $id}) { isLive participants { publishedAt } } }"


async def _gather(world: Stopped) -> None:
    """Let the owner be on stage, be invited elsewhere and be asked for an invitation, and follow a live channel."""
    other = await world.client.register()
    stage = f"{world.ids['Stage']}"
    elsewhere = other.payload["user"]["stage"]["id"]
    invited = await world.client.data(INVITE, {"stage": elsewhere, "name": world.owner.username}, token=other.token)
    asked = await world.client.data(ASK, {"stage": stage}, token=other.token)
    world.ids["StageToken"] = invited["stageInvite"]["invitation"]["id"]
    world.ids["StageJoinRequest"] = asked["stageJoinRequest"]["request"]["id"]
    async with world.running.runtime.services.sessions() as session, session.begin():
        arn = (
            await session.execute(
                select(Stage.arn).join(User, User.id == Stage.user_id).where(User.username == world.owner.username)
            )
        ).scalar_one()
        row = (await session.execute(select(Channel).where(Channel.name == world.owner.username))).scalar_one()
        session.add(Follow(user_id=row.user_id, channel_id=row.id))
        user_id = row.user_id.hex
    await world.emulator.control("stages/participants", {"stageArn": arn, "userId": user_id})

    async def there() -> bool:
        return bool((await world.client.data(ON_STAGE, {"id": stage}))["stage"]["isLive"])

    await eventually(there, "the owner is on stage")


async def _watch(world: Stopped) -> None:
    """Let somebody watch."""
    player = await Player.start(world.client, world.owner.channel_id)
    await player.beats(beat(browserName="Firefox", os="Linux", quality="720p"))
    _, key = parse_id(world.ids["Stream"], argument="id")
    async with world.running.runtime.services.sessions() as session:
        world.ids["Metric"] = global_id(
            (await session.execute(select(Metric).where(Metric.stream_id == key))).scalar_one()
        )


def arguments(world: Stopped) -> dict[str, list[str]]:
    """Every way to call a field that has arguments; what is not listed is called without."""
    name, channel = world.owner.username, world.owner.channel_id
    ids = json.dumps(list(world.ids.values()))
    node_types = {found.name for found in SCHEMA.get_possible_types(SCHEMA.type_map["Node"])}
    assert set(world.ids) == node_types, "a new type of node must be seeded"
    return {
        "Query.node": [f'id: "{key}"' for key in world.ids.values()],
        "Query.nodes": [f"ids: {ids}"],
        "Query.user": [f'username: "{name}"'],
        "Query.channel": [f'by: {{id: "{channel}"}}', f'by: {{name: "{name}"}}'],
        "Query.channels": ["", "filter: {isLive: true}", "filter: {isLive: false}", "last: 1", "orderBy: LIVE_SINCE"],
        "Query.recordings": ["", f'filter: {{channelId: "{channel}"}}', "orderBy: LONGEST", "last: 1"],
        "Query.category": [f'by: {{id: "{world.ids["Category"]}"}}', 'by: {slug: "gaming"}'],
        "Query.stream": [f'id: "{world.ids["Stream"]}"'],
        "Query.stage": [f'by: {{id: "{world.ids["Stage"]}"}}', f'by: {{name: "{name}"}}'],
        "Query.stages": ["", "filter: {isLive: true}", "filter: {isLive: false}", "last: 1"],
        "Subscription.channelChanged": [f'channelId: "{channel}"'],
        "Subscription.streamEvents": [f'channelId: "{channel}"'],
        "Subscription.viewerCountChanged": [f'channelId: "{channel}"'],
        "Subscription.liveStats": [f'channelId: "{channel}"'],
        "Subscription.directoryChanged": ["", f'categoryId: "{world.ids["Category"]}"'],
        "Subscription.stageChanged": [f'stageId: "{world.ids["Stage"]}"'],
    }


def selection(of: GraphQLNamedType, ways: dict[str, list[str]], met: set[str]) -> str:
    """All fields of a type, and of what they lead to; of a type that was met before, what needs no selection."""
    if is_abstract_type(of):
        members = SCHEMA.get_possible_types(of)  # type: ignore[arg-type]
        return f"{{ __typename {' '.join(f'... on {one.name} {selection(one, ways, met)}' for one in members)} }}"
    assert is_object_type(of)
    again = of.name in met
    met.add(of.name)
    return f"{{ __typename {' '.join(_fields(of, ways, met, again=again))} }}"


def _fields(of: GraphQLObjectType, ways: dict[str, list[str]], met: set[str], *, again: bool) -> Iterator[str]:
    for name, one in of.fields.items():
        target = get_named_type(one.type)
        if is_composite_type(target) and again:
            continue
        # Below an interface, one name must not stand for two types.
        alias = f"{of.name}_{name}: " if len(NAMED[name]) > 1 else ""
        call = alias + name + _call(f"{of.name}.{name}", one, ways)[0]
        yield f"{call} {selection(target, ways, met)}" if is_composite_type(target) else call


def _call(coordinate: str, one: GraphQLField, ways: dict[str, list[str]]) -> list[str]:
    needed = [name for name, argument in one.args.items() if is_required_argument(argument)]
    assert not needed or coordinate in ways, f"say in `arguments` how to call {coordinate}, which needs {needed}"
    return [f"({way})" if way else "" for way in ways.get(coordinate, [""])]


def operations(root: str, ways: dict[str, list[str]]) -> Iterator[str]:
    """One operation for each field of a root type and each way to call it."""
    of = SCHEMA.type_map[root]
    assert is_object_type(of)
    for name, one in of.fields.items():
        coordinate, target = f"{root}.{name}", get_named_type(one.type)
        for call in _call(coordinate, one, ways):
            deeper = selection(target, ways, set()) if is_composite_type(target) else ""
            yield f"{root.lower()} {{ {name}{call} {deeper} }}"


def seen(value: Any) -> set[str]:
    """Coordinates of the fields that occur in an answer."""
    if isinstance(value, list):
        return set().union(*map(seen, value))
    if not isinstance(value, dict):
        return set()
    # Aliases are the type's name, an underscore, the field's name.
    names = (key.rpartition("_")[2] for key in value if key != "__typename")
    found = {f"{value['__typename']}.{name}" for name in names} if "__typename" in value else set()
    return found.union(*map(seen, value.values()))


def reachable(root: str) -> set[str]:
    """Coordinates of the fields of the object types to which fields lead from a root type, without its own."""
    found: set[str] = set()
    pending = [SCHEMA.type_map[root]]
    while pending:
        of = pending.pop()
        if is_abstract_type(of):
            pending.extend(one for one in SCHEMA.get_possible_types(of) if one.name not in found)  # type: ignore[arg-type]
        elif is_object_type(of) and of.name not in found:
            found.add(of.name)
            pending.extend(get_named_type(one.type) for one in of.fields.values())
    return {f"{name}.{one}" for name in found - {root} for one in SCHEMA.type_map[name].fields}


async def account_calls(emulator: Emulator) -> list[dict[str, Any]]:
    return [call for call in await emulator.calls() if call["service"] != "sqs"]


async def test_no_read_calls_aws(world: Stopped) -> None:
    ways = arguments(world)
    before = await account_calls(world.emulator)
    assert len(before) >= 3
    for operation in operations("Query", ways):
        await world.client.data(operation, token=world.owner.token)
    assert await account_calls(world.emulator) == before

    await asyncio.to_thread(world.child.stop)
    with pytest.raises(httpx.ConnectError):
        await world.emulator.calls()

    fields: set[str] = set()
    for operation in operations("Query", ways):
        await world.client.data(operation)
        fields |= seen(await world.client.data(operation, token=world.owner.token))
    assert fields == reachable("Query")
    shown = await world.client.data(SECRETS, token=world.owner.token)
    assert all(shown["viewer"]["channel"]["broadcast"].values())

    async with open_socket(world.running.url, world.owner.token) as socket:
        for number, operation in enumerate(operations("Subscription", ways)):
            await socket.subscribe(str(number), operation)
            # One notification of each kind.
            for _ in range(3 if "viewerNotifications" in operation else 1):
                message = await socket.receive()
                while message["id"] != str(number):  # those before may have more to say
                    message = await socket.receive()
                assert "errors" not in message["payload"], message
                fields |= seen(message["payload"]["data"])
    # What an object leads to is read in the same way as in a query, where more of it is not empty.
    assert fields == reachable("Query") | reachable("Subscription")


def test_the_documents_hold_every_field_that_queries_lead_to() -> None:
    ways = {"Query.node": ['id: "i"'], "Query.nodes": ["ids: []"], "Query.user": ['username: "u"']}
    ways |= {"Query.category": ['by: {slug: "s"}'], "Query.stream": ['id: "i"']}
    ways |= {"Query.channel": ['by: {name: "n"}'], "Subscription.channelChanged": ['channelId: "i"']}
    ways |= {f"Subscription.{name}": ['channelId: "i"'] for name in ("streamEvents", "viewerCountChanged", "liveStats")}
    ways |= {"Query.stage": ['by: {name: "n"}'], "Subscription.stageChanged": ['stageId: "i"']}
    for root in ("Query", "Subscription"):
        visited: set[str] = set()
        types = TypeInfo(SCHEMA)

        class Visit(Visitor):
            def enter_field(self, node: FieldNode, *_rest: Any) -> None:
                visited.add(f"{types.get_parent_type()}.{node.name.value}")  # noqa: B023 - used within the round

        for operation in operations(root, ways):
            document = parse(operation)
            assert validate(SCHEMA, document) == []
            visit(document, TypeInfoVisitor(types, Visit()))
        wanted = reachable(root) | {f"{root}.{one}" for one in SCHEMA.type_map[root].fields}
        assert {coordinate for coordinate in visited if not coordinate.endswith("__typename")} == wanted
