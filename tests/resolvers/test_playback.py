"""Who may watch: our answer at once, Amazon's as soon as it can."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from models import Channel, Follow, uuid7
from resolvers.playback import Playback
from resolvers.viewer_tokens import ViewerTokens
from schema.base import parse_id
from schema.mutations.metrics import MetricsPublishInput
from schema.mutations.playback import PlaybackStartPayload
from tests.accounts import fresh_address, kinds, metric, sql
from tests.client import Client, Registered, open_socket, unique
from tests.conftest import Emulator, Running, StartServer
from tests.players import START, Player, ago, beat, broadcast, new_key, pem
from tests.waiting import eventually

KEYS = [new_key(), new_key()]
ACCESS = """
mutation Access($id: ID!, $access: PlaybackAccess!) {
  channelPlaybackAccessUpdate(input: { channelId: $id, access: $access }) {
    channel { isPrivate playbackAccess playbackUrl }
    errors { __typename ... on UserError { message path } }
  }
}
"""
CHANNEL = "query($id: ID!) { channel(by: { id: $id }) { isPrivate playbackAccess playbackUrl } }"


@pytest.fixture(scope="module")
async def private(start_server: StartServer) -> AsyncIterator[Running]:
    """A server that can have private channels."""
    async with start_server(playback_private_keys=tuple(pem(key) for key in KEYS)) as running:
        yield running


@pytest.fixture
async def door(private: Running, emulator: Emulator) -> AsyncIterator[Client]:
    await emulator.lift_faults()
    client = Client(private.url)
    yield client
    await client.aclose()


async def rule(client: Client, owner: Registered, access: str) -> None:
    data = await client.data(ACCESS, {"id": owner.channel_id, "access": access}, token=owner.token)
    private = access != "PUBLIC"
    channel = data["channelPlaybackAccessUpdate"]["channel"]
    assert (channel["isPrivate"], channel["playbackAccess"]) == (private, access)
    assert (channel["playbackUrl"] is None) == private


async def start(client: Client, owner: Registered, token: str | None = None) -> dict[str, Any]:
    payload: dict[str, Any] = (await client.data(START, {"channelId": owner.channel_id}, token=token))["playbackStart"]
    return payload


async def arn(running: Running, owner: Registered) -> str:
    ((found,),) = await sql(running.runtime, "SELECT arn FROM channels WHERE name = :name", name=owner.username)
    return str(found)


async def authorized(running: Running, owner: Registered) -> bool:
    """Whether Amazon asks for tokens."""
    answer = await running.runtime.aws.call("ivs", "get_channel", arn=await arn(running, owner))
    return bool(answer["channel"]["authorized"])


async def settles(running: Running, owner: Registered, *, private: bool) -> None:
    async def follows() -> bool:
        return await authorized(running, owner) is private

    await eventually(follows, f"Amazon's channel is private: {private}")


def claims_of(token: str, key: EllipticCurvePrivateKey) -> dict[str, Any]:
    """The claims of a playback token, checked with the public key."""
    header, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    der = encode_dss_signature(int.from_bytes(signature[:48]), int.from_bytes(signature[48:]))
    key.public_key().verify(der, token.rpartition(".")[0].encode(), ECDSA(SHA384()))
    assert json.loads(header) == {"alg": "ES384", "typ": "JWT"}
    found: dict[str, Any] = json.loads(claims)
    return found


async def test_anybody_begins_to_watch_a_public_channel(
    client: Client, running: Running, emulator: Emulator, clean: None
) -> None:
    owner = await client.register()
    url = (await client.data(CHANNEL, {"id": owner.channel_id}))["channel"]["playbackUrl"]
    await emulator.control("calls/clear")
    first, second = await start(client, owner), await start(client, owner)
    assert first.pop("viewerToken") != second["viewerToken"]
    assert first.pop("viewerTokenExpiresAt") > ago(-80_000).isoformat()
    assert first == {
        "channel": {"id": owner.channel_id},
        "playbackUrl": url,
        "heartbeatIntervalSeconds": 30.0,
        "errors": [],
    }
    assert [call for call in await emulator.calls() if call["service"] != "sqs"] == []


async def test_a_rule_admits_whom_it_says(door: Client, private: Running) -> None:
    owner, stranger, follower = await door.register(), await door.register(), await door.register()
    _, channel_id = parse_id(owner.channel_id, argument="id")
    _, user_id = parse_id(follower.id, argument="id")
    async with private.runtime.services.sessions() as session, session.begin():
        session.add(Follow(id=uuid7(), user_id=user_id, channel_id=channel_id))
    public = await start(door, owner)
    people = {"guest": None, "stranger": stranger.token, "follower": follower.token, "owner": owner.token}
    for access, admitted in (
        ("SIGNED_IN", {"stranger", "follower", "owner"}),
        ("FOLLOWERS", {"follower", "owner"}),
        ("PUBLIC", set(people)),
    ):
        await rule(door, owner, access)
        found = {name: await start(door, owner, token) for name, token in people.items()}
        assert {name for name, payload in found.items() if not payload["errors"]} == admitted
        for name, payload in found.items():
            if name not in admitted:
                assert [payload[key] for key in ("channel", "playbackUrl", "viewerToken")] == [None] * 3
                assert kinds(payload) == ["PlaybackDenied"]
                assert payload["errors"][0]["path"] == ["input", "channelId"]
            elif access != "PUBLIC":
                url, _, token = payload["playbackUrl"].partition("?token=")
                assert url == public["playbackUrl"]
                claims = claims_of(token, KEYS[0])
                assert set(claims) == {"aws:channel-arn", "aws:viewer-id", "exp"}
                assert claims["aws:channel-arn"] == await arn(private, owner)
                assert 0 < len(claims["aws:viewer-id"]) <= 40
                assert type(claims["exp"]) is int
                assert 200 < claims["exp"] - time.time() <= 300
    viewers = {claims_of((await _token(door, owner, stranger)), KEYS[0])["aws:viewer-id"] for _ in range(2)}
    assert len(viewers) == 2


async def _token(client: Client, owner: Registered, viewer: Registered) -> str:
    await rule(client, owner, "SIGNED_IN")
    return str((await start(client, owner, viewer.token))["playbackUrl"]).partition("?token=")[2]


async def test_amazon_follows_the_rule(door: Client, private: Running) -> None:
    owner = await door.register()
    assert not await authorized(private, owner)
    await rule(door, owner, "FOLLOWERS")
    await settles(private, owner, private=True)
    await rule(door, owner, "SIGNED_IN")
    await rule(door, owner, "PUBLIC")
    # Until Amazon has followed, players need a token even so.
    assert (await start(door, owner))["errors"] == []
    await settles(private, owner, private=False)

    async def told() -> bool:
        statement = "SELECT is_authorized FROM channels WHERE name = :name"
        return (await sql(private.runtime, statement, name=owner.username)) == [(False,)]

    await eventually(told, "nothing is left to be told")
    assert "?" not in (await start(door, owner))["playbackUrl"]


async def test_a_live_channel_waits_for_its_end(door: Client, private: Running, emulator: Emulator) -> None:
    owner = await door.register()
    channel_arn = await arn(private, owner)
    stream = (await emulator.control("broadcasts", {"channelArn": channel_arn}))["streamId"]
    await emulator.control("calls/clear")
    # The encoder is connected: to us the channel is not live yet, to Amazon it is, and it answers Conflict.
    await rule(door, owner, "SIGNED_IN")

    async def refused() -> bool:
        return any(call["error"] == "ConflictException" for call in await emulator.calls("UpdateChannel"))

    await eventually(refused, "Amazon refuses while the channel is live")
    assert kinds(await start(door, owner)) == ["PlaybackDenied"]
    await emulator.control(f"broadcasts/{stream}/start")

    async def live() -> bool:
        document = "query($id: ID!) { channel(by: { id: $id }) { isLive } }"
        return bool((await door.data(document, {"id": owner.channel_id}))["channel"]["isLive"])

    await eventually(live, "the channel is live")
    assert not await authorized(private, owner)
    await emulator.control(f"broadcasts/{stream}/end")
    await settles(private, owner, private=True)


async def test_a_try_that_fails_is_repeated(door: Client, private: Running, emulator: Emulator) -> None:
    owner = await door.register()
    await emulator.fault("UpdateChannel", "throttle", times=2)
    await rule(door, owner, "SIGNED_IN")
    await settles(private, owner, private=True)


async def test_subscribers_hear_of_a_new_rule(door: Client, private: Running) -> None:
    owner = await door.register()
    document = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { playbackAccess } } }"
    async with open_socket(private.url) as socket:
        await socket.subscribe("1", document, {"id": owner.channel_id})
        for access in ("PUBLIC", "FOLLOWERS"):
            await rule(door, owner, access)
            seen = await socket.next("1")
            assert seen == {"channelChanged": {"channel": {"playbackAccess": access}}}


async def test_without_a_key_there_are_no_private_channels(client: Client, running: Running) -> None:
    owner = await client.register()
    for access in ("SIGNED_IN", "FOLLOWERS"):
        data = await client.data(ACCESS, {"id": owner.channel_id, "access": access}, token=owner.token)
        payload = data["channelPlaybackAccessUpdate"]
        assert kinds(payload) == ["PlaybackKeyMissing"]
        assert payload["channel"] is None
    await rule(client, owner, "PUBLIC")
    # A key that was taken away later leaves nothing to sign with.
    statement = "UPDATE channels SET playback_access = 'SIGNED_IN', is_authorized = true WHERE name = :name"
    await sql(running.runtime, statement, name=owner.username)
    assert kinds(await start(client, owner, owner.token)) == ["PlaybackKeyMissing"]


async def test_keys_are_rotated_one_after_the_other(client: Client, start_server: StartServer) -> None:
    old, new = KEYS
    owner = await client.register()
    # At first one key; then the new one beside it, which signs while tokens of the old one are still about; then alone.
    for keys in ([old], [new, old], [new]):
        async with start_server(worker=False, playback_private_keys=tuple(pem(key) for key in keys)) as running:
            door = Client(running.url)
            token = await _token(door, owner, owner)
            assert claims_of(token, keys[0])["aws:channel-arn"] == await arn(running, owner)
            for other in KEYS:
                if other is not keys[0]:
                    with pytest.raises(InvalidSignature):
                        claims_of(token, other)
            await door.aclose()


async def test_one_address_begins_only_so_often(client: Client, running: Running, start_server: StartServer) -> None:
    owner = await client.register()
    async with start_server(worker=False, playback_starts_per_minute_per_address=2) as narrow:
        refused = 'streamcat_rate_refused_total{limit="playback_starts"}'
        before = await metric(narrow.url, refused)
        one, other = (Client(narrow.url, address=fresh_address()) for _ in range(2))
        for _ in range(2):
            await Player.start(one, owner.channel_id)
        payload = await start(one, owner)
        assert kinds(payload) == ["TooManyAttempts"]
        assert 0 < payload["errors"][0]["retryAfterSeconds"] <= 30
        assert [payload[key] for key in ("channel", "playbackUrl", "viewerToken")] == [None] * 3
        assert await metric(narrow.url, refused) == before + 1
        # Even with a token that says who it is.
        assert kinds(await start(one, owner, owner.token)) == ["TooManyAttempts"]
        await Player.start(other, owner.channel_id)
        await one.aclose()
        await other.aclose()


async def test_rules_change_only_so_often(client: Client, start_server: StartServer) -> None:
    owner = await client.register()
    keys = tuple(pem(key) for key in KEYS)
    async with start_server(worker=False, channel_commands_per_minute=2, playback_private_keys=keys) as narrow:
        door = Client(narrow.url)
        await rule(door, owner, "FOLLOWERS")
        await rule(door, owner, "SIGNED_IN")
        variables = {"id": owner.channel_id, "access": "PUBLIC"}
        payload = (await door.data(ACCESS, variables, token=owner.token))["channelPlaybackAccessUpdate"]
        assert kinds(payload) == ["TooManyAttempts"]
        assert payload["channel"] is None
        channel = (await door.data(CHANNEL, {"id": owner.channel_id}))["channel"]
        assert channel["playbackAccess"] == "SIGNED_IN"
        await door.aclose()


async def test_secrets_of_playback_are_in_no_repr_and_no_log(
    door: Client, private: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    owner = await door.register()
    await rule(door, owner, "SIGNED_IN")
    player = await Player.start(door, owner.channel_id, token=owner.token)
    await player.send(beat())
    playback_token = player.url.partition("?token=")[2]
    assert playback_token
    services = private.runtime.services
    viewing = services.viewer_tokens.begin(uuid7())
    objects = [
        private.runtime.settings,
        services,
        services.playback,
        services.viewer_tokens,
        PlaybackStartPayload(playback_url=player.url, viewer_token=player.token),
        MetricsPublishInput(viewer_token=player.token, heartbeats=[]),
        Playback(Channel(id=uuid7()), player.url, player.token, viewing),
    ]
    written = "".join(map(repr, objects))
    logged = "".join(
        record.getMessage()
        for record in caplog.records
        if record.name.partition(".")[0] not in ("httpx", "httpcore", "websockets")
    )
    secrets = [player.token, playback_token, *(line for key in KEYS for line in pem(key).splitlines()[1:-1])]
    for secret in secrets:
        assert secret not in written
        assert secret not in logged


async def test_only_the_owner_decides(door: Client, private: Running, emulator: Emulator) -> None:
    owner, stranger = await door.register(), await door.register()
    await emulator.control("calls/clear")
    variables = {"id": owner.channel_id, "access": "FOLLOWERS"}
    for token, code in ((None, "UNAUTHENTICATED"), (stranger.token, "FORBIDDEN")):
        assert (await door.error(ACCESS, variables, token=token))["extensions"] == {"code": code}
    wrong = {"id": owner.id, "access": "FOLLOWERS"}
    assert (await door.error(ACCESS, wrong, token=owner.token))["extensions"] == {"code": "BAD_INPUT"}
    channel = (await door.data(CHANNEL, {"id": owner.channel_id}))["channel"]
    assert (channel["isPrivate"], channel["playbackAccess"]) == (False, "PUBLIC")
    assert await emulator.calls("UpdateChannel") == []


async def test_what_cannot_be_watched(client: Client, running: Running) -> None:
    owner = await client.register()
    unknown = base64.urlsafe_b64encode(b"Channel:00000000000070008000000000000000").decode().rstrip("=")
    assert kinds((await client.data(START, {"channelId": unknown}))["playbackStart"]) == ["NotFound"]
    assert (await client.error(START, {"channelId": owner.id}))["extensions"] == {"code": "BAD_INPUT"}
    statement = """
    UPDATE channels SET arn = NULL, provisioning = 'FAILED' WHERE name = :name
    """
    await sql(running.runtime, statement, name=owner.username)
    assert kinds(await start(client, owner)) == ["NotReady"]


async def test_being_offline_is_no_refusal_and_being_live_none_either(client: Client, running: Running) -> None:
    owner = await client.register()
    await Player.start(client, owner.channel_id)
    await broadcast(running.runtime, owner.channel_id, ago(60))
    await Player.start(client, owner.channel_id)


def test_viewer_tokens_are_ours_alone() -> None:
    old, new = "o" * 32, "n" * 32
    ours = ViewerTokens([old], lifetime=60)
    viewing = ours.begin(uuid7())
    token = ours.sign(viewing)
    assert ours.read(token) == viewing
    # Rotation: the new key signs, the old one is still believed.
    rotated = ViewerTokens([new, old], lifetime=60)
    assert rotated.read(token) == viewing
    assert ours.read(rotated.sign(viewing)) is None
    assert ViewerTokens([new], lifetime=60).read(token) is None
    assert ours.read(ViewerTokens([old], lifetime=-1).sign(ViewerTokens([old], lifetime=-1).begin(uuid7()))) is None
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    for index in range(len(raw)):
        raw[index] ^= 1
        assert ours.read(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")) is None
        raw[index] ^= 1
    assert [ours.read(text) for text in ("", "x", "ä", "\0", token[:-3], token + "AAAA", unique("t"))] == [None] * 7
    assert old not in repr(ours)
