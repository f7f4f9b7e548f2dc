"""Timed metadata: put once and as it is, never more of it than Amazon takes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ivs.emulator.limits import METADATA_PER_CHANNEL
from server.runtime import Resolved
from tests.accounts import metric, sql
from tests.cases import few
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.owners import METADATA, Owner
from tests.registration import open_registry
from tests.removals import go_live
from tests.resolvers.test_stream_stop import unavailable

CHANNEL, TEXT = ["input", "channelId"], ["input", "metadata"]
LIVE = {"isLive": False}  # Amazon has a stream of which nobody has told us.
LIMITED = 'streamcat_rate_refused_total{limit="%s"}'


@pytest.fixture
async def server(here: Resolved, start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server(resolved=here, worker=False, metadata_per_second=1000) as running:
        yield running


@pytest.fixture
async def owner(server: Running, emulator: Emulator) -> AsyncIterator[Owner]:
    """An owner whose stream is live on Amazon."""
    client = Client(server.url)
    owner = await Owner.register(client, server.runtime)
    await go_live(emulator, owner.arn)
    yield owner
    await client.aclose()


async def put(emulator: Emulator) -> list[tuple[str, str]]:
    """Channel and text of every PutMetadata that arrived."""
    return [(one["params"]["channelArn"], one["params"]["metadata"]) for one in await emulator.calls("PutMetadata")]


@pytest.mark.parametrize(
    "metadata", ["x", " ", "x" * 1024, "é" * 512, "🐈" * 256, '{"poll": ["a", "b"]}', "a\nb\t", "\x01\x7f", "null"]
)
async def test_metadata_arrives_as_it_is(owner: Owner, emulator: Emulator, metadata: str) -> None:
    assert await owner.done(METADATA, metadata=metadata) == LIVE
    assert await put(emulator) == [(owner.arn, metadata)]


@pytest.mark.parametrize("metadata", ["", "x" * 1025, "é" * 513, "🐈" * 257, "a\0b", "x" * 5000])
async def test_what_amazon_would_not_take_is_not_put(owner: Owner, emulator: Emulator, metadata: str) -> None:
    payload = await owner.send(METADATA, metadata=metadata)
    (error,) = payload["errors"]
    assert (payload["channel"], error["__typename"], error["path"]) == (None, "TextInvalid", TEXT)
    sentence = "must not hold" if "\0" in metadata else "Metadata has 1 to 1024 bytes of UTF-8."
    assert sentence in error["message"]
    assert await put(emulator) == []
    assert await sql(owner.runtime, "SELECT key FROM paces WHERE key LIKE '%metadata%'") == []


async def test_there_must_be_a_stream(owner: Owner, emulator: Emulator) -> None:
    await owner.runtime.aws.call("ivs", "stop_stream", channelArn=owner.arn)
    assert await owner.refused(METADATA, metadata="m") == [("NotLive", CHANNEL)]
    # Connected is not live yet.
    await emulator.control("broadcasts", {"channelArn": owner.arn})
    assert await owner.refused(METADATA, metadata="m") == [("NotLive", CHANNEL)]


async def test_there_must_be_a_channel_on_amazon(server: Running, here: Resolved, emulator: Emulator) -> None:
    """All that is wrong is said at once."""
    await emulator.fault("CreateChannel", "error", code="AccessDeniedException")
    async with open_registry(server.url, here.database_url, here.aws) as registry:
        person = await registry.register()
        assert person.states["channel"] == "FAILED"
        given = {"channelId": person.payload["user"]["channel"]["id"], "metadata": ""}
        payload = (await registry.client.data(METADATA, {"input": given}, token=person.token))["streamMetadataPut"]
        errors = [(error["__typename"], error["path"]) for error in payload["errors"]]
        assert errors == [("TextInvalid", TEXT), ("NotReady", CHANNEL)]
    assert await put(emulator) == []


@pytest.mark.parametrize(
    ("kind", "code", "wait"),
    few(
        [("error", "AccessDeniedException", 60), ("timeout-after", None, 1)],
        [
            ("error", None, 1),
            ("timeout", None, 1),
            ("drop-after", None, 1),
            ("late", None, 1),
        ],
    ),
)
async def test_it_is_put_once_or_not_at_all(
    owner: Owner, emulator: Emulator, kind: str, code: str | None, wait: int
) -> None:
    await emulator.fault("PutMetadata", kind, seconds=30, **({"code": code} if code else {}))
    assert await unavailable(owner, METADATA, metadata="only once") == wait
    assert await put(emulator) == [(owner.arn, "only once")]
    assert await owner.done(METADATA, metadata="again") == LIVE
    assert await put(emulator) == [(owner.arn, "only once"), (owner.arn, "again")]


async def test_an_answer_that_takes_its_time_is_waited_for(owner: Owner, emulator: Emulator) -> None:
    await emulator.fault("PutMetadata", "late", seconds=0.2)
    assert await owner.done(METADATA, metadata="m") == LIVE


async def hammered(owner: Owner) -> tuple[int, dict[str, Any]]:
    """Put metadata until that is refused; return how many were put, and the refusal."""
    done = 0
    while not (payload := await owner.send(METADATA, metadata="m"))["errors"]:
        done += 1
        assert done < 50
    (error,) = payload["errors"]
    return done, error


async def test_a_channel_is_limited_as_amazon_does(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with start_server(resolved=here, worker=False) as running:
        client = Client(running.url)
        owner, other = [await Owner.register(client, running.runtime) for _ in range(2)]
        before = await metric(running.url, LIMITED % "stream_metadata")
        for one in (owner, other):
            await go_live(emulator, one.arn)
        done, error = await hammered(owner)
        assert done >= METADATA_PER_CHANNEL
        assert (error["__typename"], error["path"], error["retryAfterSeconds"]) == ("TooManyAttempts", None, 1)
        assert await other.done(METADATA, metadata="other") == LIVE
        assert [call["error"] for call in await emulator.calls("PutMetadata")] == [None] * (done + 1)
        assert await metric(running.url, LIMITED % "stream_metadata") == before + 1
        await client.aclose()


async def test_whose_clock_refuses_first_makes_no_difference(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with start_server(resolved=here, worker=False) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        await go_live(emulator, owner.arn)
        limits = [LIMITED % name for name in ("stream_metadata", "amazon")]
        before = [await metric(running.url, limit) for limit in limits]
        await emulator.control("limits", {"enforce": True})
        refused = [await hammered(owner) for _ in range(3)]
        await emulator.control("limits", {"enforce": False})
        assert {error["__typename"] for _, error in refused} == {"TooManyAttempts"}
        ours, theirs = [await metric(running.url, limit) - then for limit, then in zip(limits, before, strict=True)]
        assert ours + theirs == len(refused)
        outcomes = [call["error"] for call in await emulator.calls("PutMetadata")]
        assert outcomes.count("ThrottlingException") == theirs
        assert outcomes.count(None) == len(outcomes) - theirs == sum(done for done, _ in refused)
        await client.aclose()


async def test_what_amazon_throttles_is_refused_as_by_us(owner: Owner, emulator: Emulator) -> None:
    before = await metric(owner.client.url, LIMITED % "amazon")
    await emulator.fault("PutMetadata", "throttle")
    payload = await owner.send(METADATA, metadata="m")
    (error,) = payload["errors"]
    assert (error["__typename"], error["path"], error["retryAfterSeconds"]) == ("TooManyAttempts", None, 1)
    assert [call["error"] for call in await emulator.calls("PutMetadata")] == ["ThrottlingException"]
    assert await metric(owner.client.url, LIMITED % "amazon") == before + 1
    assert await owner.done(METADATA, metadata="again") == LIVE


async def test_all_channels_together_are_limited_too(
    here: Resolved, start_server: StartServer, emulator: Emulator
) -> None:
    async with start_server(resolved=here, worker=False, metadata_per_second=1, all_metadata_per_second=1) as running:
        client = Client(running.url)
        owner = await Owner.register(client, running.runtime)
        before = await metric(running.url, LIMITED % "metadata")
        await go_live(emulator, owner.arn)
        await sql(running.runtime, _USED_BY_OTHERS)
        assert await owner.refused(METADATA, metadata="m") == [("TooManyAttempts", None)]
        assert await put(emulator) == []
        assert await metric(running.url, LIMITED % "metadata") == before + 1
        # What was refused for all is not counted against the one.
        await sql(running.runtime, "DELETE FROM paces WHERE key = 'metadata:all'")
        assert await owner.done(METADATA, metadata="m") == LIVE
        await client.aclose()


_USED_BY_OTHERS = """
INSERT INTO paces (id, key, next_at) VALUES (gen_random_uuid(), 'metadata:all', now() + interval '5 minutes')
"""
