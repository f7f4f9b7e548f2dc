"""A client of event streams. Every wait has a deadline."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

EVENT_STREAM = "text/event-stream"
COMPLETE = ("complete", None)
Event = tuple[str, Any]


def events_of(text: str) -> list[Event]:
    """The events of a whole stream."""
    return [_event(block) for block in text.split("\n\n")[:-1]]


def _event(block: str) -> Event:
    """Name and decoded data; a comment is an event without either."""
    fields = [line.split(":", 1) for line in block.split("\n")]
    if fields == [["", ""]]:
        return ("", None)
    assert [name for name, _ in fields] == ["event", "data"], block
    (_, name), (_, data) = fields
    return name.removeprefix(" "), json.loads(data) if data else None


class Stream:
    """An event stream that has begun."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._chunks = response.aiter_text()
        self._text = ""

    async def event(self, seconds: float = 10.0) -> Event:
        """Return the next event, comments included; the end of the stream is StopAsyncIteration."""
        async with asyncio.timeout(seconds):
            while "\n\n" not in self._text:
                self._text += await anext(self._chunks)
        block, _, self._text = self._text.partition("\n\n")
        return _event(block)

    async def next(self) -> dict[str, Any]:
        """Return the data of the next event but comments, which must be a result without errors."""
        name, result = await self.event()
        while not name:
            name, result = await self.event()
        assert (name, set(result)) == ("next", {"data"}), (name, result)
        data: dict[str, Any] = result["data"]
        return data

    async def rest(self) -> list[Event]:
        """Read to the end; return what came but comments."""
        found = []
        try:
            while True:
                found.append(await self.event())
        except StopAsyncIteration:
            assert self._text == ""
            return [event for event in found if event[0]]


@asynccontextmanager
async def open_stream(
    url: str, document: str, variables: dict[str, Any] | None = None, token: str | None = None, **headers: str
) -> AsyncIterator[Stream]:
    """Ask by POST, on a connection of its own; the answer must be a stream."""
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    body = {"query": document, "variables": variables}
    async with (
        httpx.AsyncClient(verify=False, timeout=30) as http,  # noqa: S501 - loopback
        http.stream("POST", f"{url}/graphql", json=body, headers={"accept": EVENT_STREAM, **headers}) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == f"{EVENT_STREAM}; charset=utf-8"
        yield Stream(response)
