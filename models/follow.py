"""Follows: which users want to hear of which channels."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt


class Follow(Base):
    """A user follows a channel. `Channel.follower_count` is kept by a trigger, so that cascades count too."""

    __tablename__ = "follows"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        Index("uq_follows_user_id_channel_id", "user_id", "channel_id", unique=True),
        Index("ix_follows_channel_id_id", "channel_id", text("id DESC")),
    )
