"""What a row needs to be the owner of an AWS resource: state of its creation and when it is tried again."""

import enum
from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Enum, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import SchemaItem


class ProvisioningState(enum.StrEnum):
    """How far the creation of an AWS resource is."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


# Text with a CHECK instead of a PostgreSQL enum: a new member is then an ordinary, reversible migration.
PROVISIONING = Enum(ProvisioningState, native_enum=False, create_constraint=False, length=16)


class Provisioned:
    """Mixin: the row is a promise of one AWS resource.

    `provision_after` is both the time of the next try and the lease of the present one: whoever works on a row first
    moves it into the future, so a worker that dies is followed by another without anybody cleaning up.
    `provision_attempts` above one tells that a resource may exist already, so a retry looks before it creates. Such a
    row has a `provision_after` even when it is READY: the time of a last look for what a given-up try made after all.
    """

    arn: Mapped[str | None] = mapped_column(Text, unique=True)
    provisioning: Mapped[ProvisioningState] = mapped_column(PROVISIONING, default=ProvisioningState.PENDING)
    provisioning_error: Mapped[str | None] = mapped_column(Text)
    provision_attempts: Mapped[int] = mapped_column(default=0)
    provision_after: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def provisioned_rules(table: str) -> tuple[SchemaItem, ...]:
    """Return the CHECKs that make contradictory states impossible, and the worker's index."""
    return (
        CheckConstraint("provisioning IN ('PENDING', 'READY', 'FAILED')", name="provisioning_known"),
        CheckConstraint("(provisioning = 'READY') = (arn IS NOT NULL)", name="ready_has_arn"),
        CheckConstraint(
            "provisioning = 'READY' OR (provisioning = 'PENDING') = (provision_after IS NOT NULL)",
            name="pending_has_next_try",
        ),
        CheckConstraint("provision_attempts >= 0", name="attempts_positive"),
        Index(f"ix_{table}_provision_after", "provision_after", postgresql_where=text("provision_after IS NOT NULL")),
    )
