"""Global ids: any object can be fetched again by its id; anything else is refused in words."""

import base64

import pytest

from tests.client import Client, unique

EVERYTHING = """
query($username: String!) {
  user(username: $username) {
    __typename id
    channel { __typename id }
    chatRoom { __typename id }
    stage { __typename id }
  }
  categories { __typename id }
}
"""


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_every_object_is_found_again(client: Client) -> None:
    user = await client.register()
    data = await client.data(EVERYTHING, {"username": user.username.upper()})
    found = data["user"]
    objects = [found, found["channel"], found["chatRoom"], found["stage"], data["categories"][0]]
    pairs = [(each["__typename"], each["id"]) for each in objects]
    assert [name for name, _ in pairs] == ["User", "Channel", "ChatRoom", "Stage", "Category"]

    ids = [each_id for _, each_id in pairs]
    nodes = (await client.data("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", {"ids": ids}))["nodes"]
    assert [(node["__typename"], node["id"]) for node in nodes] == pairs
    for name, each_id in pairs:
        node = (await client.data("query($id: ID!) { node(id: $id) { __typename id } }", {"id": each_id}))["node"]
        assert node == {"__typename": name, "id": each_id}


async def test_unknown_objects_are_null_in_their_place(client: Client) -> None:
    user = await client.register()
    unknown = encoded("User:00000000000070008000000000000000")
    document = """
    query($ids: [ID!]!, $id: ID!, $channel: ID!) {
      nodes(ids: $ids) { id }
      node(id: $id) { id }
      channel(by: { id: $channel }) { id }
    }
    """
    channel = encoded("Channel:00000000000070008000000000000000")
    data = await client.data(document, {"ids": [unknown, user.id, unknown], "id": unknown, "channel": channel})

    assert data == {"nodes": [None, {"id": user.id}, None], "node": None, "channel": None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "`id` is not an id: pass the `id` of an object on unchanged."),
        ("5", "`id` is not an id: pass the `id` of an object on unchanged."),
        (encoded("User:5"), "`id` is not an id: pass the `id` of an object on unchanged."),
        (encoded("User"), "`id` is not an id: pass the `id` of an object on unchanged."),
        (
            encoded("Session:00000000000070008000000000000000"),
            "`id` is not an id: there are no objects of type 'Session'.",
        ),
    ],
)
async def test_what_is_no_id_is_refused(client: Client, given: str, message: str) -> None:
    error = await client.error("query($id: ID!) { node(id: $id) { id } }", {"id": given})

    assert (error["message"], error["path"], error["extensions"]) == (message, ["node"], {"code": "BAD_INPUT"})


async def test_an_id_of_another_type_is_refused(client: Client) -> None:
    user = await client.register()
    error = await client.error("query($id: ID!) { channel(by: { id: $id }) { id } }", {"id": user.id})

    assert error["message"] == "`by.id` is the id of a User; the id of a Channel is needed."


async def test_too_many_ids_are_refused(client: Client) -> None:
    error = await client.error("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 101})

    assert error["message"] == "`ids` has 101 ids; at most 100 are accepted."


@pytest.mark.parametrize("by", ["{}", '{ id: "a", name: "b" }', "{ id: null }"])
async def test_a_channel_is_named_in_one_way(client: Client, by: str) -> None:
    error = await client.error(f"{{ channel(by: {by}) {{ id }} }}")

    assert error["extensions"] == {"code": "BAD_INPUT"}


async def test_names_that_nobody_can_have_are_unknown(client: Client) -> None:
    name = unique("nobody")
    data = await client.data(
        "query($a: String!, $b: String!) { a: user(username: $a) { id } b: channel(by: { name: $b }) { id } }",
        {"a": name, "b": "no\0body"},
    )

    assert data == {"a": None, "b": None}
