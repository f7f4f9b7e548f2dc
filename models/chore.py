"""What has still to be done for a channel on Amazon: kept in a row until it is done, so that no crash forgets it."""

import enum
from uuid import UUID

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp


class ChoreKind(enum.StrEnum):
    """What is to be done."""

    STREAM_KEY = "STREAM_KEY"
    """Replace the channel's stream key by a new one."""
    PARTNER = "PARTNER"
    """Give the channel the type that partners have."""
    ACCESS = "ACCESS"
    """Let AWS ask players of the channel for tokens, or no longer, as its owner decided."""


class Chore(Base):
    """One thing to do, at most one of a kind per channel; the row goes with the transaction that stores the outcome.

    `due_at` is both the time of the next try and the lease of the present one, as `Provisioned.provision_after` is. The
    key is the fence: a try whose row is gone, or replaced by a later one, stores nothing.
    """

    __tablename__ = "chores"

    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    kind: Mapped[ChoreKind] = mapped_column(Enum(ChoreKind, native_enum=False, create_constraint=False, length=16))
    due_at: Mapped[Timestamp] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("kind IN ('STREAM_KEY', 'PARTNER', 'ACCESS')", name="kind_known"),
        CheckConstraint("attempts >= 0", name="attempts_positive"),
        Index("uq_chores_channel_id_kind", "channel_id", "kind", unique=True),
    )
