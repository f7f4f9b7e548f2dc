"""What Amazon answered, or would have, about a person's channel, room and stage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from models.seeding.world import Person

_TICKETS_HOLD: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A guest's token for the stage."""

    participant_id: str
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Possessions:
    """One person's resources; `ivs_stream_id` is of the stream that is live, null if none is.

    `tickets` are those of the guests, in their order. Session and host are of a stage that is live, null if it is not.
    """

    channel_arn: str
    playback_url: str
    ingest_endpoint: str
    channel_type: str
    room_arn: str
    stage_arn: str
    stream_key_arn: str | None = None
    stream_key: str | None = field(default=None, repr=False)
    ivs_stream_id: str | None = None
    tickets: Sequence[Ticket] = ()
    session_id: str | None = None
    host_id: str | None = None


def invented(person: Person, *, partner_followers: int = 100) -> Possessions:
    """Return resources that exist nowhere, and no stream key; the channels are of the types that are usual."""
    arn, own = "arn:aws:{}:us-east-1:123456789012:{}/{}", person.id.hex
    return Possessions(
        channel_arn=arn.format("ivs", "channel", own),
        playback_url=f"https://{own}.example.invalid/live.m3u8",
        ingest_endpoint=f"{own}.example.invalid",
        channel_type="ADVANCED_HD" if person.followers >= partner_followers else "STANDARD",
        room_arn=arn.format("ivschat", "room", own),
        stage_arn=arn.format("ivs", "stage", own),
        ivs_stream_id=f"st-{own[-23:]}" if person.live else None,
        tickets=[
            Ticket(guest.id.hex, f"ticket-{guest.id.hex}", guest.invited_at + _TICKETS_HOLD)
            for guest in (person.gathering.guests if person.gathering else ())
        ],
        session_id=f"st-{own[-13:]}",
        host_id=own,
    )
