"""An owner whose channel is compared with Amazon's list, and Amazon's hand on it."""

from dataclasses import dataclass
from typing import Any

from tests.accounts import metric
from tests.conftest import Emulator
from tests.owners import Owner
from tests.waiting import eventually

STREAMS = """
query($id: ID!) {
  channel(by: {id: $id}) { isLive currentStream { health } streams { nodes { state startedAt endedAt } } }
}
"""
ROUNDS = 'streamcat_reconcile_rounds_total{outcome="%s",subject="streams"}'


@dataclass
class Stage:
    """An owner whose channel is watched, and Amazon's hand on it."""

    owner: Owner
    emulator: Emulator

    async def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.owner.client.data(STREAMS, {"id": self.owner.id}))["channel"]
        return found

    async def broadcast(self, stream: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.emulator._http.get(f"/_emulator/broadcasts/{stream}")).json()
        return found

    async def becomes(self, *, is_live: bool, health: str | None = None) -> dict[str, Any]:
        """Wait for it; return what is seen then."""
        seen: dict[str, Any] = {}

        async def so() -> bool:
            seen.update(await self.seen())
            current = seen["currentStream"]
            return seen["isLive"] is is_live and (health is None or (current and current["health"]) == health)

        await eventually(so, f"live: {is_live}, health: {health}")
        return seen

    async def rounds(self, more: int = 2, outcome: str = "ok") -> None:
        """Wait for so many more rounds."""
        before = await metric(self.owner.client.url, ROUNDS % outcome)

        async def passed() -> bool:
            return await metric(self.owner.client.url, ROUNDS % outcome) >= before + more

        await eventually(passed, f"{more} more rounds with {outcome}")
