"""The two ways a client speaks: GraphQL over HTTP, and graphql-transport-ws."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import websockets

PASSWORD = "correct horse battery"

REGISTER = """
mutation Register($input: UserRegisterInput!) {
  userRegister(input: $input) {
    token expiresAt
    user { id username channel { id provisioning } chatRoom { id provisioning } stage { id provisioning } }
    errors { __typename ... on UserError { message path } ... on TooManyAttempts { retryAfterSeconds } }
  }
}
"""


@dataclass(frozen=True)
class Registered:
    """A user made through the front door."""

    username: str
    token: str
    id: str
    channel_id: str
    payload: dict[str, Any]


class Client:
    """A GraphQL client of one server, for guests or with a token. Keeps cookies only if it is to play a browser."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        browser: bool = False,
        address: str | None = None,
    ) -> None:
        """Connect from `address`, one of 127.0.0.0/8, where limits per address must not meet other tests."""
        self.url = url
        self.token = token
        self._browser = browser
        # There is no TLS on loopback, and loading the certificates of the world takes longer than most tests.
        transport = httpx.AsyncHTTPTransport(local_address=address, verify=False)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=30, transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    @property
    def http(self) -> httpx.AsyncClient:
        return self._http

    async def post(
        self, document: str, variables: dict[str, Any] | None = None, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send one operation; return the HTTP response, whatever it is."""
        if not self._browser:
            self._http.cookies.clear()
        chosen = token or self.token
        if chosen is not None:
            headers = {"authorization": f"Bearer {chosen}", **headers}
        return await self._http.post("/graphql", json={"query": document, "variables": variables}, headers=headers)

    async def execute(
        self, document: str, variables: dict[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        """Send one operation; return the whole GraphQL response."""
        response = await self.post(document, variables, token=token)
        body: dict[str, Any] = response.json()
        return body

    async def data(
        self, document: str, variables: dict[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        """Send one operation that must succeed; return its data."""
        body = await self.execute(document, variables, token=token)
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    async def error(
        self, document: str, variables: dict[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        """Send one operation that must fail with exactly one error; return it."""
        body = await self.execute(document, variables, token=token)
        assert len(body.get("errors", [])) == 1, body
        error: dict[str, Any] = body["errors"][0]
        return error

    async def register(self, username: str | None = None, password: str = PASSWORD) -> Registered:
        """Register a user, who must be READY at once."""
        username = username or unique("user")
        data = await self.data(REGISTER, {"input": {"username": username, "password": password}})
        payload = data["userRegister"]
        assert payload["errors"] == [], payload
        user = payload["user"]
        states = [user[part]["provisioning"] for part in ("channel", "chatRoom", "stage")]
        assert states == ["READY"] * 3, payload
        return Registered(user["username"], payload["token"], user["id"], user["channel"]["id"], payload)


def unique(prefix: str) -> str:
    """Return a user name that no other test uses."""
    return f"{prefix}-{uuid4().hex[:12]}"


class Socket:
    """A websocket after its handshake. Every wait has a deadline."""

    def __init__(self, raw: websockets.ClientConnection) -> None:
        self.raw = raw

    async def send(self, message: Any) -> None:
        await self.raw.send(json.dumps(message))

    async def receive(self, seconds: float = 10.0) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.raw.recv(), seconds))
        return message

    async def closed(self, seconds: float = 10.0) -> tuple[int, str]:
        """Read until the server closes; return code and reason."""
        with contextlib.suppress(websockets.ConnectionClosed):
            async with asyncio.timeout(seconds):
                while True:
                    await self.raw.recv()
        assert self.raw.close_code is not None
        return self.raw.close_code, self.raw.close_reason or ""

    async def subscribe(self, operation_id: str, document: str, variables: dict[str, Any] | None = None) -> None:
        payload = {"query": document, "variables": variables}
        await self.send({"type": "subscribe", "id": operation_id, "payload": payload})

    async def next(self, operation_id: str, seconds: float = 10.0) -> dict[str, Any]:
        """Return the data of the operation's next message, which must be the next on the socket."""
        message = await self.receive(seconds)
        assert (message["type"], message["id"]) == ("next", operation_id), message
        assert "errors" not in message["payload"], message
        data: dict[str, Any] = message["payload"]["data"]
        return data


@asynccontextmanager
async def open_socket(
    url: str, token: str | None = None, *, init: bool = True, headers: dict[str, str] | None = None
) -> AsyncIterator[Socket]:
    """Open a websocket; with `init` also shake hands."""
    address = re.sub("^http", "ws", url) + "/graphql"
    async with websockets.connect(
        address, subprotocols=[websockets.Subprotocol("graphql-transport-ws")], additional_headers=headers
    ) as raw:
        socket = Socket(raw)
        if init:
            payload = {"payload": {"authorization": f"Bearer {token}"}} if token else {}
            await socket.send({"type": "connection_init", **payload})
            assert await socket.receive() == {"type": "connection_ack"}
        yield socket
