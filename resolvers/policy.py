"""Who may do what: pure functions of the viewer and a row. Fields of `schema` name the one that guards them."""

from collections.abc import Callable
from typing import Any, Literal

from models import Channel, ChatRoom, PlaybackAccess, Recording, Stage, StageToken, Stream
from resolvers.context import Viewer

Policy = Callable[[Viewer | None, Any], bool]

Capability = Literal["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]
"""What a chat token allows besides reading, in Amazon's words."""

Guests = Literal["write", "read", "none"]
"""What guests may do in chat rooms."""


def owns(viewer: Viewer | None, row: Channel | ChatRoom | Stage | StageToken) -> bool:
    """Tell whether the channel, chat room, stage or invitation is the viewer's: shows its secrets, may be changed."""
    return viewer is not None and viewer.user_id == row.user_id


def may_watch(viewer: Viewer | None, channel: Channel, *, follows: bool) -> bool:
    """Tell whether the owner's rule admits the viewer, who follows the channel or not."""
    match channel.playback_access:
        case PlaybackAccess.PUBLIC:
            return True
        case PlaybackAccess.SIGNED_IN:
            return viewer is not None
        case PlaybackAccess.FOLLOWERS:
            return owns(viewer, channel) or (viewer is not None and follows)


def broadcast(viewer: Viewer | None, row: Stream | Recording) -> bool:
    """Tell whether the stream or recording is of the viewer's channel: tells what happened to it, may be deleted."""
    return viewer is not None and viewer.channel_id == row.channel_id


def chat_capabilities(viewer: Viewer | None, room: ChatRoom, guests: Guests) -> tuple[Capability, ...]:
    """Return what the viewer may do in the room; whoever may enter at all may read."""
    if owns(viewer, room):
        return ("SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER")
    return ("SEND_MESSAGE",) if viewer is not None or guests == "write" else ()
