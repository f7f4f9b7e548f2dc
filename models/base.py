"""What all tables share: metadata with named constraints, time-ordered keys, and times that always carry a zone."""

import os
import time
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from sqlalchemy import DateTime, MetaData, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Without names Alembic could not say which constraint a downgrade drops.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def uuid7() -> UUID:
    """Return a version 7 UUID of this moment."""
    return uuid7_of(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)))


def uuid7_of(milliseconds: int, bits: int) -> UUID:
    """Return a version 7 UUID: 48 bits of Unix milliseconds, then 80 random bits, so that keys sort by creation.

    Source: RFC 9562, section 5.7.
    """
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def utcnow() -> datetime:
    """Return the present moment with its zone; naive datetimes never enter a table."""
    return datetime.now(UTC)


Timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
UpdatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now())]
Key = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]


class Base(DeclarativeBase):
    """Parent of every table. Rows leave their session when it closes, so nothing may load lazily."""

    metadata = MetaData(naming_convention=NAMING)
    # What the server computes comes back with RETURNING, so that a detached row is complete.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy's own declaration is not a ClassVar

    id: Mapped[Key]
