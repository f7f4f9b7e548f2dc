"""What both scenarios say: the documents, and the numbers by which a frame is known to be of a certain change."""

from dataclasses import dataclass
from typing import Any, Final

# Of the first state; every change counts one up, in as many digits.
START: Final = 10_000_000
# Followed by the name of the server, the channel on which PostgreSQL tells it: `<node id> <number>`.
NOTICES: Final = "bench_fanout_"


@dataclass(frozen=True)
class Scenario:
    """A document, and the data of its frames."""

    name: str
    query: str
    pattern: bytes

    def data(self, node_id: str, number: int) -> dict[str, Any]:
        """Return what a frame says after this change."""
        if self is CHANNEL:
            return {"channelChanged": {"channel": {"id": node_id, "title": f"#{number}", "isLive": True}}}
        return {"viewerCountChanged": {"viewerCount": number}}


CHANNEL: Final = Scenario(
    "channel",
    "subscription Watch($id: ID!) { channelChanged(channelId: $id) { channel { id title isLive } } }",
    rb"#(\d+)",
)
VIEWERS: Final = Scenario(
    "viewers",
    "subscription Count($id: ID!) { viewerCountChanged(channelId: $id) { viewerCount } }",
    rb'"viewerCount": ?(\d+)',
)
SCENARIOS: Final = {scenario.name: scenario for scenario in (CHANNEL, VIEWERS)}
