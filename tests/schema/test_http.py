import asyncio
import gzip
import json
from typing import Any, get_args

import httpx
import pytest

from resolvers.errors import Code
from tests.accounts import metric, reached
from tests.client import Client, unique
from tests.conftest import StartServer
from tests.waiting import eventually

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
TYPENAME = b'{"query":"{ __typename }"}'
ANSWER = {"data": {"__typename": "Query"}}
OBJECT = 'The request must be a JSON object with "query".'
QUERY = '"query" must be a string: the GraphQL document.'
ONE_OPERATION = "Must provide operation name if query contains multiple operations."


async def send(client: Client, body: bytes, **headers: str) -> httpx.Response:
    response = await client.http.post("/graphql", content=body, headers={"content-type": JSON, **headers})
    check(response)
    return response


def check(response: httpx.Response) -> None:
    """What holds for every answer: it is JSON, not kept, and its errors have codes of the closed list."""
    assert response.headers["content-type"] in (f"{JSON}; charset=utf-8", f"{GRAPHQL}; charset=utf-8")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    for error in response.json().get("errors", []):
        assert set(error) <= {"message", "locations", "path", "extensions"}
        assert error["extensions"]["code"] in get_args(Code)


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    """Return status, code and message of an answer that is one error without data."""
    (error,) = response.json()["errors"]
    assert set(response.json()) == {"errors"}
    return response.status_code, error["extensions"]["code"], error["message"]


def request(query: str, **more: Any) -> bytes:
    return json.dumps({"query": query, **more}).encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"5", OBJECT),
        (b"null", OBJECT),
        (b'"text"', OBJECT),
        (b"true", OBJECT),
        (b"{}", QUERY),
        (b'{"query":5}', QUERY),
        (b'{"query":null}', QUERY),
        (b'{"query":["{ __typename }"]}', QUERY),
        (b"[]", "Batches are not accepted: send one operation per request."),
        (b"[" + TYPENAME + b"]", "Batches are not accepted: send one operation per request."),
        (b'{"query":"{a}","operationName":5}', '"operationName" must be a string or null.'),
        (b'{"query":"{a}","variables":[]}', '"variables" must be an object or null.'),
        (b'{"query":"{a}","variables":"{}"}', '"variables" must be an object or null.'),
        (b'{"query":"{a}","extensions":5}', '"extensions" must be an object or null.'),
    ],
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_requests_that_are_none(client: Client, accept: str, body: bytes, message: str) -> None:
    response = await send(client, body, accept=accept)
    assert refusal(response) == (400, "BAD_INPUT", message)
    assert response.headers["content-type"] == f"{accept}; charset=utf-8"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"query":"{ __typename }"',
        b'{"query":"\xff"}',
        b'{"query":"\\ud800"}',
        b'{"query":"{ __typename }","variables":{"a":NaN}}',
        b'{"query":"{ __typename }","variables":{"a":' + b"9" * 90_000 + b"}}",
        b"[" * 45_000 + b"]" * 45_000,
        b'{"query":"{ __typename }","variables":{"a":' + b'{"a":' * 15_000 + b"1" + b"}" * 15_001 + b"}",
        gzip.compress(TYPENAME),
    ],
    ids=["empty", "brace", "cut", "utf-8", "surrogate", "nan", "digits", "deep list", "deep variables", "gzip"],
)
async def test_bodies_that_are_not_json(client: Client, body: bytes) -> None:
    status, code, message = refusal(await send(client, body))
    assert (status, code, message.partition(":")[0]) == (400, "BAD_INPUT", "The body is not JSON")


@pytest.mark.parametrize(
    "document",
    [
        "{ channels(first: %s) { nodes { id } } }" % ("9" * 90_000),
        "{ user(username: %s) { id } }" % ("9" * 90_000),
        "{ channels(first: 1e%s) { nodes { id } } }" % ("9" * 90),
        '{ user(username: "\\ud800") { id } }',
        '{ user(username: "',
        "",
        "{ nope }",
        "{ viewer }",
        "{ node(id: {}) { id } }",
    ],
    ids=lambda document: document[:30],
)
async def test_documents_that_are_refused(client: Client, document: str) -> None:
    for accept, status in ((JSON, 200), (GRAPHQL, 400)):
        response = await send(client, request(document), accept=accept)
        assert refusal(response)[:2] == (status, "BAD_INPUT")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (request("query A { __typename } query B { viewer { id } }"), ONE_OPERATION),
        (request("query A { __typename } query B { viewer { id } }", operationName=""), ONE_OPERATION),
        (request("query A { __typename }", operationName="X"), "Unknown operation named 'X'."),
        (request("query ($a: Int!) { channels(first: $a) { nodes { id } } }"), None),
        (request("query ($a: Int!) { channels(first: $a) { nodes { id } } }", variables={"a": "1"}), None),
        (request("query ($a: Int) { channels(first: $a) { nodes { id } } }", variables={"a": 2**31}), None),
        (request("query ($a: Int) { channels(first: $a) { nodes { id } } }", variables={"a": 10**4000}), None),
    ],
)
async def test_operations_that_cannot_run(client: Client, body: bytes, message: str | None) -> None:
    for accept, status in ((JSON, 200), (GRAPHQL, 400)):
        found = refusal(await send(client, body, accept=accept))
        assert found == (status, "BAD_INPUT", message or found[2])


async def test_the_named_operation_runs(client: Client) -> None:
    document = "query A { __typename } query B { viewer { id } }"
    assert (await send(client, request(document, operationName="A"))).json() == ANSWER
    assert (await send(client, request(document, operationName="B"))).json() == {"data": {"viewer": None}}


async def test_an_error_in_a_field_comes_with_data(client: Client) -> None:
    for accept in (JSON, GRAPHQL):
        response = await send(client, request('{ __typename node(id: "wrong") { id } }'), accept=accept)
        assert response.status_code == 200
        assert response.json() == {
            "data": {"__typename": "Query", "node": None},
            "errors": [
                {
                    "message": "`id` is not an id: pass the `id` of an object on unchanged.",
                    "locations": [{"line": 1, "column": 14}],
                    "path": ["node"],
                    "extensions": {"code": "BAD_INPUT"},
                }
            ],
        }


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("APPLICATION/JSON", JSON),
        (f"{JSON}; charset=utf-8", JSON),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON};q=0.4, {GRAPHQL};q=0.5", GRAPHQL),
        (f"{GRAPHQL};q=0.4, {JSON};q=0.5", JSON),
        (f"{GRAPHQL};q=0, */*;q=0.1", JSON),
        (f"text/html, {GRAPHQL};q=0.1", GRAPHQL),
        ("text/html", None),
        (f"{JSON};q=0", None),
        (f"{JSON};q=wrong", None),
        ("application/xml, image/*", None),
    ],
)
async def test_the_type_of_the_answer(client: Client, accept: str, chosen: str | None) -> None:
    response = await send(client, TYPENAME, accept=accept)
    if chosen is None:
        message = f"The response is {GRAPHQL}, {JSON} or text/event-stream; accept one of them."
        assert refusal(response) == (406, "BAD_INPUT", message)
    else:
        assert (response.status_code, response.json()) == (200, ANSWER)
        assert response.headers["content-type"] == f"{chosen}; charset=utf-8"


@pytest.mark.parametrize("content_type", [JSON, f"{JSON};charset=UTF-8", "Application/JSON; Charset=utf-8"])
async def test_content_types_that_are_read(client: Client, content_type: str) -> None:
    assert (await send(client, TYPENAME, **{"content-type": content_type})).json() == ANSWER


@pytest.mark.parametrize(
    ("headers", "offered"),
    [
        ({"content-type": "application/jsonx"}, ("accept", JSON)),
        ({"content-type": f"{JSON}; charset=latin1"}, ("accept", JSON)),
        ({"content-type": "application/graphql"}, ("accept", JSON)),
        ({"content-type": ""}, ("accept", JSON)),
        ({"content-encoding": "gzip"}, ("accept-encoding", "identity")),
    ],
)
async def test_content_that_is_not_read(client: Client, headers: dict[str, str], offered: tuple[str, str]) -> None:
    response = await send(client, gzip.compress(TYPENAME) if "content-encoding" in headers else TYPENAME, **headers)
    assert refusal(response)[:2] == (415, "BAD_INPUT")
    assert response.headers[offered[0]] == offered[1]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods(client: Client, method: str) -> None:
    response = await client.http.request(method, "/graphql", content=TYPENAME, headers={"content-type": JSON})
    check(response)
    assert refusal(response) == (405, "BAD_INPUT", "Queries need GET or POST, mutations POST.")
    assert response.headers["allow"] == "GET, POST"


async def test_queries_by_get(client: Client) -> None:
    user = await client.register(unique("Get"))
    document = "query A($u: String!) { user(username: $u) { username } } query B { __typename }"
    variables = json.dumps({"u": user.username})
    parameters = {"query": document, "variables": variables, "operationName": "A", "extensions": "{}"}
    response = await client.http.get("/graphql", params=parameters)
    check(response)
    assert response.json() == {"data": {"user": {"username": user.username}}}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, QUERY),
        ({"query": "{ __typename }", "variables": "{"}, '"variables" is not JSON: Input data was truncated'),
        ({"query": "{ __typename }", "variables": "5"}, '"variables" must be an object or null.'),
        ({"query": "{ __typename }", "extensions": "[]"}, '"extensions" must be an object or null.'),
    ],
)
async def test_gets_that_are_refused(client: Client, parameters: dict[str, str], message: str) -> None:
    response = await client.http.get("/graphql", params=parameters)
    check(response)
    assert refusal(response) == (400, "BAD_INPUT", message)


async def test_subscriptions_need_a_websocket_or_a_stream(client: Client) -> None:
    user = await client.register()
    document = f'subscription {{ channelChanged(channelId: "{user.channel_id}") {{ channel {{ id }} }} }}'
    message = "Subscriptions need a websocket with the protocol graphql-transport-ws, or to accept text/event-stream."
    expected = (400, "BAD_INPUT", message)
    assert refusal(await send(client, request(document))) == expected
    assert refusal(await send(client, request(document), accept=GRAPHQL)) == expected
    assert refusal(await client.http.get("/graphql", params={"query": document})) == expected


async def test_bodies_have_a_greatest_size(start_server: StartServer) -> None:
    async with start_server(worker=False, max_request_bytes=2000) as server:
        client = Client(server.url)
        expected = (413, "TOO_COSTLY", "The body is larger than 2000 bytes.")
        before = await metric(server.url, reached("request_bytes"))
        assert (await send(client, TYPENAME.ljust(2000))).json() == ANSWER
        assert await metric(server.url, reached("request_bytes")) == before
        assert refusal(await send(client, TYPENAME.ljust(2001))) == expected
        assert await metric(server.url, reached("request_bytes")) == before + 1

        async def pieces() -> Any:
            for _ in range(3):
                yield b" " * 1000

        # Without a Content-Length only the reading tells.
        response = await client.http.post("/graphql", content=pieces(), headers={"content-type": JSON})
        assert refusal(response) == expected
        assert await metric(server.url, reached("request_bytes")) == before + 2
        assert (await send(client, TYPENAME)).json() == ANSWER
        await client.aclose()


async def test_refusals_are_short_and_say_nothing_of_the_server(client: Client) -> None:
    digits = "9" * 90_000
    number = "A number has more digits than any type accepts."
    for document, expected in (
        (f"{{ channels(first: {digits}) {{ nodes {{ id }} }} }}", number),
        (f"{{ channels(first: -{digits}) {{ nodes {{ id }} }} }}", number),
        (f"{{ {'x' * 90_000} }}", f"Cannot query field '{'x' * 90_000}"[:1000] + "…"),
    ):
        assert refusal(await send(client, request(document)))[2] == expected


@pytest.mark.parametrize(
    ("framing", "piece"),
    [("content-length: 500", b"{"), ("transfer-encoding: chunked", b"zz\r\n")],
    ids=["leaves early", "no chunk"],
)
async def test_a_body_that_breaks_off_is_the_clients_fault(server_url: str, framing: str, piece: bytes) -> None:
    code = 'streamcat_request_errors_total{code="%s"}'
    bad, internal = [await metric(server_url, code % name) for name in ("BAD_INPUT", "INTERNAL")]
    address = httpx.URL(server_url)
    _, writer = await asyncio.open_connection(address.host, address.port)
    head = f"POST /graphql HTTP/1.1\r\nhost: {address.netloc.decode()}\r\ncontent-type: {JSON}\r\n{framing}\r\n\r\n"
    writer.write(head.encode() + piece)
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    async def refused() -> bool:
        return await metric(server_url, code % "BAD_INPUT") == bad + 1

    await eventually(refused, "the refusal")
    assert await metric(server_url, code % "INTERNAL") == internal


async def test_lookups_of_what_cannot_be_a_name(client: Client) -> None:
    document = "query ($n: String!) { user(username: $n) { id } channel(by: { name: $n }) { id } }"
    for name in ("a\0b", "\0", "", "x" * 50_000, "\U0001f600", "'; DROP TABLE users; --", "%", "_"):
        assert await client.data(document, {"n": name}) == {"user": None, "channel": None}
    for document in (
        "query ($n: ID!) { node(id: $n) { id } }",
        "query ($n: String!) { channels(after: $n) { nodes { id } } }",
        "query ($n: ID!) { channel(by: { id: $n }) { id } }",
    ):
        for value in ("\0", "a\0b", "", "é", "VXNlcjoA", "WyJjcmVhdGVkIiwiXHUwMDAwIl0", "x" * 50_000):
            error = await client.error(document, {"n": value})
            assert error["extensions"] == {"code": "BAD_INPUT"}
