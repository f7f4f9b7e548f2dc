import asyncio
import re
from typing import Any

import httpx
import pytest
import websockets

from tests.accounts import SIGN_IN, SIGN_OUT, VIEWER, kinds, sign_in, sql
from tests.client import PASSWORD, Client, open_socket, unique
from tests.conftest import Running, StartServer

GUEST = {"data": {"viewer": None}}
CLEARED = "streamcat_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
FORBIDDEN = "Pages of {} may not use this API; see the setting ALLOWED_ORIGINS."
HTTPS = {"x-forwarded-proto": "https"}


def cookie(token: str) -> str:
    return f"streamcat_session={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"


def connection(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=30, verify=False)  # noqa: S501 - loopback


def credentials(username: str) -> dict[str, Any]:
    return {"input": {"username": username, "password": PASSWORD}}


async def test_a_browser_signs_in_and_out_by_cookie(client: Client, server_url: str) -> None:
    user = await client.register()
    browser = Client(server_url, browser=True)
    response = await browser.post(SIGN_IN, credentials(user.username))
    token = response.json()["data"]["sessionCreate"]["token"]
    assert response.headers.get_list("set-cookie") == [cookie(token)]
    response = await browser.post(VIEWER)
    assert response.json() == {"data": {"viewer": {"username": user.username}}}
    assert "set-cookie" not in response.headers
    async with open_socket(server_url, headers={"cookie": f"streamcat_session={token}"}) as socket:
        await socket.subscribe("1", VIEWER)
        assert await socket.next("1") == {"viewer": {"username": user.username}}
    response = await browser.post(SIGN_OUT)
    assert response.headers.get_list("set-cookie") == [CLEARED]
    assert (await browser.post(VIEWER)).json() == GUEST
    assert dict(browser.http.cookies) == {}
    await browser.aclose()


async def test_a_bearer_token_goes_before_the_cookie(client: Client) -> None:
    bearer, other = await client.register(), await client.register()
    response = await client.post(VIEWER, token=bearer.token, cookie=f"streamcat_session={other.token}")
    assert response.json() == {"data": {"viewer": {"username": bearer.username}}}


async def test_cookies_are_secure_behind_a_trusted_proxy_with_https(start_server: StartServer, client: Client) -> None:
    user = await client.register()
    async with start_server(worker=False, trusted_proxies=("127.0.0.1/32",)) as behind:
        for url, headers, secure in (
            (behind.url, HTTPS, True),
            (behind.url, {"x-forwarded-proto": "http"}, False),
            (behind.url, {}, False),
            # Nobody is trusted here.
            (client.url, HTTPS, False),
        ):
            browser = Client(url)
            response = await browser.post(SIGN_IN, credentials(user.username), **headers)
            token = response.json()["data"]["sessionCreate"]["token"]
            ending = "; Secure" if secure else ""
            assert response.headers["set-cookie"] == cookie(token) + ending
            response = await browser.post(SIGN_OUT, token=token, **headers)
            assert response.headers["set-cookie"] == CLEARED + ending
            await browser.aclose()


async def test_concurrent_requests_never_swap_cookies_or_tokens(client: Client, server_url: str) -> None:
    users = [await client.register() for _ in range(8)]
    owner = {}

    async def signs_in(index: int) -> None:
        user = users[index]
        # A connection of its own for each: sockets, not an in-process client that serialises.
        async with connection(server_url) as http:
            body = {"query": SIGN_IN, "variables": credentials(user.username)}
            response = await http.post("/graphql", json=body)
            payload = response.json()["data"]["sessionCreate"]
            assert (payload["errors"], payload["user"]["id"]) == ([], user.id)
            assert response.headers.get_list("set-cookie") == [cookie(payload["token"])]
            # The client keeps the cookie, and nothing else says who it is.
            viewer = await http.post("/graphql", json={"query": VIEWER})
            assert viewer.json() == {"data": {"viewer": {"username": user.username}}}
            owner[payload["token"]] = user.id

    async def asks_as_a_guest() -> None:
        async with connection(server_url) as http:
            response = await http.post("/graphql", json={"query": VIEWER})
            assert response.json() == GUEST
            assert "set-cookie" not in response.headers

    async def is_refused() -> None:
        async with connection(server_url) as http:
            response = await http.post("/graphql", json={"query": SIGN_IN, "variables": credentials(unique("nobody"))})
            assert kinds(response.json()["data"]["sessionCreate"]) == ["CredentialsInvalid"]
            assert "set-cookie" not in response.headers

    work = [task for turn in range(40) for task in (signs_in(turn % 8), asks_as_a_guest(), is_refused())]
    await asyncio.gather(*work)
    assert len(owner) == 40


async def test_no_cookie_for_a_session_that_was_not_committed(client: Client, running: Running) -> None:
    user = await client.register()
    # What only the commit finds out comes after everything that the request did.
    late = (
        "CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too late'; END $$",
        """CREATE CONSTRAINT TRIGGER refuse_late AFTER INSERT ON sessions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse_late()""",
    )
    try:
        for statement in late:
            await sql(running.runtime, statement)
        response = await client.post(SIGN_IN, credentials(user.username))
    finally:
        await sql(running.runtime, "DROP TRIGGER refuse_late ON sessions")
        await sql(running.runtime, "DROP FUNCTION refuse_late")
    assert [error["extensions"] for error in response.json()["errors"]] == [{"code": "INTERNAL"}]
    assert "set-cookie" not in response.headers
    assert user.token not in response.text


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://[bad", "http://127.0.0.1", "https://evil.example@", "file://"],
)
async def test_other_sites_are_refused(client: Client, server_url: str, origin: str) -> None:
    user = await client.register()
    response = await client.post(SIGN_OUT, cookie=f"streamcat_session={user.token}", origin=origin)
    error = {"message": FORBIDDEN.format(origin), "extensions": {"code": "FORBIDDEN"}}
    assert (response.status_code, response.json()) == (403, {"errors": [error]})
    assert "access-control-allow-origin" not in response.headers
    assert await client.data(VIEWER, token=user.token) == {"viewer": {"username": user.username}}
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with open_socket(server_url, headers={"origin": origin}):
            pass
    assert refused.value.response.status_code == 403


async def test_our_own_pages_are_admitted(client: Client, server_url: str) -> None:
    assert (await client.post(VIEWER, origin=server_url)).json() == GUEST
    async with open_socket(server_url, headers={"origin": server_url}) as socket:
        await socket.subscribe("1", VIEWER)
        assert await socket.next("1") == {"viewer": None}


async def test_named_sites_are_admitted(start_server: StartServer) -> None:
    friend, stranger = "https://friend.example", "https://friend.example.evil.example"
    async with start_server(worker=False, allowed_origins=(friend,)) as server:
        client = Client(server.url)
        response = await client.post(VIEWER, origin=friend)
        assert response.json() == GUEST
        expected = {"access-control-allow-origin": friend, "access-control-allow-credentials": "true", "vary": "Origin"}
        assert {name: response.headers[name] for name in expected} == expected
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,authorization",
        }
        response = await client.http.options("/graphql", headers={"origin": friend, **asked})
        assert response.status_code == 204
        assert response.headers["access-control-allow-origin"] == friend
        assert response.headers["access-control-allow-credentials"] == "true"
        allowed = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
        assert {"content-type", "authorization"} <= allowed
        # Refusals are read by the page as well.
        response = await client.http.post("/graphql", content=b"[]", headers={"origin": friend})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (415, friend)
        async with open_socket(server.url, headers={"origin": friend}):
            pass

        response = await client.post(VIEWER, origin=stranger)
        assert (response.status_code, "access-control-allow-origin" in response.headers) == (403, False)
        response = await client.http.options("/graphql", headers={"origin": stranger, **asked})
        assert (response.status_code, "access-control-allow-origin" in response.headers) == (400, False)
        with pytest.raises(websockets.InvalidStatus):
            async with open_socket(server.url, headers={"origin": stranger}):
                pass
        await client.aclose()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b'{"query":"mutation{sessionDelete{user{id}}}"}'),
        ("application/x-www-form-urlencoded", b"query=mutation%7BsessionDelete%7Buser%7Bid%7D%7D%7D"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nmutation{sessionDelete{user{id}}}\r\n--x--',
        ),
    ],
    ids=["text", "urlencoded", "multipart"],
)
async def test_forms_cannot_act(client: Client, content_type: str, body: bytes) -> None:
    user = await client.register()
    headers = {"content-type": content_type, "cookie": f"streamcat_session={user.token}"}
    response = await client.http.post("/graphql", content=body, headers=headers)
    assert (response.status_code, response.headers["accept"]) == (415, "application/json")
    assert [error["extensions"] for error in response.json()["errors"]] == [{"code": "BAD_INPUT"}]
    assert await client.data(VIEWER, token=user.token) == {"viewer": {"username": user.username}}


async def test_a_link_cannot_act(client: Client) -> None:
    user = await client.register()
    headers = {"cookie": f"streamcat_session={user.token}"}
    response = await client.http.get("/graphql", params={"query": SIGN_OUT}, headers=headers)
    error = {"message": "Mutations need POST.", "extensions": {"code": "BAD_INPUT"}}
    assert (response.status_code, response.json()) == (405, {"errors": [error]})
    assert response.headers["allow"] == "POST"
    assert await client.data(VIEWER, token=user.token) == {"viewer": {"username": user.username}}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", (await sign_in(client, user.username))["token"])
