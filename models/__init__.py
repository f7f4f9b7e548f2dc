"""Tables, the engine, migrations and the rules of state. Knows neither GraphQL nor AWS."""

from models.base import Base, utcnow, uuid7
from models.category import Category
from models.channel import Channel, ChannelType, PlaybackAccess
from models.chat import ChatBan, ChatDeletion, ChatMessage, ChatRoom
from models.chat_archive import ChatArchive
from models.chore import Chore, ChoreKind
from models.deletion import RecordingDeletion
from models.follow import Follow
from models.invitation import JoinRequestState, StageJoinRequest, StageRevocation, StageToken
from models.metric import Metric
from models.provisioned import Provisioned, ProvisioningState
from models.received import Outcome, ReceivedEvent
from models.recording import Recording, RecordingState
from models.removal import Removal, ResourceKind
from models.rollup import Rhythm
from models.stage import Stage, StageParticipant
from models.stream import Stream, StreamHealth, StreamState
from models.title import ChannelTitle
from models.user import Pace, Session, User

__all__ = [
    "Base",
    "Category",
    "Channel",
    "ChannelTitle",
    "ChannelType",
    "ChatArchive",
    "ChatBan",
    "ChatDeletion",
    "ChatMessage",
    "ChatRoom",
    "Chore",
    "ChoreKind",
    "Follow",
    "JoinRequestState",
    "Metric",
    "Outcome",
    "Pace",
    "PlaybackAccess",
    "Provisioned",
    "ProvisioningState",
    "ReceivedEvent",
    "Recording",
    "RecordingDeletion",
    "RecordingState",
    "Removal",
    "ResourceKind",
    "Rhythm",
    "Session",
    "Stage",
    "StageJoinRequest",
    "StageParticipant",
    "StageRevocation",
    "StageToken",
    "Stream",
    "StreamHealth",
    "StreamState",
    "User",
    "utcnow",
    "uuid7",
]
