"""Enumerations, described value by value."""

from enum import EnumMeta, StrEnum

import strawberry

import models
from resolvers import directory, recordings, stream_events


def _described(enum_class: EnumMeta, description: str, values: dict[str, str]) -> None:
    """Publish a model's enumeration; every value needs its description."""
    strawberry.enum(enum_class, description=description)
    definition = enum_class.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = values[value.name]


_described(
    models.ProvisioningState,
    "How far the creation of a resource on Amazon IVS is.",
    {
        "PENDING": "Being created, or waiting for its next try.",
        "READY": "Created and usable.",
        "FAILED": "Refused by Amazon; `channelProvision` tries again.",
    },
)
_described(
    models.StreamState,
    "How far a stream is.",
    {
        "STARTING": "The encoder has connected; viewers see nothing yet.",
        "LIVE": "Can be watched.",
        "ENDED": "Was live and is over.",
        "FAILED": "Never became live.",
    },
)
_described(
    models.StreamHealth,
    "Whether the encoder's data arrives.",
    {
        "HEALTHY": "Data arrives.",
        "STARVING": "No data arrives; viewers see a frozen picture.",
    },
)


class ChatCapability(StrEnum):
    """What a chat token allows besides reading: a `policy.Capability`."""

    SEND_MESSAGE = "SEND_MESSAGE"
    DELETE_MESSAGE = "DELETE_MESSAGE"
    DISCONNECT_USER = "DISCONNECT_USER"


_described(
    ChatCapability,
    "What a chat token allows besides reading.",
    {
        "SEND_MESSAGE": "To send messages.",
        "DELETE_MESSAGE": "To have a message hidden from everybody.",
        "DISCONNECT_USER": "To close somebody's connections.",
    },
)

_described(
    models.ChannelType,
    "What Amazon makes of the encoder's picture for the viewers: each gets the rendition that suits the connection.",
    {
        "BASIC": "The encoder's own quality for everybody; up to 1080p at 3.5 Mbps, or 480p at 1.5 Mbps.",
        "STANDARD": "Several renditions, up to the encoder's own quality of at most 1080p at 8.5 Mbps.",
        "ADVANCED_SD": "Several renditions, each made anew and none above 480p, of at most 1080p at 8.5 Mbps.",
        "ADVANCED_HD": "Several renditions, each made anew and none above 720p, of at most 1080p at 8.5 Mbps.",
    },
)
_described(
    models.PlaybackAccess,
    "Who may watch a channel.",
    {
        "PUBLIC": "Everybody.",
        "SIGNED_IN": "Users who are signed in.",
        "FOLLOWERS": "Users who follow the channel, and its owner.",
    },
)
_described(
    models.RecordingState,
    "How far a recording is.",
    {
        "RECORDING": "Its stream is live, or may still be joined by a stream that follows soon.",
        "READY": "Over, and offered.",
        "FAILED": "Nothing, or only a part, was recorded; never offered.",
    },
)
_described(
    recordings.RecordingOrder,
    "Order of a list of recordings.",
    {"NEWEST": "Those that ended last first.", "LONGEST": "Longest first."},
)
_described(
    stream_events.StreamEventType,
    "What may happen to a stream.",
    {
        "SESSION_CREATED": "The encoder connected; viewers see nothing yet.",
        "STREAM_START": "Viewers can watch.",
        "STREAM_END": "Viewers cannot watch any more.",
        "SESSION_ENDED": "The encoder disconnected, or was refused: see `code`.",
        "STREAM_FAILURE": "Amazon did not process the stream.",
        "STREAM_TAKEOVER": "Another encoder goes on with the stream.",
        "STREAM_TAKEOVER_FAILURE": "Another encoder was refused; the stream goes on as before: see `code`.",
        "STARVATION_START": "No data arrives from the encoder.",
        "STARVATION_END": "Data arrives again.",
        "AD_BREAK_INSERTED": "A break for advertisements was put into the stream.",
        "LIMIT_BREACH": "The encoder sends more than Amazon takes.",
        "RECORDING_START": "The recording began.",
        "RECORDING_END": "The recording is complete.",
        "RECORDING_START_FAILURE": "The recording could not begin: see `code`.",
        "RECORDING_END_FAILURE": "The recording broke off: see `code`.",
    },
)
_described(
    directory.ChannelOrder,
    "Order of a list of channels.",
    {
        "LIVE_SINCE": "Live ones by latest start first, then the others by newest first.",
        "CREATED": "Newest first.",
        "FOLLOWERS": "Most followers first.",
        "VIEWERS": "Most present viewers first; a channel whose number changes meanwhile moves in the list.",
        "NAME": "By name, upper and lower case alike.",
    },
)

_described(
    models.JoinRequestState,
    "What became of a request to join a stage.",
    {
        "OPEN": "Waits for the stage's owner.",
        "ACCEPTED": "Answered with an invitation, which may have ended since.",
        "REFUSED": "Refused; the user may ask again.",
    },
)


class StageCapability(StrEnum):
    """What a token for a stage allows."""

    PUBLISH = "PUBLISH"
    SUBSCRIBE = "SUBSCRIBE"


class StageRole(StrEnum):
    """As what somebody joins a stage."""

    HOST = "HOST"
    AUDIENCE = "AUDIENCE"


_described(
    StageCapability,
    "What a token for a stage allows.",
    {"PUBLISH": "To be seen and heard.", "SUBSCRIBE": "To see and hear the others."},
)
_described(
    StageRole,
    "As what somebody joins a stage.",
    {"HOST": "To publish: the owner and who is invited.", "AUDIENCE": "To watch."},
)

ChannelOrder = directory.ChannelOrder
ChannelType = models.ChannelType
PlaybackAccess = models.PlaybackAccess
ProvisioningState = models.ProvisioningState
RecordingState = models.RecordingState
RecordingOrder = recordings.RecordingOrder
StreamEventType = stream_events.StreamEventType
StreamState = models.StreamState
JoinRequestState = models.JoinRequestState
StreamHealth = models.StreamHealth
