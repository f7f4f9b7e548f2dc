"""Users, their sessions, and the counters that slow down guessing."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp, UpdatedAt


class User(Base):
    """A person with an account. Names differ by more than case: `Bob` and `bob` are one name."""

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(Text)
    # Loaded only by who asks for it by name: no read of a user has use for it.
    password_hash: Mapped[str] = mapped_column(Text, deferred=True, deferred_raiseload=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        CheckConstraint("username ~ '^[A-Za-z0-9][A-Za-z0-9_-]{2,29}$'", name="username_shape"),
        Index("uq_users_username_lower", func.lower(username), unique=True),
    )


class Session(Base):
    """A signed-in client. Only the SHA-256 of its token is kept; the token itself is shown once."""

    __tablename__ = "sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_sha256"),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
    )


class Pace(Base):
    """One rate limit's memory, shared by all processes: see `models.pace`."""

    __tablename__ = "paces"

    key: Mapped[str] = mapped_column(Text, unique=True)
    next_at: Mapped[Timestamp] = mapped_column(index=True)

    # Losing this table in a crash only forgives a few seconds of a limit; not logging it halves the cost of a sign-in.
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012
