"""Refusals in the domain's words. `schema.errors` gives them GraphQL types or codes; anything else is our bug."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

Code = Literal["UNAUTHENTICATED", "FORBIDDEN", "BAD_INPUT", "TOO_COSTLY", "UNAVAILABLE", "INTERNAL"]


# The database cannot be reached or is restarting; the request may be sent again as it is.
_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, ConnectionError)
# Class 08 is the connection's; then too many connections, and a server that stops, has crashed or starts.
# Source: PostgreSQL, appendix A.
_AWAY_STATES = ("08", "53300", "57P01", "57P02", "57P03")


def database_away(error: BaseException) -> bool:
    """Tell whether the error means that the database does not answer, rather than that we asked wrongly."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, _AWAY)
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, _AWAY) or error.connection_invalidated or state.startswith(_AWAY_STATES)


class RequestError(Exception):
    """The request as a whole is refused: a top-level error with `extensions.code`."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def bad_input(message: str) -> RequestError:
    """Return the error for an argument that no correct client sends."""
    return RequestError("BAD_INPUT", message)


def unauthenticated() -> RequestError:
    """Return the error for what only a signed-in viewer may do."""
    return RequestError("UNAUTHENTICATED", "Sign in first: send `Authorization: Bearer <token>` from sessionCreate.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing a user may have done wrong. `path` names the input field, from `input` down."""

    message: str
    path: Sequence[str] | None = None


class UsernameInvalid(Problem):
    """The name has a form that is not accepted."""


class UsernameTaken(Problem):
    """The name, in some spelling, is another user's or reserved."""


class PasswordInvalid(Problem):
    """The password is too short, too long or too easily guessed."""


class CredentialsInvalid(Problem):
    """No user has this name and password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyAttempts(Problem):
    """A limit on attempts was reached; try again after `retry_after_seconds`."""

    retry_after_seconds: int


class NotFound(Problem):
    """There is no such object, or none that the viewer may know of."""


class OwnChannel(Problem):
    """The channel is the viewer's own, and the action is for others' channels."""


class TextInvalid(Problem):
    """A text is too long, empty, or holds what cannot be kept or shown."""


class NotReady(Problem):
    """Amazon has not created the resource yet; see its `provisioning`."""


class NotLive(Problem):
    """The channel has no stream right now, or nobody publishes on the stage."""


class NotInvited(Problem):
    """The viewer has no open invitation to the stage."""


class OwnStage(Problem):
    """The stage is that of the user, who needs no invitation to it."""


class StageFull(Problem):
    """The stage has as many publishers, open invitations included, as it may have."""


class RequestAnswered(Problem):
    """The request was accepted before, so it can no longer be refused."""


class RecordingInProgress(Problem):
    """The recording is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatBanned(Problem):
    """The viewer is banned from the chat room; `reason` is the owner's, if one was given."""

    reason: str | None


class ChatSelfBan(Problem):
    """The owner of a chat room cannot be banned from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmazonUnavailable(Problem):
    """Amazon did not do it this time; nothing has changed, or the try can be repeated."""

    retry_after_seconds: int


class Refused(Exception):
    """A mutation refuses its input, naming all problems at once."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class PlaybackDenied(Problem):
    """The owner's rule does not admit the viewer."""


class PlaybackKeyMissing(Problem):
    """Private channels need a playback key, and this installation has none."""


class ViewerTokenInvalid(Problem):
    """The viewer token was not signed here, or has expired."""


class NumberInvalid(Problem):
    """A number is none, or lies outside of what can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded(Problem):
    """More waits than may wait; try again after `retry_after_seconds`."""

    retry_after_seconds: int
