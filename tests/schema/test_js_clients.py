import asyncio

from tests import javascript
from tests.accounts import metric
from tests.client import Client
from tests.conftest import Running, StartServer
from tests.relay import relayed
from tests.schema.test_websocket import retitle
from tests.waiting import eventually


async def test_graphql_http_audits_all_pass(server_url: str) -> None:
    results = await javascript.run("http_audits.mjs", server_url)

    assert javascript.failures(results) == {}
    assert len(results) == 61


async def test_graphql_ws_client_is_served(server_url: str) -> None:
    results = await javascript.run("ws_client.mjs", server_url)

    assert javascript.failures(results) == {}
    assert len(results) == 15


async def test_websocket_protocol_is_kept(server_url: str) -> None:
    results = await javascript.run("ws_protocol.mjs", server_url)

    assert javascript.failures(results) == {}
    assert len(results) == 61


async def test_graphql_sse_client_is_served(server_url: str) -> None:
    results = await javascript.run("sse_client.mjs", server_url)

    assert javascript.failures(results) == {}
    assert len(results) == 12


async def test_graphql_sse_client_finds_the_server_again(
    client: Client, running: Running, start_server: StartServer
) -> None:
    """What changes while no server is there is seen as soon as one is; nothing comes twice, and nothing is complete."""
    user = await client.register()
    ended = 'streamcat_sockets_closed_total{code="1012"}'

    async def prints(lines: asyncio.StreamReader, title: str) -> None:
        async with asyncio.timeout(20):
            assert (await lines.readline()).decode().strip() == title

    async def has_ended() -> bool:
        return await metric(running.url, ended) == before + 1

    async with (
        start_server(worker=False) as first,
        relayed(first.url) as relay,
        javascript.printing("sse_titles.mjs", relay.through(first.url), user.channel_id) as lines,
    ):
        await prints(lines, f"{user.username}'s channel")
        await retitle(running.runtime, user, "before")
        await prints(lines, "before")
        before = await metric(running.url, ended)
        first.server.should_exit = True
        await eventually(has_ended, "the server has ended the stream")
        await retitle(running.runtime, user, "while away")
        async with start_server(worker=False) as second:
            relay.lead_to(second.url)
            await prints(lines, "while away")
            await retitle(running.runtime, user, "after")
            await prints(lines, "after")
