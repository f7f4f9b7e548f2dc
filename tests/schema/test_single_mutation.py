"""A mutation run by its plan answers word for word what graphql-core answers, and is run once."""

from typing import Any
from uuid import uuid4

import pytest
import strawberry
from prometheus_client import REGISTRY

from resolvers.context import Context
from resolvers.errors import RequestError
from schema.documents import GraphQLRequest
from schema.execution import Executor
from schema.limits import DocumentLimits
from tests.client import Client
from tests.conftest import Running

# With a condition of a variable no plan is made of the document.
FOLLOW = """mutation Follow($input: ChannelFollowInput!%s) {
  followed: channelFollow(input: $input) %s {
    channel {
      title category { slug } __typename ... on Node { id } ...Owner streams(first: 1) { nodes { id } }
    }
    errors { __typename ... on UserError { message path } }
  }
}
fragment Owner on Channel { isLive owner { username } followerCount viewerIsFollowing }
"""
PUBLISH = """mutation Publish($input: MetricsPublishInput!%s) {
  metricsPublish(input: $input) %s {
    taken: accepted
    errors { __typename ... on NumberInvalid { message path } ... on ViewerTokenInvalid { message } }
  }
}
"""


def operations(engine: str) -> float:
    return REGISTRY.get_sample_value("streamcat_operations_total", {"engine": engine}) or 0


async def both(client: Client, document: str, variables: Any, engine: str = "planned") -> dict[str, Any]:
    """Return the answer by the plan, which must be that of graphql-core."""
    before = operations(engine)
    planned = await client.execute(document % ("", ""), variables)
    assert operations(engine) == before + 1
    before = operations("general")
    expected = await client.execute(
        document % (", $always: Boolean!", "@include(if: $always)"), {**(variables or {}), "always": True}
    )
    assert operations("general") == before + 1
    for error in expected.get("errors", []):
        for place in error["locations"]:
            assert place in ({"line": 1, "column": document.index("$input") + 1}, {"line": 2, "column": 3})
    assert planned == expected
    return planned


async def test_rows_behind_the_payload_are_read(client: Client) -> None:
    owner, fan = await client.register(), await client.register()
    client.token = fan.token
    followed = (await both(client, FOLLOW, {"input": {"channelId": owner.channel_id}}))["data"]["followed"]
    assert (followed["channel"]["followerCount"], followed["channel"]["owner"]["username"]) == (1, owner.username)
    assert followed["errors"] == []


async def test_errors_of_the_payload_are_shown_by_their_types(client: Client) -> None:
    owner = await client.register()
    client.token = owner.token
    followed = (await both(client, FOLLOW, {"input": {"channelId": owner.channel_id}}))["data"]["followed"]
    assert [error["__typename"] for error in followed["errors"]] == ["OwnChannel"]
    assert followed["channel"] is None


async def test_an_error_of_the_resolver_is_told_in_its_place(client: Client) -> None:
    owner = await client.register()
    answer = await both(client, FOLLOW, {"input": {"channelId": owner.channel_id}}, "abandoned")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert answer["errors"][0]["path"] == ["followed"]


def beat(**readings: Any) -> dict[str, Any]:
    return {"id": "0190aaaa-0000-7000-8000-000000000001", **readings}


def _with(**parts: Any) -> dict[str, Any]:
    return {"input": {"viewerToken": "none", "heartbeats": [beat()], **parts}}


@pytest.mark.parametrize(
    ("variables", "engine"),
    [
        (_with(), "planned"),
        (
            _with(heartbeats=[beat(bitrate=-1, framerate=29.5, os=None), beat(latencySeconds=1e9, isMobile=True)]),
            "planned",
        ),
        (_with(heartbeats=[]), "abandoned"),
        (_with(heartbeats=[{"id": "no uuid"}]), "abandoned"),
        # Right, but told in a way that only graphql-core knows.
        (_with(heartbeats=beat()), "abandoned"),
        (_with(heartbeats=[beat(bitrate=5.0)]), "abandoned"),
        # A Float may be written without a point.
        (_with(heartbeats=[beat(framerate=30, sentAt="2026-11-29T10:00:00Z")]), "planned"),
        # Wrong.
        (_with(heartbeats=[beat(bitrate="5")]), "abandoned"),
        (_with(heartbeats=[beat(bitrate=True)]), "abandoned"),
        (_with(heartbeats=[beat(bitrate=2**31)]), "abandoned"),
        (_with(heartbeats=[beat(quality=720)]), "abandoned"),
        (_with(heartbeats=[beat(isMobile=1)]), "abandoned"),
        (_with(heartbeats=[beat(sentAt="yesterday")]), "abandoned"),
        (_with(heartbeats=[beat(sentAt="2026-11-29T10:00:00")]), "abandoned"),
        (_with(heartbeats=[beat(colour="red")]), "abandoned"),
        (_with(heartbeats=[{"os": "Linux"}]), "abandoned"),
        (_with(heartbeats=[{"id": None}]), "abandoned"),
        (_with(heartbeats=[None]), "abandoned"),
        (_with(heartbeats="all"), "abandoned"),
        (_with(heartbeats=None), "abandoned"),
        (_with(viewerToken=None), "abandoned"),
        ({"input": {"heartbeats": [beat()]}}, "abandoned"),
        ({"input": [beat()]}, "abandoned"),
        ({"input": None}, "abandoned"),
        ({}, "abandoned"),
        (None, "abandoned"),
        ({**_with(), "unknown": 1}, "planned"),
    ],
    ids=str,
)
async def test_values_are_read_as_graphql_reads_them(client: Client, variables: Any, engine: str) -> None:
    await both(client, PUBLISH, variables, engine)


async def test_it_is_run_once(client: Client) -> None:
    document = """mutation ($input: UserRegisterInput!) {
      userRegister(input: $input) { user { username } errors { __typename } }
    }"""
    variables = {"input": {"username": f"once-{uuid4().hex[:8]}", "password": "correct horse"}}
    before = operations("planned")
    assert (await client.data(document, variables))["userRegister"]["errors"] == []
    assert (await client.data(document, variables))["userRegister"]["errors"] == [{"__typename": "UsernameTaken"}]
    assert operations("planned") == before + 2


RUNS: list[str] = []


@strawberry.type
class Payload:
    number: int | None = None
    numbers: list[int] = strawberry.field(default_factory=list)


@strawberry.type
class Mutations:
    @strawberry.mutation
    async def fail(self, name: str) -> Payload:
        RUNS.append(name)
        raise RequestError("FORBIDDEN", "Not you.")

    @strawberry.mutation
    async def overflow(self, name: str) -> Payload:
        RUNS.append(name)
        return Payload(number=2**40)

    @strawberry.mutation
    async def overflow_in_a_list(self, name: str) -> Payload:
        RUNS.append(name)
        return Payload(numbers=[1, 2**40])


@strawberry.type
class Nothing:
    nothing: int = 0


@pytest.mark.parametrize(
    ("mutation", "data", "path", "code"),
    [
        ("fail", None, ["fail"], "FORBIDDEN"),
        ("overflow", {"overflow": {"number": None, "numbers": []}}, ["overflow", "number"], "BAD_INPUT"),
        ("overflowInAList", None, ["overflowInAList", "numbers", 1], "BAD_INPUT"),
    ],
)
async def test_what_its_plan_cannot_show_is_told_without_a_second_run(
    running: Running, mutation: str, data: Any, path: list[str | int], code: str
) -> None:
    core = strawberry.Schema(query=Nothing, mutation=Mutations)._schema
    executor = Executor(core, DocumentLimits(tokens=100, depth=5, fields=10, aliases=5), cache_characters=1000)
    request = GraphQLRequest(
        f"mutation ($name: String!) {{ {mutation}(name: $name) {{ number numbers }} }}", None, {"name": mutation}
    )
    RUNS.clear()
    response = await executor.run(
        executor.prepare(request.query), request, Context(running.runtime.services, None, "127.0.0.1")
    )
    assert [mutation] == RUNS
    assert response["data"] == data
    (error,) = response["errors"]
    assert (error["path"], error["extensions"]["code"]) == (path, code)


@pytest.mark.parametrize(
    "document",
    [
        'mutation { metricsPublish(input: { viewerToken: "none", heartbeats: [] }) { accepted } }',
        "mutation ($token: String!) { metricsPublish(input: { viewerToken: $token, heartbeats: [] }) { accepted } }",
        "mutation ($input: MetricsPublishInput!) { __typename metricsPublish(input: $input) { accepted } }",
        """mutation ($input: MetricsPublishInput!) {
          metricsPublish(input: $input) { accepted } again: metricsPublish(input: $input) { accepted }
        }""",
    ],
)
async def test_other_forms_are_left_to_graphql_core(client: Client, document: str) -> None:
    before = operations("general")
    variables = {"input": {"viewerToken": "none", "heartbeats": []}, "token": "none"}
    answer = await client.execute(document, variables if "$" in document else None)
    assert operations("general") == before + 1
    assert answer["errors"][0]["message"] == "`heartbeats` has 0 items; it must have 1 to 20."
