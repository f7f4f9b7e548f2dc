"""The HTTPS door: what it has answered with 2xx is committed, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ivs.events import parse
from tests.accounts import metric
from tests.client import open_socket
from tests.conftest import Running, StartServer
from tests.subscriptions.queues import Watched, body, watch
from tests.subscriptions.test_queue import locked

OLD, NEW = "o" * 40, "n" * 40
LIMIT = 2000
LIVE = "subscription($id: ID!) { channelChanged(channelId: $id) { channel { isLive } } }"


@pytest.fixture(scope="module")
async def server(start_server: StartServer) -> AsyncIterator[Running]:
    """A server with a door, and without jobs."""
    async with start_server(
        worker=False, events_https_secrets=(NEW, OLD), events_https_max_bytes=LIMIT, events_https_seconds=0.5
    ) as running:
        yield running


@pytest.fixture
async def channel(server: Running) -> Watched:
    return await watch(server.runtime.services.sessions)


async def deliver(server: Running, content: str | bytes, secret: str | None = NEW, path: str = "/events") -> Any:
    """Send what an API destination sends; return status and message."""
    headers: dict[str, str | bytes] = {
        "content-type": "application/json; charset=utf-8",
        "user-agent": "Amazon/EventBridge/ApiDestinations",
    }
    if secret is not None:
        headers["X-Events-Secret"] = secret.encode()
    async with httpx.AsyncClient(base_url=server.url) as client:
        response = await client.post(path, content=content, headers=headers)
    message = response.json()["message"] if response.content else None
    assert ("retry-after" in response.headers) is (response.status_code == 503)
    return response.status_code, message


async def events(server: Running, outcome: str) -> float:
    return await metric(server.url, f'streamcat_events_total{{door="https",outcome="{outcome}"}}')


async def refused(server: Running, reason: str) -> float:
    return await metric(server.url, f'streamcat_events_refused_total{{reason="{reason}"}}')


async def test_an_event_is_applied_and_subscribers_hear_it(server: Running, channel: Watched) -> None:
    async with open_socket(server.url) as socket:
        await socket.subscribe("1", LIVE, {"id": channel.node_id})
        assert (await socket.next("1"))["channelChanged"] == {"channel": {"isLive": False}}
        assert await deliver(server, channel.event("Stream Start")) == (204, None)
        # Committed before it was answered.
        assert await channel.outcomes() == ["APPLIED"]
        assert await channel.streams() == [("st-one", "LIVE")]
        assert (await socket.next("1"))["channelChanged"] == {"channel": {"isLive": True}}


async def test_what_was_delivered_before_changes_nothing(server: Running, channel: Watched) -> None:
    start = channel.event("Stream Start")
    doubled = await events(server, "DOUBLED")
    assert await deliver(server, start) == (204, None)
    changed_at = await channel.changed_at()
    assert await deliver(server, start, secret=OLD) == (204, None)
    assert await channel.changed_at() == changed_at
    assert await events(server, "DOUBLED") == doubled + 1


@pytest.mark.parametrize("secret", [None, "", NEW[:-1], NEW + "n", f"{NEW},{OLD}", "é" * 20])
async def test_who_does_not_know_a_secret_is_refused(server: Running, channel: Watched, secret: str | None) -> None:
    before = await refused(server, "secret")
    status, message = await deliver(server, channel.event("Stream Start"), secret=secret)
    assert (status, message) == (401, "x-events-secret does not hold the secret.")
    assert await channel.outcomes() == [None]
    assert await refused(server, "secret") == before + 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not an EventBridge envelope: Input data was truncated"),
        ("hello", "not an EventBridge envelope: JSON is malformed: invalid character (byte 0)"),
        (b"\xff\xfe", "not an EventBridge envelope: JSON is malformed: invalid character (byte 0)"),
        ("{}", "not an EventBridge envelope: Object missing required field `id`"),
        (body("arn", "Stream Start", account="\0"), "text with a NUL character, which PostgreSQL cannot keep"),
    ],
)
async def test_what_is_no_event_is_said_to_be_none(server: Running, content: str | bytes, reason: str) -> None:
    malformed = await events(server, "MALFORMED")
    assert await deliver(server, content) == (400, reason)
    assert await events(server, "MALFORMED") == malformed + 1


async def test_a_body_is_limited(server: Running, channel: Watched) -> None:
    before = await refused(server, "size")
    event = channel.event("Stream Start")
    fits = event + " " * (LIMIT - len(event))
    assert await deliver(server, fits + " ") == (413, f"The body is larger than {LIMIT} bytes.")
    assert await channel.outcomes() == [None]
    assert await refused(server, "size") == before + 1
    assert await deliver(server, fits) == (204, None)
    assert await channel.outcomes() == ["APPLIED"]


async def test_what_cannot_be_committed_now_is_asked_for_again(server: Running, channel: Watched) -> None:
    before, event = await refused(server, "unavailable"), channel.event("Stream Start")
    async with locked(channel.sessions, channel):
        assert await deliver(server, event) == (503, "The event is not applied; deliver it again.")
    assert await channel.streams() == []
    assert await refused(server, "unavailable") == before + 1
    assert await deliver(server, event) == (204, None)
    assert await channel.streams() == [("st-one", "LIVE")]


async def test_both_doors_at_once_have_one_effect(server: Running, channel: Watched) -> None:
    bodies = [
        channel.event("Session Created"),
        channel.event("Stream Start", second=1),
        channel.event("Stream End", second=9),
    ]
    answers = await asyncio.gather(
        *(deliver(server, one) for one in (*bodies, *reversed(bodies))),
        server.runtime.ingest.apply([parse(one) for one in reversed(bodies)], door="sqs"),
    )
    assert answers[:-1] == [(204, None)] * 6
    assert await channel.outcomes() == ["APPLIED"] * 3
    assert await channel.streams() == [("st-one", "ENDED")]


async def test_without_a_secret_there_is_no_door(running: Running, channel: Watched) -> None:
    async with httpx.AsyncClient(base_url=running.url) as client:
        response = await client.post("/events", content=channel.event("Stream Start"), headers={"X-Events-Secret": NEW})
    assert response.status_code == 404
    assert await channel.outcomes() == [None]
