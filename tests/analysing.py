"""Analytics as GraphQL answers them, compared with what is reckoned from heartbeats."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.client import Client
from tests.reckoning import Sent, analytics

POINTS = ("viewers", "chatMessages", "latencySeconds", "bufferSeconds", "bitrate", "framerate")
SHARES = ("browsers", "operatingSystems", "qualities")
DOCUMENT = f"""
query Analytics($id: ID!, $from: DateTime, $to: DateTime, $bucket: Int) {{
  stream(id: $id) {{
    analytics(from: $from, to: $to, bucketSeconds: $bucket) {{
      bucketSeconds peakViewers uniqueViewers watchTimeSeconds
      {" ".join(f"{name} {{ startsAt value }}" for name in POINTS)}
      {" ".join(f"{name} {{ name viewers fraction }}" for name in SHARES)}
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Answer:
    """What the owner of a stream that began at a moment is answered."""

    client: Client
    token: str
    stream_id: str
    began: datetime

    async def agrees(
        self,
        sent: Sequence[Sent],
        finish: datetime,
        *,
        start: int | None = None,
        end: int | None = None,
        bucket: int | None = None,
        said: Iterable[datetime] = (),
    ) -> None:
        """Compare an answer with heartbeats and messages; `start`, `end` and `bucket` are minutes of the stream."""
        begin = self.began.replace(second=0, microsecond=0)
        first = begin if start is None else begin + timedelta(minutes=start)
        before = None if end is None else begin + timedelta(minutes=end)
        asked = {"from": None if start is None else first.isoformat(), "to": before and before.isoformat()}
        variables = {"id": self.stream_id, "bucket": bucket and bucket * 60, **asked}
        found = (await self.client.data(DOCUMENT, variables, token=self.token))["stream"]["analytics"]
        assert bucket is None or found["bucketSeconds"] == bucket * 60
        buckets = len(found["viewers"])
        expected = analytics(sent, first, before, finish, found["bucketSeconds"], buckets, said)
        assert _plain(found) == expected


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """The answer with its times written as Python does."""
    return {
        name: [
            one | {"startsAt": datetime.fromisoformat(one["startsAt"]).isoformat()} if "startsAt" in one else one
            for one in value
        ]
        if isinstance(value, list)
        else value
        for name, value in found.items()
    }
