import json
from typing import Any

import pytest
from graphql import get_introspection_query

from schema.limits import DocumentLimitsRule
from tests.accounts import metric, reached
from tests.client import Client, open_socket, unique
from tests.conftest import Running, StartServer

HIT, MISS = 'streamcat_documents_total{cache="hit"}', 'streamcat_documents_total{cache="miss"}'
NAMES = "__typename " * 8
OWNER = "fragment F on Channel { owner { id } }"


def doubling(levels: int, last: str) -> str:
    """Return a short document that asks for `last` two to the power of `levels` times."""
    fragments = [f"fragment F{level} on Query {{ ...F{level + 1} ...F{level + 1} }}" for level in range(levels)]
    return " ".join(["{ ...F0 }", *fragments, f"fragment F{levels} on Query {{ {last} }}"])


async def refused(client: Client, document: str) -> str:
    """Return the message of the one error, whose code is TOO_COSTLY, of an operation that did not run."""
    body = await client.execute(document)
    assert set(body) == {"errors"}
    assert [error["extensions"] for error in body["errors"]] == [{"code": "TOO_COSTLY"}]
    message: str = body["errors"][0]["message"]
    return message


@pytest.mark.parametrize(
    ("limit", "allowed", "at", "above"),
    [
        ("depth", 3, "{ channels { nodes { id } } }", "{ channels { nodes { owner { id } } } }"),
        (
            "depth",
            3,
            "{ ... on Query { channels { ... { nodes { ...F } } } } } fragment F on Channel { id }",
            f"{{ channels {{ nodes {{ ...F }} }} }} {OWNER}",
        ),
        ("fields", 4, "{ __typename viewer { id username } }", "{ __typename viewer { id username createdAt } }"),
        (
            "fields",
            4,
            "{ viewer { ...F ...F id } } fragment F on User { id }",
            "{ viewer { ...F ...F ...F id } } fragment F on User { id }",
        ),
        ("aliases", 2, "{ a: __typename b: __typename }", "{ a: __typename b: viewer { c: id } }"),
        (
            "aliases",
            2,
            "{ ...F ...F } fragment F on Query { a: __typename }",
            "{ ...F ...F ...F } fragment F on Query { a: __typename }",
        ),
    ],
    ids=["depth", "depth of fragments", "fields", "fields of fragments", "aliases", "aliases of fragments"],
)
async def test_limits_on_operations(start_server: StartServer, limit: str, allowed: int, at: str, above: str) -> None:
    setting: dict[str, Any] = {f"max_document_{limit}": allowed}
    async with start_server(worker=False, **setting) as server:
        client, counter = Client(server.url), reached(f"document_{limit}")
        before = await metric(server.url, counter)
        await client.data(at)
        assert await metric(server.url, counter) == before
        message = f"The operation has {limit} {allowed + 1}; at most {allowed} is accepted."
        assert await refused(client, above) == message
        assert await metric(server.url, counter) == before + 1
        async with open_socket(server.url) as socket:
            await socket.subscribe("1", above)
            answer = await socket.receive()
            assert (answer["type"], answer["payload"][0]["extensions"]) == ("error", {"code": "TOO_COSTLY"})
            await socket.subscribe("1", at)
            await socket.next("1")
        assert await metric(server.url, counter) == before + 2
        await client.aclose()


async def test_limit_on_tokens(start_server: StartServer) -> None:
    async with start_server(worker=False, max_document_tokens=10) as server:
        client, counter = Client(server.url), reached("document_tokens")
        before = await metric(server.url, counter)
        await client.data(f"{{ {NAMES} }}")
        assert await metric(server.url, counter) == before
        message = "Syntax Error: Document contains more than 10 tokens. Parsing aborted."
        assert await refused(client, f"{{ {NAMES} __typename }}") == message
        assert await metric(server.url, counter) == before + 1
        await client.aclose()


async def test_one_document_can_pass_several_limits(client: Client) -> None:
    document = "{ ...F0 ...F1 }" + doubling(9, "a: channels { nodes { id } }").removeprefix("{ ...F0 }")
    errors = (await client.execute(document))["errors"]
    assert [error["message"].partition(";")[0] for error in errors] == [
        f"The operation has fields {3 * (2**9 + 2**8)}",
        f"The operation has aliases {2**9 + 2**8}",
    ]
    assert {error["extensions"]["code"] for error in errors} == {"TOO_COSTLY"}


@pytest.mark.parametrize(
    ("limit", "document"),
    [
        ("document_nesting", "{ a" * 600 + " }" * 600),
        ("document_nesting", f"{{ nodes(ids: {'[' * 600}{']' * 600}) {{ id }} }}"),
        (
            "document_validation",
            "{ ...F0 }"
            + "".join(f"fragment F{level} on Query{{...{{...F{level + 1}}}}}" for level in range(150))
            + "fragment F150 on Query { __typename }",
        ),
    ],
    ids=["fields", "lists", "fragments"],
)
async def test_documents_that_nest_too_deep_to_be_looked_at(
    client: Client, server_url: str, limit: str, document: str
) -> None:
    before = await metric(server_url, reached(limit))
    assert (await refused(client, document)).endswith("aborted.")
    assert await metric(server_url, reached(limit)) == before + 1


@pytest.mark.parametrize(
    ("last", "name", "count"),
    [("__typename", "fields", 2**60), ("a: __typename", "fields", 2**60), ("...F0", "", 0)],
    ids=["fields", "aliases", "cycle"],
)
async def test_doubling_fragments_are_judged_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch, last: str, name: str, count: int
) -> None:
    looks = []
    look = DocumentLimitsRule._selection

    def counted(rule: Any, selection: Any) -> Any:
        looks.append(selection)
        # Measuring at every spread would take for ever, and this test with it.
        assert len(looks) < 1000
        return look(rule, selection)

    monkeypatch.setattr(DocumentLimitsRule, "_selection", counted)
    body = await client.execute(doubling(60, last))
    messages = [error["message"] for error in body["errors"]]
    if name:
        assert messages[0] == f"The operation has {name} {count}; at most 500 is accepted."
    else:
        assert "Cannot spread fragment" in messages[0]
    # Each of the document's selections is looked at once: 1 of the operation, 2 of each fragment, 1 of the last.
    assert len(looks) == 1 + 2 * 60 + 1


@pytest.mark.parametrize("extras", [False, True])
async def test_introspection_works(client: Client, extras: bool) -> None:
    options = dict.fromkeys(
        ("specified_by_url", "directive_is_repeatable", "schema_description", "input_value_deprecation"), extras
    )
    data = await client.data(get_introspection_query(**options))
    assert {"Query", "Mutation", "Subscription"} <= {each["name"] for each in data["__schema"]["types"]}


async def test_introspection_nests_only_so_far(client: Client, server_url: str) -> None:
    before = await metric(server_url, reached("document_introspection"))
    await client.data("{ __schema { types { fields { type { fields { name } } } } } }")
    assert await metric(server_url, reached("document_introspection")) == before
    deep = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }"
    assert await refused(client, deep) == "Maximum introspection depth exceeded"
    assert await metric(server_url, reached("document_introspection")) == before + 1


async def test_documents_are_remembered_within_a_bound(start_server: StartServer) -> None:
    async with start_server(worker=False, document_cache_characters=100) as server:
        client = Client(server.url)

        async def asked(document: str) -> str:
            """Send it; return whether it was remembered."""
            before = [await metric(server.url, sample) for sample in (HIT, MISS)]
            await client.execute(document)
            after = [await metric(server.url, sample) for sample in (HIT, MISS)]
            return {(1, 0): "hit", (0, 1): "miss"}[after[0] - before[0], after[1] - before[1]]

        one, two, three = (f"query {letter} {{ __typename }}".ljust(40) for letter in "ABC")
        assert [await asked(each) for each in (one, one, two, one)] == ["miss", "hit", "miss", "hit"]
        # The third makes 120 characters; the one that was not used for longest goes.
        assert [await asked(each) for each in (three, one, three, two)] == ["miss", "hit", "hit", "miss"]
        assert [await asked(each) for each in (three, two, one)] == ["hit", "hit", "miss"]
        # What is longer than everything that may be kept pushes nothing out, and neither does what is wrong.
        large, wrong = "{ __typename }".ljust(101), "{ nope }"
        assert [await asked(each) for each in (large, large, wrong, wrong)] == ["miss"] * 4
        assert [await asked(each) for each in (two, one)] == ["hit", "hit"]
        await client.aclose()


async def test_a_remembered_document_gets_its_own_variables(client: Client, running: Running) -> None:
    users = [await client.register(unique("Cached")) for _ in range(2)]
    document = "query ($u: String!) { user(username: $u) { username } }"
    before = await metric(running.url, HIT)
    for user in (*users, *users):
        data = await client.data(document, {"u": user.username})
        assert json.loads(json.dumps(data)) == {"user": {"username": user.username}}
    assert await metric(running.url, HIT) >= before + 3
