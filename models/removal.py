"""What is to be deleted on AWS: an outbox, written with the transaction that gave the resources up."""

import enum
from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Enum, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp


class ResourceKind(enum.StrEnum):
    """What a user owns one of on AWS."""

    CHANNEL = "channel"
    ROOM = "room"
    STAGE = "stage"


class Removal(Base):
    """A promise that AWS will have nothing left under this ARN, nor under this name. The row goes when that is so.

    `remove_after` is both the time of the next try and the lease of the present one, as in `models.provisioned`.
    `settle_at` is the time from which a look by name finds whatever a creation that was under way has made; null where
    nothing but the ARN can exist. It knows neither user nor row, since both are gone.
    """

    __tablename__ = "removals"

    kind: Mapped[ResourceKind] = mapped_column(
        Enum(
            ResourceKind,
            native_enum=False,
            create_constraint=False,
            length=16,
            values_callable=lambda kinds: [kind.value for kind in kinds],
        )
    )
    arn: Mapped[str | None] = mapped_column(Text, unique=True)
    resource_name: Mapped[str] = mapped_column(Text)
    settle_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    remove_after: Mapped[Timestamp]
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("kind IN ('channel', 'room', 'stage')", name="kind_known"),
        CheckConstraint("arn IS NOT NULL OR settle_at IS NOT NULL", name="has_something_to_find"),
        CheckConstraint("attempts >= 0", name="attempts_positive"),
        Index("ix_removals_remove_after", "remove_after"),
        Index("ix_removals_resource_name", "resource_name"),
    )
