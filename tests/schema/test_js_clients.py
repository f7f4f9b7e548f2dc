from tests import javascript


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
