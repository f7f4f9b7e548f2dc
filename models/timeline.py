"""Which events of the journal the timeline of a stream shows, where one was made up and came after all.

What reconciliation has found missing stands in the journal like any event. Nothing is taken out of it when the event
itself arrives, or was there before: who reads leaves one of the two out, so that their order makes no difference.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_
from sqlalchemy.orm import aliased

from models.received import RECONCILIATION, ReceivedEvent

_HEALTH: Final = "IVS Stream Health Change"


def _name(event: Any) -> ColumnElement[str]:
    # Of recordings there is a status, and no name.
    return func.coalesce(*(event.body["detail"][member].astext for member in ("event_name", "recording_status")))


def _of_same_stream(event: Any, other: Any) -> ColumnElement[bool]:
    return and_(
        event.channel_id == other.channel_id,
        event.ivs_stream_id == other.ivs_stream_id,
        event.detail_type == other.detail_type,
    )


def _stands_for(made_up: Any, real: Any) -> ColumnElement[bool]:
    """Return whether the one was made up because the other was missing."""
    opposite = aliased(ReceivedEvent)
    # A stream starts and ends once. It may starve often: the time that was made up is that of the look, and so the
    # last one before it is meant, if the opposite has not happened since.
    happened_since = (
        exists()
        .where(
            _of_same_stream(opposite, made_up),
            _name(opposite) != _name(made_up),
            opposite.occurred_at > real.occurred_at,
            opposite.occurred_at <= made_up.occurred_at,
        )
        .correlate(made_up, real)
    )
    return and_(
        made_up.door == RECONCILIATION,
        real.door != RECONCILIATION,
        _of_same_stream(real, made_up),
        _name(real) == _name(made_up),
        or_(
            made_up.detail_type != _HEALTH,
            and_(real.occurred_at <= made_up.occurred_at, not_(happened_since)),
        ),
    )


def _shown() -> ColumnElement[bool]:
    real = aliased(ReceivedEvent)
    return or_(ReceivedEvent.door != RECONCILIATION, not_(exists().where(_stands_for(ReceivedEvent, real))))


def _news() -> ColumnElement[bool]:
    other = aliased(ReceivedEvent)
    earlier = other.position < ReceivedEvent.position
    return or_(
        and_(ReceivedEvent.door == RECONCILIATION, not_(exists().where(_stands_for(ReceivedEvent, other), earlier))),
        and_(ReceivedEvent.door != RECONCILIATION, not_(exists().where(_stands_for(other, ReceivedEvent), earlier))),
    )


SHOWN: Final = _shown()
"""The event itself, and what was made up only where it is still missing."""
NEWS: Final = _news()
"""Of the event itself and of what was made up for it the one that arrived first, which is what listeners were told."""
