"""Tokens for stages: who gets one, for what, how often; and that they are what Amazon accepts."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from server.runtime import Resolved
from tests.accounts import fresh_address, kinds, sql
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.schema.test_node import encoded
from tests.stages import TOKEN, Person, arrives, joins, person, sends

UNKNOWN = encoded("Stage:00000000000070008000000000000000")
BOTH = ["PUBLISH", "SUBSCRIBE"]


@pytest.fixture
async def host(clean: None, client: Client, running: Running) -> Person:
    return await person(client, running.runtime)


@pytest.fixture
async def other(host: Person, client: Client, running: Running) -> Person:
    return await person(client, running.runtime)


async def guest(client: Client, stage_id: str, role: str = "AUDIENCE") -> dict[str, Any]:
    payload: dict[str, Any] = (await client.data(TOKEN, {"input": {"stageId": stage_id, "role": role}}))[
        "stageTokenCreate"
    ]
    return payload


async def test_the_owner_publishes(host: Person, emulator: Emulator, client: Client) -> None:
    payload = await host.does(TOKEN, stageId=host.stage_id, role="HOST")

    assert (payload["errors"], payload["capabilities"], payload["stage"]) == ([], BOTH, {"id": host.stage_id})
    left = datetime.fromisoformat(payload["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=718) < left <= timedelta(minutes=720)
    (sent,) = await sends(emulator, "CreateParticipantToken")
    assert sent == {
        "stageArn": host.arn,
        "duration": 720,
        "userId": sent["userId"],
        "attributes": {"username": host.name},
        "capabilities": BOTH,
    }
    joined = await joins(emulator, host, payload["token"])
    assert joined["participantId"] == payload["participantId"]
    await arrives(client, host.stage_id, [host.name])


async def test_anybody_who_is_signed_in_watches(host: Person, other: Person, emulator: Emulator) -> None:
    payload = await other.does(TOKEN, stageId=host.stage_id, role="AUDIENCE")

    assert (payload["errors"], payload["capabilities"]) == ([], ["SUBSCRIBE"])
    (sent,) = await sends(emulator, "CreateParticipantToken")
    assert sent["capabilities"] == ["SUBSCRIBE"]
    with pytest.raises(AssertionError, match="The token does not allow this"):
        await joins(emulator, host, payload["token"])
    await joins(emulator, host, payload["token"], publish=False)


async def test_only_who_is_invited_publishes_with_the_owner(host: Person, other: Person, emulator: Emulator) -> None:
    refused = await other.does(TOKEN, stageId=host.stage_id, role="HOST")
    assert kinds(refused) == ["NotInvited"]
    assert (refused["token"], refused["stage"], await sends(emulator, "CreateParticipantToken")) == (None, None, [])

    invitation = await host.invites(other)
    for _ in range(2):
        payload = await other.does(TOKEN, stageId=host.stage_id, role="HOST")
        assert (payload["errors"], payload["capabilities"]) == ([], BOTH)
        assert [payload[name] for name in ("participantId", "expiresAt")] == [
            invitation[name] for name in ("participantId", "expiresAt")
        ]
    # However often it is asked for, it is one token.
    assert len(await sends(emulator, "CreateParticipantToken")) == 1
    await joins(emulator, host, payload["token"])


async def test_guests_watch_only_what_is_live(host: Person, client: Client, emulator: Emulator) -> None:
    assert kinds(await guest(client, host.stage_id)) == ["NotLive"]
    assert await sends(emulator, "CreateParticipantToken") == []

    await emulator.control("stages/participants", {"stageArn": host.arn, "userId": "somebody"})
    await arrives(client, host.stage_id, [None])
    payload = await guest(client, host.stage_id)
    assert (payload["errors"], payload["capabilities"]) == ([], ["SUBSCRIBE"])
    (sent,) = await sends(emulator, "CreateParticipantToken")
    assert (sent["userId"], sent.get("attributes", {}), sent["capabilities"]) == ("guest", {}, ["SUBSCRIBE"])


async def test_guests_never_publish(host: Person, client: Client, emulator: Emulator) -> None:
    error = await client.error(TOKEN, {"input": {"stageId": host.stage_id, "role": "HOST"}})

    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert await sends(emulator, "CreateParticipantToken") == []


async def test_what_is_no_stage(host: Person, client: Client) -> None:
    assert kinds(await host.does(TOKEN, stageId=UNKNOWN, role="HOST")) == ["NotFound"]
    assert kinds(await guest(client, UNKNOWN)) == ["NotFound"]
    assert await host.fails(TOKEN, stageId=host.user.id, role="HOST") == "BAD_INPUT"


async def test_a_stage_that_amazon_has_not_made(host: Person, running: Running, emulator: Emulator) -> None:
    await sql(
        running.runtime,
        "UPDATE stages SET arn = NULL, provisioning = 'FAILED', provision_after = NULL WHERE arn = :arn",
        arn=host.arn,
    )
    assert kinds(await host.does(TOKEN, stageId=host.stage_id, role="HOST")) == ["NotReady"]
    assert await sends(emulator, "CreateParticipantToken") == []


async def test_amazon_s_failure_can_be_repeated(host: Person, emulator: Emulator) -> None:
    await emulator.fault("CreateParticipantToken", "throttle", times=3)
    payload = await host.does(TOKEN, stageId=host.stage_id, role="HOST")
    assert (kinds(payload), payload["token"]) == (["AmazonUnavailable"], None)

    assert (await host.does(TOKEN, stageId=host.stage_id, role="HOST"))["errors"] == []


async def test_how_often(clean: None, start_server: StartServer) -> None:
    limits = {"stage_tokens_per_hour_per_user": 2, "stage_tokens_per_hour_per_address": 1}
    async with start_server(worker=False, **limits) as running:
        client, one, two = (Client(running.url, address=fresh_address()) for _ in range(3))
        host = await person(client, running.runtime)
        for _ in range(2):
            assert (await host.does(TOKEN, stageId=host.stage_id, role="HOST"))["errors"] == []
        (refused,) = (await host.does(TOKEN, stageId=host.stage_id, role="AUDIENCE"))["errors"]
        assert (refused["__typename"], 1700 < refused["retryAfterSeconds"] <= 1801) == ("TooManyAttempts", True)

        await sql(running.runtime, "UPDATE stages SET live_since = now() WHERE arn = :arn", arn=host.arn)
        told = [kinds(await guest(each, host.stage_id)) for each in (one, one, two)]
        assert told == [[], ["TooManyAttempts"], []]
        for each in (client, one, two):
            await each.aclose()


async def test_the_operators_may_keep_guests_out(clean: None, start_server: StartServer, client: Client) -> None:
    async with start_server(worker=False, stage_guests=False) as running:
        ours = Client(running.url)
        host = await person(ours, running.runtime)
        await sql(running.runtime, "UPDATE stages SET live_since = now() WHERE arn = :arn", arn=host.arn)
        error = await ours.error(TOKEN, {"input": {"stageId": host.stage_id, "role": "AUDIENCE"}})
        assert error["extensions"] == {"code": "UNAUTHENTICATED"}
        assert (await host.does(TOKEN, stageId=host.stage_id, role="AUDIENCE"))["errors"] == []
        await ours.aclose()


class Signing:
    """A server that signs by itself, and the public half of its key."""

    def __init__(self, running: Running, arn: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.running = running
        self.arn = arn
        self._public = key.public_key()

    def read(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims of a token whose signature is right."""
        header, claims, signature = token.split(".")
        raw = unbase(signature)
        assert len(raw) == 96
        der = encode_dss_signature(int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big"))
        self._public.verify(der, f"{header}.{claims}".encode(), ec.ECDSA(SHA384()))
        return json.loads(unbase(header)), json.loads(unbase(claims))


def unbase(part: str) -> bytes:
    assert "=" not in part
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.fixture
async def signing(clean: None, start_server: StartServer, running: Running) -> AsyncIterator[Signing]:
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    aws = running.runtime.aws._clients["ivs-realtime"]
    imported = (await aws.import_public_key(publicKeyMaterial=public))["publicKey"]["arn"]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    async with start_server(worker=False, stage_private_key=pem, stage_public_key_arn=imported) as own:
        assert pem.splitlines()[1] not in repr(own.runtime.services.stage_signer) + repr(own.runtime.settings)
        yield Signing(own, imported, key)
    await aws.delete_public_key(arn=imported)


async def endpoints(running: Running, arn: str) -> dict[str, str]:
    stage = (await running.runtime.aws.call("ivs-realtime", "get_stage", arn=arn))["stage"]
    return {"events_url": stage["endpoints"]["events"], "whip_url": stage["endpoints"]["whip"]}


async def test_with_a_key_we_sign_what_amazon_accepts(signing: Signing, emulator: Emulator) -> None:
    client = Client(signing.running.url)
    host, other = [await person(client, signing.running.runtime) for _ in range(2)]
    urls = await endpoints(signing.running, host.arn)
    await emulator.control("calls/clear")
    payload = await host.does(TOKEN, stageId=host.stage_id, role="HOST")
    watching = await other.does(TOKEN, stageId=host.stage_id, role="AUDIENCE")
    # Not one call: no quota of Amazon's applies.
    assert [call for call in await emulator.calls() if call["service"] == "ivs-realtime"] == []

    header, claims = signing.read(payload["token"])
    assert header == {"alg": "ES384", "typ": "JWT", "kid": signing.arn}
    expires = int(datetime.fromisoformat(payload["expiresAt"]).timestamp())
    (user,) = await sql(signing.running.runtime, "SELECT id FROM users WHERE username = :name", name=host.name)
    assert claims == {
        "exp": expires,
        "iat": expires - 720 * 60,
        "jti": payload["participantId"],
        "resource": host.arn,
        "topic": host.arn.rpartition("/")[2],
        **urls,
        "user_id": user[0].hex,
        "attributes": {"username": host.name},
        "capabilities": {"allow_publish": True, "allow_subscribe": True},
        "version": "1.0",
    }
    assert abs(claims["iat"] - datetime.now(UTC).timestamp()) < 60
    _, claims = signing.read(watching["token"])
    assert claims["capabilities"] == {"allow_publish": False, "allow_subscribe": True}

    assert (await joins(emulator, host, payload["token"]))["participantId"] == payload["participantId"]
    await joins(emulator, host, watching["token"], publish=False)
    await arrives(client, host.stage_id, [host.name])
    forged = payload["token"][:-4] + ("AAAA" if payload["token"][-4:] != "AAAA" else "BBBB")
    with pytest.raises(AssertionError, match="not issued here"):
        await joins(emulator, host, forged)
    await client.aclose()


@pytest.mark.parametrize("days", [None, 13.01])
async def test_the_stage_s_addresses_are_fetched_once(signing: Signing, emulator: Emulator, days: float | None) -> None:
    client = Client(signing.running.url)
    host = await person(client, signing.running.runtime)
    urls = await endpoints(signing.running, host.arn)
    stale = "UPDATE stages SET events_url = 'wss://old', whip_url = 'https://old', endpoints_at = :at WHERE arn = :arn"
    at = None if days is None else datetime.now(UTC) - timedelta(days=days)
    await sql(signing.running.runtime, stale, at=at, arn=host.arn)
    await emulator.control("calls/clear")

    for _ in range(2):
        payload = await host.does(TOKEN, stageId=host.stage_id, role="HOST")
        _, claims = signing.read(payload["token"])
        assert {name: claims[name] for name in urls} == urls
    assert await sends(emulator, "GetStage") == [{"arn": host.arn}]
    await client.aclose()


async def test_addresses_that_are_not_to_be_had(signing: Signing, emulator: Emulator, resolved: Resolved) -> None:
    client = Client(signing.running.url)
    host = await person(client, signing.running.runtime)
    await sql(signing.running.runtime, "UPDATE stages SET endpoints_at = NULL WHERE arn = :arn", arn=host.arn)
    await emulator.fault("GetStage", "throttle", times=3)
    assert kinds(await host.does(TOKEN, stageId=host.stage_id, role="HOST")) == ["AmazonUnavailable"]
    await client.aclose()
