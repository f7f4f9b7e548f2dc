"""Plans answer what graphql-core answers: random queries over the whole schema, compared; and when they step aside."""

import base64
import gc
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from inspect import isawaitable
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    GraphQLObjectType,
    execute,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    parse,
    validate,
)
from hypothesis import event, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import select, text

import models
from resolvers.context import Context, Viewer
from schema.base import global_id
from schema.build import core_schema
from schema.documents import GraphQLRequest
from schema.execution import Executor
from schema.limits import DocumentLimits
from schema.visibility import Visibility
from server.runtime import Runtime
from tests import factories
from tests.conftest import Running, StartServer

VARIABLES: dict[str, tuple[str, Any]] = {"yes": ("Boolean!", True), "no": ("Boolean!", False), "size": ("Int", 2)}
WIDE = DocumentLimits(tokens=100_000, depth=50, fields=100_000, aliases=10_000)


@pytest.fixture(scope="module")
async def world(start_apart: StartServer) -> AsyncIterator[Runtime]:
    async with start_apart(worker=False, bus_heartbeat_seconds=60.0) as running:
        yield running.runtime


@pytest.fixture(scope="module")
async def arguments(world: Runtime) -> dict[str, str]:
    """Root fields with arguments that find something, after seeding a small world."""
    async with world.services.sessions() as session, session.begin():
        gaming = await factories.category(session, "gaming")
        rows = []
        for index in range(3):
            category = gaming if index else None
            rows.append(await factories.user(session, f"user-{index}", category_id=category))
            await factories.streams(session, rows[-1], index * 2, live=index == 2)
            await factories.messages(session, rows[-1], index * 4, each=timedelta(seconds=40))
        await factories.gathering(session, rows[2], guests=rows[:2])
        stream = (await session.execute(select(models.Stream).where(models.Stream.state == "LIVE"))).scalar_one()
    unknown = base64.urlsafe_b64encode(b"Channel:00000000000070008000000000000000").decode().rstrip("=")
    ids = json.dumps([*(global_id(row) for row in rows), unknown])
    return {
        "node": f'(id: "{global_id(rows[2])}")',
        "nodes": f"(ids: {ids})",
        "user": '(username: "USER-1")',
        "channel": '(by: { name: "user-2" })',
        "channels": "(filter: { isLive: true })",
        "stage": '(by: { name: "USER-2" })',
        "stages": "(filter: { isLive: true })",
        "category": '(by: { slug: "gaming" })',
        "stream": f'(id: "{global_id(stream)}")',
    }


class Writer:
    """Draws a random valid selection of a type."""

    def __init__(self, draw: Any, arguments: dict[str, str]) -> None:
        self._draw = draw
        self._arguments = arguments
        self._count = 0
        self.fragments: list[str] = []

    def selection(self, parent: Any, depth: int) -> str:
        parts = [self._field(parent, name, depth) for name in self._names(parent, depth)]
        if is_abstract_type(parent):
            possible = sorted(core_schema.get_possible_types(parent), key=lambda each: each.name)
            chosen = self._draw(st.lists(st.sampled_from(possible), max_size=2, unique_by=lambda each: each.name))
            parts += [f"... on {each.name} {self.selection(each, depth - 1)}" for each in chosen if depth > 1]
        wrap = self._draw(st.sampled_from(["", "", "", "inline", "named", "include", "skip"]))
        body = "{ __typename " + " ".join(part for part in parts if part) + " }"
        if wrap == "inline":
            return f"{{ ... on {parent.name} {body} }}"
        if wrap == "named":
            self._count += 1
            self.fragments.append(f"fragment F{self._count} on {parent.name} {body}")
            return f"{{ ...F{self._count} }}"
        if wrap in ("include", "skip"):
            condition = self._draw(st.sampled_from(["$yes", "$no", "true", "false"]))
            return f"{{ __typename ... @{wrap}(if: {condition}) {body} }}"
        return body

    def _names(self, parent: Any, depth: int) -> list[str]:
        names = [name for name, field in parent.fields.items() if depth > 1 or is_leaf_type(get_named_type(field.type))]
        return self._draw(st.lists(st.sampled_from(names), min_size=1, max_size=5)) if names else []

    def _field(self, parent: Any, name: str, depth: int) -> str:
        field = parent.fields[name]
        named = get_named_type(field.type)
        given = self._arguments.get(name, "") if parent is core_schema.query_type else ""
        if not given and "first" in field.args:
            ways = ["", "(first: 1)", "(first: $size)", "(first: 0)", *(["(last: 2)"] if "last" in field.args else [])]
            given = self._draw(st.sampled_from(ways))
            if "fromOffsetMs" in field.args and given:
                given = given.replace(
                    "(", self._draw(st.sampled_from(["(", "(fromOffsetMs: 1, ", "(fromOffsetMs: $size, "]))
                )
        # Of one name with different arguments only an alias makes two fields.
        self._count += 1
        alias = f"a{self._count}: "
        return f"{alias}{name}{given}" + ("" if is_leaf_type(named) else " " + self.selection(named, depth - 1))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
async def test_plans_answer_as_graphql_core_does(
    world: Runtime, arguments: dict[str, str], data: st.DataObject
) -> None:
    query_type = core_schema.query_type
    assert isinstance(query_type, GraphQLObjectType)
    writer = Writer(data.draw, arguments)
    body = "\n".join([writer.selection(query_type, depth=6), *writer.fragments])
    used = {name: kind for name, kind in VARIABLES.items() if f"${name}" in body}
    declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in used.items())
    document = f"query Q{f'({declared})' if declared else ''} {body}"
    variables = {name: value for name, (_, value) in used.items()}
    viewer = data.draw(st.sampled_from([None, "owner"]))

    executor = Executor(core_schema, WIDE, cache_characters=0)
    prepared = executor.prepare(document)
    assert prepared.errors == (), document
    before = REGISTRY.get_sample_value("streamcat_operations_total", {"engine": "planned"}) or 0
    planned = await executor.run(prepared, GraphQLRequest(document, None, variables), await context(world, viewer))
    after = REGISTRY.get_sample_value("streamcat_operations_total", {"engine": "planned"}) or 0

    result: Any = execute(
        core_schema, parse(document), context_value=await context(world, viewer), variable_values=variables
    )
    expected = await result if isawaitable(result) else result
    assert not expected.errors, (document, expected.errors)
    assert planned == {"data": expected.data}, document
    assert json.dumps(planned["data"]) == json.dumps(expected.data)
    assert after == before + 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
async def test_what_is_shared_with_all_is_the_same_for_all(
    world: Runtime, arguments: dict[str, str], data: st.DataObject
) -> None:
    """Tries to find a selection that counts as public and shows an owner anything else than a guest."""
    channel_type = core_schema.type_map["Channel"]
    writer = Writer(data.draw, arguments)
    selection = writer.selection(channel_type, depth=5)
    body = "\n".join([f"{{ channelChanged(channelId: $id) {{ channel {selection} }} }}", *writer.fragments])
    used = {name: kind for name, kind in VARIABLES.items() if f"${name}" in body}
    declared = "".join(f", ${name}: {kind}" for name, (kind, _) in used.items())
    document = f"subscription ($id: ID!{declared}) {body}"
    variables = {"id": arguments["node"].split('"')[1], **{name: value for name, (_, value) in used.items()}}
    executor = Executor(core_schema, WIDE, cache_characters=0)
    request = GraphQLRequest(document, None, variables)
    prepared = executor.prepare(document)
    assert not prepared.errors, (document, prepared.errors)
    if executor.visibility(prepared, request) is not Visibility.PUBLIC:
        event("the viewer's own")
        return
    event("public")
    answers = []
    for viewer in (None, "owner"):
        ctx = await context(world, viewer)
        started = await executor.stream(prepared, request, ctx)
        assert not isinstance(started, dict), started
        answers.append(await anext(started))
        await started.aclose()
    assert answers[0] == answers[1], document


async def context(world: Runtime, viewer: str | None) -> Context:
    if viewer is None:
        return Context(world.services, None, "127.0.0.1")
    async with world.services.sessions() as session:
        user_id = (await session.execute(text("SELECT id FROM users WHERE username = 'user-2'"))).scalar_one()
    return Context(world.services, Viewer(user_id, user_id, factories.EPOCH), "127.0.0.1")


@pytest.mark.parametrize(
    ("document", "engine"),
    [
        ("{ viewer { id } }", "planned"),
        ("{ __schema { queryType { name } } }", "general"),
        ('{ channels { nodes { id } } node(id: "nonsense") { id } }', "abandoned"),
    ],
)
async def test_what_runs_a_query(running: Running, world: Runtime, document: str, engine: str) -> None:
    executor = Executor(core_schema, WIDE, cache_characters=1000)
    before = REGISTRY.get_sample_value("streamcat_operations_total", {"engine": engine}) or 0
    response = await executor.run(
        executor.prepare(document), GraphQLRequest(document), Context(world.services, None, "127.0.0.1")
    )

    assert REGISTRY.get_sample_value("streamcat_operations_total", {"engine": engine}) == before + 1
    assert ("errors" in response) == (engine == "abandoned")
    assert response["data"] is not None


async def test_plans_of_one_document_differ_by_its_conditions(world: Runtime, arguments: dict[str, str]) -> None:
    document = 'query($with: Boolean!) { user(username: "user-1") { id username @include(if: $with) } }'
    executor = Executor(core_schema, WIDE, cache_characters=1000)
    assert not validate(core_schema, parse(document))
    answers = []
    for wanted in (True, False, True):
        response = await executor.run(
            executor.prepare(document),
            GraphQLRequest(document, None, {"with": wanted}),
            Context(world.services, None, "127.0.0.1"),
        )
        answers.append(list(response["data"]["user"]))

    assert answers == [["id", "username"], ["id"], ["id", "username"]]


async def test_documents_are_not_kept_beyond_the_cache(world: Runtime) -> None:
    executor = Executor(core_schema, WIDE, cache_characters=0)

    async def kept_after(first: int) -> int:
        for number in range(first, first + 30):
            document = f"query Q{number}($on: Boolean!) {{ viewer @include(if: $on) {{ id }} }}"
            request = GraphQLRequest(document, None, {"on": True})
            ctx = Context(world.services, None, "127.0.0.1")
            assert await executor.run(executor.prepare(document), request, ctx) == {"data": {"viewer": None}}
        gc.collect()
        return sum(isinstance(each, DocumentNode) for each in gc.get_objects())

    assert await kept_after(0) == await kept_after(30)
