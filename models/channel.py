"""Channels: where a user's streams are seen."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp, UpdatedAt
from models.provisioned import Provisioned, provisioned_rules

# An order needs columns that are never null: a channel that is not live sorts as one that went live in 1970.
_LISTED_AT = "CASE WHEN live_stream_id IS NULL THEN '1970-01-01 00:00:00+00'::timestamptz ELSE live_since END"


class ChannelType(enum.StrEnum):
    """What Amazon makes of the encoder's picture."""

    BASIC = "BASIC"
    STANDARD = "STANDARD"
    ADVANCED_SD = "ADVANCED_SD"
    ADVANCED_HD = "ADVANCED_HD"


class PlaybackAccess(enum.StrEnum):
    """Who may watch."""

    PUBLIC = "PUBLIC"
    SIGNED_IN = "SIGNED_IN"
    FOLLOWERS = "FOLLOWERS"


CHANNEL_TYPE = Enum(ChannelType, native_enum=False, create_constraint=False, length=16)
PLAYBACK_ACCESS = Enum(PlaybackAccess, native_enum=False, create_constraint=False, length=16)


class Channel(Provisioned, Base):
    """A user's one channel.

    `live_stream_id` and `live_since` are derived from the channel's streams (`models.stream.refresh_live`) and stored
    only so that the live channels can be listed from an index; no event ever sets them by itself. `viewer_count` is
    that of the live stream, 0 while there is none.
    `type` is the one that Amazon named, null while there is no channel.
    `is_partner` is what Amazon has been told, not what the number of followers would allow.
    `playback_access` is the owner's rule, in force at once; `is_authorized` is whether Amazon may ask players for a
    token: from the moment the channel becomes private until Amazon has been told that it is public again.
    """

    __tablename__ = "channels"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id", ondelete="SET NULL"))
    name: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    playback_url: Mapped[str | None] = mapped_column(Text)
    ingest_endpoint: Mapped[str | None] = mapped_column(Text)
    type: Mapped[ChannelType | None] = mapped_column(CHANNEL_TYPE)
    stream_key_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    stream_key_arn: Mapped[str | None] = mapped_column(Text)
    # use_alter: channels and streams point at each other.
    live_stream_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("streams.id", ondelete="SET NULL", use_alter=True), unique=True
    )
    live_since: Mapped[Timestamp | None]
    follower_count: Mapped[int] = mapped_column(server_default=text("0"))
    viewer_count: Mapped[int] = mapped_column(server_default=text("0"))
    playback_access: Mapped[PlaybackAccess] = mapped_column(PLAYBACK_ACCESS, server_default=PlaybackAccess.PUBLIC)
    is_authorized: Mapped[bool] = mapped_column(server_default=text("false"))
    is_partner: Mapped[bool] = mapped_column(server_default=text("false"))
    listed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), Computed(_LISTED_AT, persisted=True))
    # By code point, whatever the database's collation: the order is the same everywhere, and so are cursors.
    name_order: Mapped[str] = mapped_column(Text(collation="C"), Computed("lower(name)", persisted=True))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    @property
    def is_live(self) -> bool:
        """Whether viewers can watch right now."""
        return self.live_stream_id is not None

    @property
    def is_private(self) -> bool:
        """Whether only some may watch."""
        return self.playback_access is not PlaybackAccess.PUBLIC

    __table_args__ = (
        *provisioned_rules("channels"),
        CheckConstraint("name ~ '^[A-Za-z0-9][A-Za-z0-9_-]{2,29}$'", name="name_shape"),
        CheckConstraint("char_length(title) BETWEEN 1 AND 140", name="title_length"),
        CheckConstraint(
            "provisioning <> 'READY' OR (playback_url IS NOT NULL AND ingest_endpoint IS NOT NULL)",
            name="ready_is_playable",
        ),
        CheckConstraint("type IN ('BASIC', 'STANDARD', 'ADVANCED_SD', 'ADVANCED_HD')", name="type_known"),
        CheckConstraint("provisioning <> 'READY' OR type IS NOT NULL", name="ready_has_type"),
        CheckConstraint("follower_count >= 0", name="follower_count_positive"),
        CheckConstraint("viewer_count >= 0", name="viewer_count_positive"),
        CheckConstraint("live_stream_id IS NULL OR live_since IS NOT NULL", name="live_has_start"),
        CheckConstraint("playback_access IN ('PUBLIC', 'SIGNED_IN', 'FOLLOWERS')", name="playback_access_known"),
        CheckConstraint("is_authorized OR playback_access = 'PUBLIC'", name="private_asks_for_token"),
        Index("uq_channels_name_lower", func.lower(name), unique=True),
        Index(
            "ix_channels_live_since_id",
            text("live_since DESC"),
            text("id DESC"),
            postgresql_where=text("live_stream_id IS NOT NULL"),
        ),
        Index(
            "ix_channels_live_category_id",
            "category_id",
            text("live_since DESC"),
            text("id DESC"),
            postgresql_where=text("live_stream_id IS NOT NULL"),
        ),
        Index("ix_channels_category_id_listed_at_id", "category_id", text("listed_at DESC"), text("id DESC")),
        Index("ix_channels_listed_at_id", text("listed_at DESC"), text("id DESC")),
        Index("ix_channels_viewer_count_id", text("viewer_count DESC"), text("id DESC")),
        Index("ix_channels_follower_count_id", text("follower_count DESC"), text("id DESC")),
        Index("uq_channels_name_order", "name_order", unique=True),
        Index(
            "ix_channels_name_title_trigrams",
            "name",
            "title",
            postgresql_using="gin",
            postgresql_ops={"name": "gin_trgm_ops", "title": "gin_trgm_ops"},
        ),
    )
