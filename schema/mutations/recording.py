"""What an owner does to a recording."""

from typing import Annotated

import strawberry

from resolvers import recordings
from resolvers.errors import Refused
from schema.base import Info, parse_id, typed
from schema.channel import Channel
from schema.errors import RecordingInProgress, members

RecordingDeleteError = Annotated[
    RecordingInProgress, strawberry.union("RecordingDeleteError", description="Why a recording was not deleted.")
]


@strawberry.input(description="Recording to delete.")
class RecordingDeleteInput:
    recording_id: strawberry.ID = strawberry.field(description="Id of the recording; of the viewer's own channel.")


@strawberry.type(description="Outcome of a deletion: the channel without the recording, or errors.")
class RecordingDeletePayload:
    channel: Channel | None = strawberry.field(
        default=None, description="Channel of which the recording was; null if there are errors."
    )
    errors: list[RecordingDeleteError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.type(description="Mutations of recordings.")
class RecordingMutations:
    """Mutations of recordings."""

    @strawberry.mutation(
        description="Delete a recording that is over: it is gone from every list at once, and its files soon after. "
        "Doing it twice is no error. Owner of the channel only."
    )
    async def recording_delete(
        self, info: Info, input: Annotated[RecordingDeleteInput, strawberry.argument(description="The recording.")]
    ) -> RecordingDeletePayload:
        _, key = parse_id(input.recording_id, argument="input.recordingId", expected="Recording")
        try:
            channel = await recordings.remove(info.context, key)
        except Refused as refused:
            return RecordingDeletePayload(errors=members(refused))
        info.context.renew()
        return RecordingDeletePayload(channel=typed(Channel, channel))
