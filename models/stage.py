"""Stages, who is on them, and the rule that turns late, doubled, swapped evidence into one truth.

Each column of evidence moves one way only, so a participant's row is the same whatever the order and number of the
events; whether somebody publishes follows from the rows, never from the last event that came in.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
    Update,
    Uuid,
    any_,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Timestamp, UpdatedAt
from models.evidence import Merger, gathered
from models.provisioned import Provisioned, provisioned_rules
from models.statement import Statement
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


_MERGER = Merger(
    StageParticipant,
    key=("stage_id", "ivs_session_id", "participant_id"),
    owner=Stage,
    evidence=("published_at", "unpublished_at", "user_id"),
    least=(),
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one event says about one participant; null where it says nothing."""

    ivs_session_id: str
    participant_id: str
    published_at: datetime | None = None
    unpublished_at: datetime | None = None
    user_id: UUID | None = None


async def record(session: AsyncSession, sightings: Mapping[UUID, Sequence[Sighting]]) -> set[UUID]:
    """Merge what was seen on each stage into its participants; return the ids of those stages of which any row changed.

    The caller holds locks on the stages' rows: two workers that merge at once would each derive whether one is live
    without the other's participant.
    """
    named = {one.user_id for seen in sightings.values() for one in seen if one.user_id is not None}
    users = set((await session.execute(select(User.id).where(User.id.in_(named)))).scalars()) if named else set()
    told: defaultdict[tuple[UUID, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for stage_id, seen in sightings.items():
        for one in seen:
            user_id = one.user_id if one.user_id in users else None
            told[stage_id, one.ivs_session_id, one.participant_id].append(
                {"published_at": one.published_at, "unpublished_at": one.unpublished_at, "user_id": user_id}
            )
    rows = [
        {
            "stage_id": stage_id,
            "ivs_session_id": session_id,
            "participant_id": participant_id,
            **gathered(about, least=()),
        }
        for (stage_id, session_id, participant_id), about in told.items()
    ]
    return set((await _MERGER.merge(session, rows)).values())


async def refresh_live(session: AsyncSession, stage_ids: Collection[UUID]) -> None:
    """Derive anew since when somebody publishes on each stage; null when nobody does."""
    await _REFRESH.all(session, {"stages": list(stage_ids)})


def _refreshing() -> Update:
    since = (
        select(func.min(StageParticipant.published_at))
        .where(StageParticipant.stage_id == Stage.id, StageParticipant.on_stage)
        .correlate(Stage)
        .scalar_subquery()
    )
    return (
        update(Stage)
        .where(Stage.id == any_(bindparam("stages", type_=ARRAY(Uuid()))), Stage.live_since.is_distinct_from(since))
        .values(live_since=since)
    )


_REFRESH = Statement(_refreshing())
