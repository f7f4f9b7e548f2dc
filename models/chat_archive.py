"""How far the chat of each stream is read from Amazon's log, and when it is read next.

A row belongs to one stream and leads to its owner's room. `read_after` is both the time of the next reading and the
lease of the present one; null when the log has settled and nothing is left to read. A reading goes over a window of
time, page by page: how far it is stands in the row, so that whoever comes after a worker that died goes on there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, case, func, select, text, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from models.base import Base, CreatedAt, Timestamp, uuid7, uuid7_of
from models.channel import Channel
from models.chat import ChatRoom
from models.stream import Stream

# Streams of which we have heard for the first time so long ago, and that are over, are not taken up any more.
_RECENT: Final = timedelta(days=1)
_ENROLLED_AT_ONCE: Final = 500


class ChatArchive(Base):
    """State of the archive of one stream's chat.

    Attributes:
        read_until: Everything up to here has been read once at least.
        window_start: First moment of the window that is being read; null between two readings.
        window_end: Last moment of that window.
        mark: Where in the window the next page begins; null at its beginning.
        looks: Windows that were read to their end since the stream's.
        attempts: Tries in a row that failed.
        error: Code of the last of them.
    """

    __tablename__ = "chat_archives"

    stream_id: Mapped[UUID] = mapped_column(ForeignKey("streams.id", ondelete="CASCADE"), unique=True)
    read_until: Mapped[Timestamp]
    window_start: Mapped[Timestamp | None]
    window_end: Mapped[Timestamp | None]
    mark: Mapped[str | None] = mapped_column(Text)
    looks: Mapped[int] = mapped_column(server_default=text("0"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None] = mapped_column(Text)
    read_after: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("(window_start IS NULL) = (window_end IS NULL)", name="window_whole"),
        CheckConstraint("mark IS NULL OR window_start IS NOT NULL", name="mark_in_window"),
        Index("ix_chat_archives_read_after", "read_after", postgresql_where=text("read_after IS NOT NULL")),
    )


@dataclass(frozen=True, slots=True)
class Due:
    """A leased row, with what else a reading needs; `ended_at` is null while the stream is live.

    The end of a stream may be lost: what another one has followed on the channel was over when that began.
    """

    archive: ChatArchive
    room_id: UUID
    room_arn: str
    started_at: datetime
    ended_at: datetime | None
    now: datetime


async def enrol(session: AsyncSession) -> int:
    """Begin the archive of streams that have none: all that are live, and those that are new. Return how many."""
    since: Any = await session.scalar(select(func.now() - _RECENT))
    newest = select(Stream.id).where(Stream.id >= uuid7_of(int(since.timestamp() * 1000), 0))
    candidates = union(newest, select(Channel.live_stream_id).where(Channel.live_stream_id.is_not(None))).subquery()
    known = select(ChatArchive.id).where(ChatArchive.stream_id == Stream.id).exists()
    fresh = (
        select(Stream.id, Stream.started_at)
        .join(candidates, candidates.c.id == Stream.id)
        .join(Channel, Channel.id == Stream.channel_id)
        .join(ChatRoom, ChatRoom.user_id == Channel.user_id)
        .where(Stream.started_at.is_not(None), ChatRoom.arn.is_not(None), ~known)
        .limit(_ENROLLED_AT_ONCE)
    )
    found = (await session.execute(fresh)).all()
    if not found:
        return 0
    rows = [
        {"id": uuid7(), "stream_id": stream_id, "read_until": started_at, "read_after": func.now()}
        for stream_id, started_at in found
    ]
    # Another worker may have been faster.
    added = insert(ChatArchive).values(rows).on_conflict_do_nothing(index_elements=[ChatArchive.stream_id])
    return len((await session.scalars(added.returning(ChatArchive.id))).all())


async def claim(session: AsyncSession, *, lease: timedelta, batch: int) -> Sequence[Due]:
    """Lease rows that are due, the longest due first, and return them."""
    due = (
        select(ChatArchive.id)
        .where(ChatArchive.read_after <= func.now())
        .order_by(ChatArchive.read_after)
        .limit(batch)
        .with_for_update(skip_locked=True)
    )
    leased = (
        update(ChatArchive)
        .where(ChatArchive.id.in_(due.scalar_subquery()))
        .values(read_after=func.now() + lease)
        .returning(ChatArchive.id)
    )
    ids = (await session.scalars(leased, execution_options={"synchronize_session": False})).all()
    other = aliased(Stream)
    followed_at = (
        select(func.min(other.started_at))
        .where(other.channel_id == Stream.channel_id, other.id != Stream.id, other.started_at >= Stream.started_at)
        .scalar_subquery()
    )
    ended_at = case((Channel.live_stream_id == Stream.id, None), else_=func.coalesce(Stream.ended_at, followed_at))
    whole = (
        select(ChatArchive, ChatRoom.id, ChatRoom.arn, Stream.started_at, ended_at, func.now())
        .join(Stream, Stream.id == ChatArchive.stream_id)
        .join(Channel, Channel.id == Stream.channel_id)
        .join(ChatRoom, ChatRoom.user_id == Channel.user_id)
        .where(ChatArchive.id.in_(ids), ChatRoom.arn.is_not(None))
        .execution_options(populate_existing=True)
    )
    rows: Any = await session.execute(whole) if ids else ()
    return [Due(*row) for row in rows]


async def note(session: AsyncSession, archive: ChatArchive, **values: Any) -> bool:
    """Change the row if its lease is still the one that `archive` was claimed with; return whether it was."""
    mine = (ChatArchive.id == archive.id, ChatArchive.read_after == archive.read_after)
    changed = update(ChatArchive).where(*mine).values(values).returning(ChatArchive.id)
    return (await session.scalars(changed, execution_options={"synchronize_session": False})).first() is not None
