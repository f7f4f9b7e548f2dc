import json
import logging
import secrets
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from models import Channel, User, uuid7
from resolvers.auth import SignedIn
from resolvers.context import SessionCookie
from schema.documents import GraphQLRequest
from schema.mutations.account import (
    PasswordChangeInput,
    SessionCreateInput,
    SessionCreatePayload,
    UserDeleteInput,
    UserRegisterInput,
    UserRegisterPayload,
)
from server.settings import Settings
from tests.accounts import PASSWORD_CHANGE, SIGN_IN, SIGN_OUT, VIEWER, sql
from tests.client import REGISTER, Client, Registered, open_socket, unique
from tests.conftest import Emulator, Running

CHANNEL = """
query Channel($name: String!) {
  channel(by: { name: $name }) { viewerCanManage broadcast { ingestUrl arn streamKey } }
}
"""
# Every way from the root to a channel.
PATHS = """
query Paths($name: String!, $channel: ID!, $user: ID!) {
  channel(by: { id: $channel }) { ...C }
  user(username: $name) {
    channel { ...C } chatRoom { owner { channel { ...C } } } stage { owner { channel { ...C } } }
  }
  node(id: $channel) { ...C }
  nodes(ids: [$user]) { ... on User { channel { owner { channel { ...C } } } } }
  channels(first: 100) { nodes { ...C } edges { node { ...C } } }
}
fragment C on Channel { name viewerCanManage broadcast { streamKey } }
"""
PROVISION = "mutation { channelProvision { user { username channel { provisioning } } } }"
UNAUTHENTICATED = {
    "message": "Sign in first: send `Authorization: Bearer <token>` from sessionCreate.",
    "extensions": {"code": "UNAUTHENTICATED"},
}


async def account(emulator: Emulator, running: Running, user: Registered) -> dict[str, Any]:
    """Return what AWS holds for the user's channel."""
    ((arn,),) = await sql(running.runtime, "SELECT arn FROM channels WHERE name = :name", name=user.username)
    aws = running.runtime.aws
    channel = (await aws.call("ivs", "get_channel", arn=arn))["channel"]
    (key,) = (await aws.call("ivs", "list_stream_keys", channelArn=arn))["streamKeys"]
    value = (await aws.call("ivs", "get_stream_key", arn=key["arn"]))["streamKey"]["value"]
    return {"arn": arn, "ingestUrl": f"rtmps://{channel['ingestEndpoint']}:443/app/", "streamKey": value}


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
async def test_only_the_owner_sees_what_broadcasting_needs(
    client: Client, running: Running, emulator: Emulator, spelled: Any
) -> None:
    owner, stranger = await client.register(unique("Owner")), await client.register()
    name = spelled(owner.username)
    truth = await account(emulator, running, owner)
    assert truth["streamKey"].startswith("sk_us-east-1_")
    nothing = {"channel": {"viewerCanManage": False, "broadcast": None}}
    assert await client.data(CHANNEL, {"name": name}) == nothing
    assert await client.data(CHANNEL, {"name": name}, token=stranger.token) == nothing
    mine = {"channel": {"viewerCanManage": True, "broadcast": truth}}
    assert await client.data(CHANNEL, {"name": name}, token=owner.token) == mine
    theirs = await client.data(CHANNEL, {"name": stranger.username}, token=stranger.token)
    assert theirs["channel"]["broadcast"]["streamKey"] not in ("", truth["streamKey"])


def channels_in(value: Any) -> list[dict[str, Any]]:
    """Return every channel in an answer, wherever it stands."""
    if isinstance(value, list):
        return [found for item in value for found in channels_in(item)]
    if not isinstance(value, dict):
        return []
    here = [value] if "viewerCanManage" in value else []
    return here + [found for item in value.values() for found in channels_in(item)]


async def test_no_way_through_the_graph_shows_more(client: Client) -> None:
    owner, stranger = await client.register(), await client.register()
    variables = {"name": owner.username, "channel": owner.channel_id, "user": owner.id}
    for token, me in ((None, None), (stranger.token, stranger.username), (owner.token, owner.username)):
        found = channels_in(await client.data(PATHS, variables, token=token))
        assert len([channel for channel in found if channel["name"] == owner.username]) == 8
        for channel in found:
            mine = channel["name"] == me
            assert (channel["viewerCanManage"], channel["broadcast"] is not None) == (mine, mine)


async def test_a_subscription_shows_secrets_to_the_owner_alone(client: Client, server_url: str) -> None:
    owner, stranger = await client.register(), await client.register()
    document = """
    subscription Watch($id: ID!) {
      channelChanged(channelId: $id) { channel { viewerCanManage broadcast { streamKey } } }
    }
    """
    for token, allowed in ((None, False), (stranger.token, False), (owner.token, True)):
        async with open_socket(server_url, token) as socket:
            await socket.subscribe("1", document, {"id": owner.channel_id})
            channel = (await socket.next("1"))["channelChanged"]["channel"]
            assert (channel["viewerCanManage"], channel["broadcast"] is not None) == (allowed, allowed)


@pytest.mark.parametrize("document", [SIGN_OUT, PROVISION])
async def test_guests_may_not_change_what_is_somebodys(client: Client, server_url: str, document: str) -> None:
    (field,) = [name for name in ("sessionDelete", "channelProvision") if name in document]
    error = await client.error(document)
    assert error == {**UNAUTHENTICATED, "locations": [{"line": 1, "column": 12}], "path": [field]}
    async with open_socket(server_url) as socket:
        await socket.subscribe("1", document)
        message = await socket.receive()
        assert message["payload"]["data"] is None
        assert message["payload"]["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


async def test_mutations_act_for_the_viewer_alone(client: Client) -> None:
    one, two = await client.register(), await client.register()
    ready = {"username": one.username, "channel": {"provisioning": "READY"}}
    assert await client.data(PROVISION, token=one.token) == {"channelProvision": {"user": ready}}
    assert await client.data(SIGN_OUT, token=one.token) == {"sessionDelete": {"user": {"username": one.username}}}
    assert (await client.post(VIEWER, token=one.token)).status_code == 401
    assert await client.data(VIEWER, token=two.token) == {"viewer": {"username": two.username}}


async def test_secrets_are_in_no_log(
    client: Client, running: Running, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    password, name = f"secret {secrets.token_hex(8)}", unique("quiet")
    caplog.set_level(logging.DEBUG)
    user = await client.register(name, password)
    payload = (await client.data(SIGN_IN, {"input": {"username": name, "password": password}}))["sessionCreate"]
    await client.data(SIGN_IN, {"input": {"username": name, "password": password + "x"}})
    new = f"secret {secrets.token_hex(8)}"
    for current in (new, password):
        await client.data(
            PASSWORD_CHANGE, {"input": {"currentPassword": current, "newPassword": new}}, token=user.token
        )
    shown = await client.data(CHANNEL, {"name": name}, token=user.token)
    async with open_socket(running.url, user.token) as socket:
        await socket.subscribe("1", CHANNEL, {"name": name})
        assert await socket.next("1") == shown
    await client.data(SIGN_OUT, token=user.token)
    statement = "SELECT password_hash FROM users WHERE username = :name"
    ((password_hash,),) = await sql(running.runtime, statement, name=name)
    secret = [user.token, payload["token"], password, new, password_hash, shown["channel"]["broadcast"]["streamKey"]]
    # What the test's own clients log is theirs: they know the secrets.
    ours = [
        record for record in caplog.records if record.name.partition(".")[0] not in ("httpx", "httpcore", "websockets")
    ]
    assert {"botocore", "aiobotocore", "uvicorn"} <= set(logging.root.manager.loggerDict)
    text = "\n".join(logging.Formatter().format(record) for record in ours)
    # Pieces too: some libraries shorten what they log.
    assert [one for one in secret if one[-20:] in text or one[:20] in text] == []


async def test_secrets_are_in_no_error(client: Client) -> None:
    owner = await client.register()
    shown = await client.data(CHANNEL, {"name": owner.username}, token=owner.token)
    key = shown["channel"]["broadcast"]["streamKey"]
    documents = [
        "{ viewer { channel { broadcast { streamKey { nope } } } } }",
        "{ viewer { channel { broadcast { streamKey nope } } } }",
        '{ viewer { channel { broadcast { streamKey } } } node(id: "wrong") { id } }',
    ]
    for document in documents:
        body = await client.execute(document, token=owner.token)
        assert body["errors"]
        assert key not in json.dumps(body["errors"])
        assert owner.token not in json.dumps(body)


async def test_secrets_are_in_no_repr(client: Client, running: Running) -> None:
    owner = await client.register()
    secret = "a secret of the tests"
    values = [
        User(id=uuid7(), username="name", password_hash=secret),
        Channel(id=uuid7(), name="name", stream_key_sealed=secret.encode()),
        SignedIn(User(id=uuid7()), secret, datetime.now(UTC)),
        Settings(secret_key=(secret,), database_url=f"postgresql://name:{secret}@host/database"),
        SessionCookie(secret),
        GraphQLRequest(REGISTER + secret, "Register", {"password": secret}),
        UserRegisterInput(username="name", password=secret),
        SessionCreateInput(username="name", password=secret),
        PasswordChangeInput(current_password=secret, new_password=secret),
        UserDeleteInput(password=secret),
        UserRegisterPayload(token=secret),
        SessionCreatePayload(token=secret),
    ]
    assert [type(value) for value in values if secret in repr(value)] == []
    # Everything the process holds, down to its leaves, says nothing of its keys either.
    runtime = running.runtime
    seen = [repr(getattr(each, field.name)) for each in (runtime, runtime.services) for field in fields(each)]
    for key in (*runtime.resolved.secret_keys, runtime.resolved.database_url, owner.token):
        assert [text for text in seen if key in text] == []
