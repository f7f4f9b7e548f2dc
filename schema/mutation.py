"""Root of mutations: one class per noun, joined. What a user may have done wrong is in the payload's `errors`."""

import strawberry

from schema.mutations.account import AccountMutations
from schema.mutations.channel import ChannelMutations
from schema.mutations.chat import ChatMutations
from schema.mutations.chat_token import ChatTokenMutations
from schema.mutations.follow import FollowMutations
from schema.mutations.invitation import InvitationMutations
from schema.mutations.metrics import MetricsMutations
from schema.mutations.playback import PlaybackMutations
from schema.mutations.recording import RecordingMutations
from schema.mutations.stage import StageMutations
from schema.mutations.stream import StreamMutations


@strawberry.type(description="Where writing begins. Each mutation has one input and answers with its own payload.")
class Mutation(
    AccountMutations,
    ChannelMutations,
    ChatMutations,
    ChatTokenMutations,
    FollowMutations,
    InvitationMutations,
    StageMutations,
    MetricsMutations,
    PlaybackMutations,
    RecordingMutations,
    StreamMutations,
):
    """Root of mutations."""
