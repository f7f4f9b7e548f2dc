"""Recordings that were found on S3 have a place, and not yet the id that IVS gave them.

Whichever comes first, one place is one recording: an event that comes late gives its id to what was found, and what is
found where an event has been belongs to the event's recording.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.statement import Statement

# IVS's ids are letters and digits, before which this sorts: a stream that an event's recording claims is that one's.
_FOUND: Final = "#"
_TOLD: Final = """unnest(
  CAST(:channel_ids AS uuid[]), CAST(:prefixes AS text[]), CAST(:session_ids AS text[])
) AS told (channel_id, prefix, session_id)"""
_RENAME: Final = Statement(
    text(f"""
UPDATE recordings SET recording_session_id = told.session_id
  FROM {_TOLD}
 WHERE recordings.channel_id = told.channel_id AND recordings.recording_session_id = '{_FOUND}' || told.prefix
   AND NOT EXISTS (
     SELECT FROM recordings other
      WHERE other.channel_id = told.channel_id AND other.recording_session_id = told.session_id
   )
""")  # noqa: S608 - our constants
)
_NAMED: Final = Statement(
    text(f"""
SELECT recordings.channel_id, recordings.prefix, recordings.recording_session_id
  FROM {_TOLD}
  JOIN recordings ON recordings.channel_id = told.channel_id AND recordings.prefix = told.prefix
 WHERE recordings.recording_session_id <> told.session_id
""")  # noqa: S608 - our constants
)


@dataclass(frozen=True, slots=True)
class RecordingEvidence:
    """What one event says about one recording, and which streams are part of it."""

    recording_session_id: str
    ivs_stream_ids: tuple[str, ...]
    sightings: Mapping[str, Any]


Told = dict[tuple[UUID, str], list[RecordingEvidence]]
"""Evidence by channel and id of the recording."""


def found_at(prefix: str) -> str:
    """Return the id of a recording that was found on S3, until an event tells the one that IVS gave it."""
    return f"{_FOUND}{prefix}"


async def by_place(session: AsyncSession, told: Told) -> Told:
    """Let what was found on S3 and what events tell be one recording where their place is the same.

    The caller holds locks on the channels' rows.
    """
    places = {
        (channel_id, prefix): session_id
        for (channel_id, session_id), about in told.items()
        for one in about
        if (prefix := one.sightings.get("prefix")) and not session_id.startswith(_FOUND)
    }
    if places:
        await _RENAME.all(session, _columns(places))
    found = {key: (key[0], key[1].removeprefix(_FOUND)) for key in told if key[1].startswith(_FOUND)}
    if not found:
        return told
    for row in await _NAMED.all(session, _columns({place: key[1] for key, place in found.items()})):
        places[row["channel_id"], row["prefix"]] = row["recording_session_id"]
    merged: Told = defaultdict(list)
    for key, about in told.items():
        session_id = places.get(found[key], key[1]) if key in found else key[1]
        merged[key[0], session_id] += about
    return merged


def _columns(places: Mapping[tuple[UUID, str], str]) -> dict[str, list[Any]]:
    return {
        "channel_ids": [channel_id for channel_id, _ in places],
        "prefixes": [prefix for _, prefix in places],
        "session_ids": list(places.values()),
    }
