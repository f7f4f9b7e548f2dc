"""Every topic there is. A topic's text is all that travels on the bus: an id, never a row.

A notice means "look again", so notices may be merged, doubled and repeated without harm.
"""

from uuid import UUID


def channel(channel_id: UUID) -> str:
    """Return the topic of a channel's state: live or not, title, category, provisioning of its owner's resources."""
    return f"channel:{channel_id.hex}"


def viewers(channel_id: UUID) -> str:
    """Return the topic of a channel's number of viewers."""
    return f"viewers:{channel_id.hex}"


def stream_events(channel_id: UUID) -> str:
    """Return the topic of what happens to a channel's streams: heard whenever an event was journalled."""
    return f"stream-events:{channel_id.hex}"


def channel_live(channel_id: UUID) -> str:
    """Return the topic of a channel's going live, for its followers: told once, however many they are."""
    return f"live:{channel_id.hex}"


def stage(stage_id: UUID) -> str:
    """Return the topic of a stage's state: who is on it, whom it invites, who asks to join, its provisioning."""
    return f"stage:{stage_id.hex}"


def user(user_id: UUID) -> str:
    """Return the topic of what is meant for one user: invitations, requests to join, whom the user follows."""
    return f"user:{user_id.hex}"


def session(session_id: UUID) -> str:
    """Return the topic of a session: heard once, when it ends."""
    return f"session:{session_id.hex}"


def directory(category_id: UUID | None) -> str:
    """Return the topic of which channels are live: of one category, or of all if null."""
    return "directory" if category_id is None else f"directory:{category_id.hex}"
