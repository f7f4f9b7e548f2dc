"""Recordings that their owners deleted: what is left to delete in S3, and the memory that they were."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp


class RecordingDeletion(Base):
    """A deleted recording, under the id it had. Late events of it change nothing.

    `delete_after` is the time of the next try to delete its objects, and the lease of the present one; it is null when
    none are left. The row outlives its channel, because S3 does not know that the channel is gone.
    """

    __tablename__ = "recording_deletions"

    channel_id: Mapped[UUID | None] = mapped_column(ForeignKey("channels.id", ondelete="SET NULL"))
    channel_arn: Mapped[str] = mapped_column(Text)
    recording_session_id: Mapped[str] = mapped_column(Text)
    bucket: Mapped[str | None] = mapped_column(Text)
    prefix: Mapped[str | None] = mapped_column(Text)
    delete_after: Mapped[Timestamp | None]
    delete_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    delete_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("channel_id", "recording_session_id"),
        CheckConstraint(
            "delete_after IS NULL OR (bucket IS NOT NULL AND prefix IS NOT NULL)", name="pending_has_place"
        ),
        CheckConstraint("delete_attempts >= 0", name="attempts_positive"),
        Index("ix_recording_deletions_delete_after", "delete_after", postgresql_where=text("delete_after IS NOT NULL")),
    )
