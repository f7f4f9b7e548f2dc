"""Stages, who is on them, and the rule that turns late, doubled, swapped evidence into one truth.

Each column of evidence moves one way only, so a participant's row is the same whatever the order and number of the
events; whether somebody publishes follows from the rows, never from the last event that came in.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Computed,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp, UpdatedAt, uuid7
from models.provisioned import Provisioned, provisioned_rules
from models.user import User


class Stage(Provisioned, Base):
    """A user's one stage on Amazon IVS Real-Time.

    `live_since` is derived from the participants (`refresh_live`) and stored only so that the live stages can be listed
    from an index. `events_url` and `whip_url` go into tokens that we sign; AWS may change them after 14 days.
    """

    __tablename__ = "stages"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    name: Mapped[str] = mapped_column(Text)
    live_since: Mapped[Timestamp | None]
    events_url: Mapped[str | None] = mapped_column(Text)
    whip_url: Mapped[str | None] = mapped_column(Text)
    endpoints_at: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    @property
    def is_live(self) -> bool:
        """Whether somebody publishes right now."""
        return self.live_since is not None

    __table_args__ = (
        *provisioned_rules("stages"),
        Index("uq_stages_name_lower", func.lower(name), unique=True),
        Index(
            "ix_stages_live_since_id",
            text("live_since DESC"),
            text("id DESC"),
            postgresql_where=text("live_since IS NOT NULL"),
        ),
    )


# A tie is "off": in one moment, who publishes again does so with a later event.
_ON_STAGE = "published_at IS NOT NULL AND (unpublished_at IS NULL OR published_at > unpublished_at)"


class StageParticipant(Base):
    """Somebody who published on a stage, once per session of the stage.

    `user_id` is what the token said; null for guests, and for users who are gone. No foreign key: an event must not
    wait for a user who is being deleted.
    """

    __tablename__ = "stage_participants"

    stage_id: Mapped[UUID] = mapped_column(ForeignKey("stages.id", ondelete="CASCADE"))
    ivs_session_id: Mapped[str] = mapped_column(Text)
    participant_id: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    published_at: Mapped[Timestamp | None]
    unpublished_at: Mapped[Timestamp | None]
    on_stage: Mapped[bool] = mapped_column(Computed(_ON_STAGE, persisted=True))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        UniqueConstraint("stage_id", "ivs_session_id", "participant_id"),
        Index("ix_stage_participants_on_stage", "stage_id", "published_at", "id", postgresql_where=text("on_stage")),
    )


_GREATEST = ("published_at", "unpublished_at", "user_id")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one event says about one participant; null where it says nothing."""

    ivs_session_id: str
    participant_id: str
    published_at: datetime | None = None
    unpublished_at: datetime | None = None
    user_id: UUID | None = None


async def record(session: AsyncSession, stage: Stage, sightings: Sequence[Sighting]) -> bool:
    """Merge what was seen into the stage's participants; return whether any row changed.

    The caller holds a lock on the stage's row: two workers that merge at once would each derive whether it is live
    without the other's participant.
    """
    named = {one.user_id for one in sightings if one.user_id is not None}
    users = set((await session.execute(select(User.id).where(User.id.in_(named)))).scalars()) if named else set()
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in sightings:
        row = rows.setdefault((one.ivs_session_id, one.participant_id), dict.fromkeys(_GREATEST))
        for column in _GREATEST:
            value = getattr(one, column)
            if value is not None and (column != "user_id" or value in users):
                row[column] = value if row[column] is None else max(row[column], value)
    changed = False
    for (ivs_session_id, participant_id), row in sorted(rows.items()):
        statement = insert(StageParticipant).values(
            id=uuid7(), stage_id=stage.id, ivs_session_id=ivs_session_id, participant_id=participant_id, **row
        )
        # GREATEST ignores nulls.
        merged: dict[str, Any] = {
            column: func.greatest(getattr(StageParticipant, column), getattr(statement.excluded, column))
            for column in _GREATEST
        }
        statement = statement.on_conflict_do_update(
            index_elements=["stage_id", "ivs_session_id", "participant_id"],
            set_={**merged, "updated_at": func.now()},
            # A doubled event must not look like news, neither to subscribers nor to `updated_at`.
            where=or_(*(getattr(StageParticipant, column).is_distinct_from(value) for column, value in merged.items())),
        )
        changed |= (await session.execute(statement.returning(StageParticipant.id))).first() is not None
    return changed


async def refresh_live(session: AsyncSession, stage_ids: Collection[UUID]) -> None:
    """Derive anew since when somebody publishes on each stage; null when nobody does."""
    since = (
        select(func.min(StageParticipant.published_at))
        .where(StageParticipant.stage_id == Stage.id, StageParticipant.on_stage)
        .correlate(Stage)
        .scalar_subquery()
    )
    await session.execute(
        update(Stage)
        .where(Stage.id.in_(stage_ids), Stage.live_since.is_distinct_from(since))
        .values(live_since=since)
        .execution_options(synchronize_session=False)
    )
