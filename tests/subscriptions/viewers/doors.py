"""A client for thousands of players."""

from typing import Any

import aiohttp

from tests.client import Client


class Door(Client):
    """A guest, for whom a request takes a tenth of the usual client's time.

    Raises:
        aiohttp.ClientError: It gets no answer.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._session = aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2))

    async def execute(
        self, document: str, variables: dict[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        """Send one operation; return the whole GraphQL response."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        whole = {"query": document, "variables": variables}
        async with self._session.post("/graphql", json=whole, headers=headers) as response:
            body: dict[str, Any] = await response.json()
        return body

    async def aclose(self) -> None:
        await self._session.close()
        await super().aclose()
