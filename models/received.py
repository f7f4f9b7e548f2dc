"""The journal of events: every event that came in by any door, once."""

import enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Enum, ForeignKey, Identity, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp

RECONCILIATION: Final = "reconcile"
"""The door of events that were made up because they never came."""


class Outcome(enum.StrEnum):
    """What became of an event."""

    APPLIED = "APPLIED"
    """It is part of some row's evidence."""
    UNMATCHED = "UNMATCHED"
    """Its resource is not ours, or not ours yet."""
    IGNORED = "IGNORED"
    """Of a kind that changes nothing here."""


class ReceivedEvent(Base):
    """One EventBridge envelope as it arrived. `event_id` is the envelope's own and makes a redelivery visible.

    The applied events of a channel are also what its owner reads as the timeline of a stream: no second copy, so the
    timeline of an old stream goes with them; see `subscriptions.retention`. Nothing else is made of old ones: what an
    event has told stands in the rows that it changed. `position` counts the arrivals; for one channel it follows the
    order of commits, because whoever applies an event holds the channel's row.
    """

    __tablename__ = "received_events"

    event_id: Mapped[str] = mapped_column(Text, unique=True)
    source: Mapped[str] = mapped_column(Text)
    detail_type: Mapped[str] = mapped_column(Text)
    resource: Mapped[str | None] = mapped_column(Text)
    channel_id: Mapped[UUID | None] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    ivs_stream_id: Mapped[str | None] = mapped_column(Text)
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    door: Mapped[str] = mapped_column(Text)
    outcome: Mapped[Outcome] = mapped_column(Enum(Outcome, native_enum=False, create_constraint=False, length=16))
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    occurred_at: Mapped[Timestamp]
    received_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("outcome IN ('APPLIED', 'UNMATCHED', 'IGNORED')", name="outcome_known"),
        CheckConstraint("channel_id IS NULL OR outcome = 'APPLIED'", name="channels_are_applied"),
        Index("ix_received_events_resource_occurred_at", "resource", "occurred_at"),
        Index("ix_received_events_received_at", "received_at"),
        Index("ix_received_events_channel_id_position", "channel_id", "position"),
        Index(
            "ix_received_events_channel_id_ivs_stream_id_occurred_at",
            "channel_id",
            "ivs_stream_id",
            "occurred_at",
            "position",
        ),
    )
