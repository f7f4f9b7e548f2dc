"""What a channel was called before: titles and categories with the time at which each ended.

The present ones stand in the channel's row, so a channel that was never renamed has no history, and the title in force
at a moment is the first one that ended after it, or else the present one. Events are late; titles are not: what was in
force at a past moment never changes again.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    SQLColumnExpression,
    Text,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Timestamp, uuid7
from models.channel import Channel


class ChannelTitle(Base):
    """Title and category that a channel had until a moment."""

    __tablename__ = "channel_titles"

    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id", ondelete="SET NULL"), index=True)
    title: Mapped[str] = mapped_column(Text)
    ended_at: Mapped[Timestamp]

    __table_args__ = (
        CheckConstraint("char_length(title) BETWEEN 1 AND 140", name="title_length"),
        Index("ix_channel_titles_channel_id_ended_at_id", "channel_id", "ended_at", "id"),
    )


def in_force(channel_id: SQLColumnExpression[UUID], moment: ColumnElement[datetime]) -> Select[str, UUID | None]:
    """Return the statement for the former title and category of a moment; no row if the present ones were in force."""
    return (
        select(ChannelTitle.title, ChannelTitle.category_id)
        .where(ChannelTitle.channel_id == channel_id, ChannelTitle.ended_at > moment)
        .order_by(ChannelTitle.ended_at, ChannelTitle.id)
        .limit(1)
    )


async def keep(session: AsyncSession, channel: Channel) -> None:
    """Remember the channel's title and category as they are, before they change.

    The caller holds a lock on the channel's row. The clock is read under it and not at the transaction's start: two
    changes at once would else end in the other order than they were made.
    """
    former = ChannelTitle(id=uuid7(), channel_id=channel.id, category_id=channel.category_id, title=channel.title)
    former.ended_at = func.clock_timestamp()
    session.add(former)
    await session.flush()
