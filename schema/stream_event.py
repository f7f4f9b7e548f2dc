"""What happened to streams."""

from datetime import datetime

import strawberry

import models
from resolvers import stream_events
from schema.base import row_type, value
from schema.enums import StreamEventType


@row_type(models.ReceivedEvent, description="Something that Amazon told about a stream, for the owner of its channel.")
class StreamEvent:
    """An event of the journal."""

    type: StreamEventType = value(stream_events.kind, description="What happened.")
    name: str = value(
        stream_events.name, description="Amazon's name for it, as in Stream Start; of a LIMIT_BREACH the limit's name."
    )
    code: str | None = value(stream_events.code, description="Amazon's code for the reason; null if it gave none.")
    message: str = value(stream_events.message, description="Sentence that explains it.")
    limit_value: float | None = value(
        stream_events.limit_value, description="Limit that was exceeded, in `limitUnit`; null but for a LIMIT_BREACH."
    )
    limit_exceeded_by: float | None = value(
        stream_events.limit_exceeded_by, description="By how much, in `limitUnit`; null but for a LIMIT_BREACH."
    )
    limit_unit: str | None = value(
        stream_events.limit_unit, description="Amazon's word for the unit; null but for a LIMIT_BREACH."
    )
    occurred_at: datetime = strawberry.field(description="When it happened, to the second.")
