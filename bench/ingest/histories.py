"""What happens on the benchmark's channels: the events, as the envelopes in which they come."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import text

from models import Channel
from models.engine import create_engine
from schema.base import global_id

CHANNELS = 500
DAWN = datetime(2026, 3, 1, 12, tzinfo=UTC)
# What one stream causes, with its seconds.
STREAM = (
    (0, "IVS Stream State Change", "Session Created"),
    (7, "IVS Stream State Change", "Stream Start"),
    (8, "IVS Recording State Change", "Recording Start"),
    (300, "IVS Stream Health Change", "Starvation Start"),
    (305, "IVS Stream Health Change", "Starvation End"),
    (900, "IVS Stream State Change", "Session Ended"),
    (901, "IVS Stream State Change", "Stream End"),
    (930, "IVS Recording State Change", "Recording End"),
)

_PEOPLE = """
WITH made AS (
  INSERT INTO users (id, username, password_hash)
  SELECT gen_random_uuid(), 'bench' || n, 'none' FROM generate_series(1, :count) AS n RETURNING id, username
)
INSERT INTO channels
  (id, user_id, name, title, type, playback_url, ingest_endpoint, arn, provisioning, provision_attempts)
SELECT gen_random_uuid(), id, username, 'A title', 'BASIC', 'https://play.invalid', 'ingest.invalid',
       'arn:aws:ivs:us-east-1:123456789012:channel/' || username, 'READY', 1
  FROM made RETURNING arn, id
"""


async def channels(database_url: str) -> list[tuple[str, str]]:
    """Make the channels; return their ARNs and the ids by which clients know them."""
    engine = create_engine(database_url, pool_size=1, statement_timeout_ms=60_000, name="seed", pooled=False)
    async with engine.begin() as connection:
        rows = await connection.execute(text(_PEOPLE), {"count": CHANNELS})
        made = [(row.arn, global_id(Channel(id=row.id))) for row in rows]
    await engine.dispose()
    return made


def histories(arns: Sequence[str], count: int) -> list[str]:
    """Return about `count` events of one stream after the other on each channel, as they come: out of order."""
    chance = random.Random(1)  # noqa: S311 - the same in every run
    moments = []
    for number in range(-(-count // len(STREAM))):
        arn = arns[number % len(arns)]
        began = DAWN + timedelta(hours=number // len(arns), seconds=chance.randrange(600))
        stream = f"st-{number:023d}"
        for second, detail_type, name in STREAM:
            at = began + timedelta(seconds=second)
            comes_at = at + timedelta(seconds=chance.expovariate(1 / 20))
            moments.append((comes_at, event(arn, stream, detail_type, name, at)))
    return [body for _, body in sorted(moments)]


def event(arn: str, stream: str, detail_type: str, name: str, at: datetime) -> str:
    detail: dict[str, str | int] = {"channel_name": "bench", "stream_id": stream, "event_name": name}
    if detail_type == "IVS Recording State Change":
        del detail["event_name"]
        session, over = f"rec{stream[-13:]}", name == "Recording End"
        detail |= {"recording_status": name, "recording_status_reason": "", "recording_session_id": session}
        detail |= {"recording_s3_bucket_name": "bench", "recording_s3_key_prefix": f"ivs/v1/{session}"}
        detail |= {"recording_duration_ms": 893_000 if over else 0}
    envelope = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": detail_type,
        "source": "aws.ivs",
        "account": "123456789012",
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": "us-east-1",
        "resources": [arn],
        "detail": detail,
    }
    return json.dumps(envelope)
