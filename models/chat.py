"""Chat rooms, what was said in them, and who may not enter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    Text,
    UniqueConstraint,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from models.base import Base, CreatedAt, Timestamp, UpdatedAt, uuid7
from models.channel import Channel
from models.provisioned import Provisioned, provisioned_rules
from models.stream import Stream
from models.user import User

LONGEST_MESSAGE = 500
LONGEST_SENDER_NAME = 64
LONGEST_REASON = 200


class ChatRoom(Provisioned, Base):
    """A user's one chat room on Amazon IVS Chat."""

    __tablename__ = "chat_rooms"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = provisioned_rules("chat_rooms")


class ChatMessage(Base):
    """What somebody said, known by the id that IVS gave it, so that a message that is read twice is kept once.

    The sender's name is the one under which it was said: it outlives renames, the account, and guests have no other.
    """

    __tablename__ = "chat_messages"

    chat_room_id: Mapped[UUID] = mapped_column(ForeignKey("chat_rooms.id", ondelete="CASCADE"))
    stream_id: Mapped[UUID | None] = mapped_column(ForeignKey("streams.id", ondelete="SET NULL"))
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    ivs_message_id: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    sender_name: Mapped[str] = mapped_column(Text)
    is_guest: Mapped[bool] = mapped_column(server_default=text("false"))
    sent_at: Mapped[Timestamp]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("chat_room_id", "ivs_message_id"),
        CheckConstraint("ivs_message_id <> ''", name="ivs_message_id_given"),
        CheckConstraint(f"char_length(content) BETWEEN 1 AND {LONGEST_MESSAGE}", name="content_length"),
        CheckConstraint(f"char_length(sender_name) BETWEEN 1 AND {LONGEST_SENDER_NAME}", name="sender_name_length"),
        CheckConstraint("NOT is_guest OR user_id IS NULL", name="guest_has_no_account"),
        Index("ix_chat_messages_chat_room_id_sent_at_id", "chat_room_id", "sent_at", "id"),
        Index("ix_chat_messages_sent_at", "sent_at"),
        Index(
            "ix_chat_messages_stream_id_sent_at_id",
            "stream_id",
            "sent_at",
            "id",
            postgresql_where=text("stream_id IS NOT NULL"),
        ),
    )


class ChatDeletion(Base):
    """A message that was deleted, whether it had been kept by then or not: it is not kept any more.

    A message and its deletion may be read in any order, and a message more than once. Needed for as long as the
    message may still be read; see `subscriptions.retention`.
    """

    __tablename__ = "chat_deletions"

    chat_room_id: Mapped[UUID] = mapped_column(ForeignKey("chat_rooms.id", ondelete="CASCADE"))
    ivs_message_id: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("chat_room_id", "ivs_message_id"),
        CheckConstraint("ivs_message_id <> ''", name="ivs_message_id_given"),
        Index("ix_chat_deletions_created_at", "created_at"),
    )


class ChatBan(Base):
    """A user who may not enter a room. By id, so that no other name helps.

    A token that was given out just before the ban still opens the room for a minute. Therefore the user is
    disconnected once more at `enforce_after`, by whichever worker comes first; null when nothing is left to do.
    """

    __tablename__ = "chat_bans"

    chat_room_id: Mapped[UUID] = mapped_column(ForeignKey("chat_rooms.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    enforce_after: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("chat_room_id", "user_id"),
        CheckConstraint(f"char_length(reason) BETWEEN 1 AND {LONGEST_REASON}", name="reason_length"),
        Index("ix_chat_bans_chat_room_id_id", "chat_room_id", text("id DESC")),
        Index("ix_chat_bans_enforce_after", "enforce_after", postgresql_where=text("enforce_after IS NOT NULL")),
    )


@dataclass(frozen=True, slots=True)
class Said:
    """A message as Amazon tells of it; `user_id` is null for guests."""

    ivs_message_id: str
    content: str
    sender_name: str
    sent_at: datetime
    user_id: UUID | None = None


_COLUMNS: Final[Mapping[str, TypeEngine[Any]]] = {
    "id": Uuid(),
    "ivs_message_id": Text(),
    "content": Text(),
    "sender_name": Text(),
    "sent_at": TIMESTAMP(timezone=True),
    "user_id": Uuid(),
    "is_guest": Boolean(),
}


async def keep(session: AsyncSession, room_id: UUID, said: Sequence[Said]) -> int:
    """Keep what was said in a room, each with the stream during which it was sent; return how many rows changed.

    May be repeated: a message that is kept already stays as it is, but for its stream, of which more may be known now.
    What was deleted is not kept. One statement of as many parameters for any number of messages.
    """
    last = [one for _, one in sorted({one.ivs_message_id: one for one in said}.items())]
    if not last:
        return 0
    senders = any_(literal([one.user_id for one in last if one.user_id], ARRAY(Uuid())))
    owner = select(ChatRoom.user_id).where(ChatRoom.id == room_id).scalar_subquery()
    # Locked, so that an account that is deleted right now costs its messages the sender and not the room its messages;
    # the owner too, and before the room, in the order in which the deletion of an account locks them.
    there = select(User.id).where(or_(User.id == senders, User.id == owner)).order_by(User.id)
    known = set(await session.scalars(there.with_for_update(read=True, key_share=True)))
    if not await _lock(session, room_id):
        return 0
    rows = [
        (
            uuid7(),
            one.ivs_message_id,
            one.content,
            one.sender_name,
            one.sent_at,
            one.user_id if one.user_id in known else None,
            one.user_id is None,
        )
        for one in last
    ]
    arrays = zip(_COLUMNS.items(), zip(*rows, strict=True), strict=True)
    given = (
        func.unnest(*(bindparam(name, list(values), type_=ARRAY(kind)) for (name, kind), values in arrays))
        .table_valued(*_COLUMNS, name="given")
        .render_derived()
    )
    newest = _newest_stream(room_id, given.c.sent_at).correlate(given).lateral("newest")
    live = or_(newest.c.ended_at.is_(None), given.c.sent_at < newest.c.ended_at)
    stream_id = case((live, newest.c.id))
    source = select(bindparam("room", room_id, type_=Uuid()), stream_id, *(given.c[name] for name in _COLUMNS))
    gone = (ChatDeletion.chat_room_id == room_id, ChatDeletion.ivs_message_id == given.c.ivs_message_id)
    source = (
        source.select_from(given)
        .join(newest, true(), isouter=True)
        .where(~select(ChatDeletion.id).where(*gone).exists())
    )
    added = insert(ChatMessage).from_select(["chat_room_id", "stream_id", *_COLUMNS], source)
    written = added.on_conflict_do_update(
        index_elements=[ChatMessage.chat_room_id, ChatMessage.ivs_message_id],
        set_={"stream_id": added.excluded.stream_id},
        where=ChatMessage.stream_id.is_distinct_from(added.excluded.stream_id),
    )
    return len((await session.scalars(written.returning(ChatMessage.id))).all())


async def forget(session: AsyncSession, room_id: UUID, ivs_message_ids: Sequence[str]) -> int:
    """Take deleted messages out of the room, now and whenever they are read later; return how many were there."""
    if not ivs_message_ids or not await _lock(session, room_id):
        return 0
    rows = [
        {"id": uuid7(), "chat_room_id": room_id, "ivs_message_id": message_id}
        for message_id in sorted(set(ivs_message_ids))
    ]
    key = (ChatDeletion.chat_room_id, ChatDeletion.ivs_message_id)
    await session.execute(insert(ChatDeletion).on_conflict_do_nothing(index_elements=key), rows)
    these = ChatMessage.ivs_message_id == any_(literal(list(ivs_message_ids), ARRAY(Text())))
    gone = delete(ChatMessage).where(ChatMessage.chat_room_id == room_id, these).returning(ChatMessage.id)
    return len((await session.scalars(gone)).all())


async def _lock(session: AsyncSession, room_id: UUID) -> bool:
    """Wait for whoever keeps or deletes messages of the room; return whether it is there.

    Without it, of a message and its deletion that are written at once neither would see the other.
    """
    room = select(ChatRoom.id).where(ChatRoom.id == room_id).with_for_update(key_share=True)
    return await session.scalar(room) is not None


def _newest_stream(room_id: UUID, at: ColumnElement[datetime]) -> Select[UUID, datetime | None]:
    """Return the stream that was the newest on the channel of the room's owner, whether it had ended or not."""
    return (
        select(Stream.id, Stream.ended_at)
        .join(Channel, Channel.id == Stream.channel_id)
        .join(ChatRoom, ChatRoom.user_id == Channel.user_id)
        .where(ChatRoom.id == room_id, Stream.started_at <= at)
        .order_by(Stream.started_at.desc(), Stream.id.desc())
        .limit(1)
    )
