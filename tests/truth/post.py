"""What has to arrive, whatever else is lost: of the rest nobody can know, not even who asks Amazon."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.truth.amazon import Happened, Place
from tests.truth.histories import Fate
from tests.truth.reference import Channel

# Each tells that there is a stream of which Amazon can be asked; what only tells that a session is over does not.
_TELLS = {"Stream Start", "Stream End", "Recording Start", "Recording End"}
_HINTS = {"Session Created", "Starvation Start", "Starvation End"}


@dataclass
class Post:
    """An event on its way."""

    event: Happened
    fate: Fate

    def __str__(self) -> str:
        return f"{self.event.name} ({self.fate})"

    @property
    def arrives(self) -> bool:
        return bool(self.fate.doors)

    @property
    def streams(self) -> set[str]:
        """The streams that the event names."""
        detail = self.event["detail"]
        return {str(detail.get("stream_id")), *detail.get("recording_session_stream_ids", ())}


def fated(events: Iterable[Happened], fates: tuple[Fate, ...]) -> list[Post]:
    ordered = sorted(events, key=lambda event: (event.at, event.name))
    return [Post(event, fates[place % len(fates)]) for place, event in enumerate(ordered)]


def spare(posts: list[Post], channel: Channel, place: Place) -> list[Post]:
    """Let those events of a channel arrive after all without which nobody could know the truth; return them."""
    spared = list(_of_streams(posts, channel, place))
    for post in spared:
        post.fate = Fate()
    return spared


def _of_streams(posts: list[Post], channel: Channel, place: Place) -> Iterable[Post]:
    for stream, broadcast in zip(place.given, channel.broadcasts, strict=True):
        about = [post for post in posts if stream in post.streams]
        names = {post.event.name for post in about if post.arrives}
        hinted = names & _HINTS and "Session Ended" not in names
        # Who is live is listed.
        if broadcast.started and broadcast.ended and not names & _TELLS and not hinted:
            yield next(post for post in about if post.event.name == "Stream Start")
