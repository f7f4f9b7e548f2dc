"""Who may join a stage as a host: invitations with their tokens, requests for one, and what was taken back."""

import enum
from uuid import UUID

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp, UpdatedAt

_PARTICIPANT = "participant_id ~ '^[A-Za-z0-9_-]{1,64}$'"


class JoinRequestState(enum.StrEnum):
    """What became of a request to join a stage."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"


class StageToken(Base):
    """An invitation of one user to one stage: a token with which Amazon lets its holder publish until it expires."""

    __tablename__ = "stage_tokens"

    stage_id: Mapped[UUID] = mapped_column(ForeignKey("stages.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    participant_id: Mapped[str] = mapped_column(Text)
    token_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[Timestamp]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        UniqueConstraint("stage_id", "user_id"),
        CheckConstraint(_PARTICIPANT, name="participant_id_shape"),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
        Index("ix_stage_tokens_stage_id_id", "stage_id", text("id DESC")),
        Index("ix_stage_tokens_user_id_id", "user_id", text("id DESC")),
    )


class StageJoinRequest(Base):
    """A user who asks to be invited to a stage; `asked_at` is the last time."""

    __tablename__ = "stage_join_requests"

    stage_id: Mapped[UUID] = mapped_column(ForeignKey("stages.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    state: Mapped[JoinRequestState] = mapped_column(
        Enum(JoinRequestState, native_enum=False, create_constraint=False, length=16), default=JoinRequestState.OPEN
    )
    asked_at: Mapped[Timestamp]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        UniqueConstraint("stage_id", "user_id"),
        CheckConstraint("state IN ('OPEN', 'ACCEPTED', 'REFUSED')", name="state_known"),
        Index(
            "ix_stage_join_requests_open",
            "stage_id",
            text("asked_at DESC"),
            text("id DESC"),
            postgresql_where=text("state = 'OPEN'"),
        ),
    )


class StageRevocation(Base):
    """A participant who must not be on a stage although the token still works at Amazon, which takes none back.

    `disconnect_after` is both the time of the next try to disconnect and the lease of the present one. Once one has
    succeeded (`is_disconnected`), there is another only when the participant is on stage again. `user_id` is as in
    `StageParticipant`.
    """

    __tablename__ = "stage_revocations"

    stage_id: Mapped[UUID] = mapped_column(ForeignKey("stages.id", ondelete="CASCADE"))
    participant_id: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(Text)
    is_disconnected: Mapped[bool] = mapped_column(default=False)
    disconnect_after: Mapped[Timestamp]
    expires_at: Mapped[Timestamp] = mapped_column(index=True)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("stage_id", "participant_id"),
        CheckConstraint(_PARTICIPANT, name="participant_id_shape"),
        CheckConstraint("char_length(reason) <= 128", name="reason_length"),
        Index("ix_stage_revocations_disconnect_after", "disconnect_after"),
    )
