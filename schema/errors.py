"""Refusals as types: the interface all share and one type per refusal. Each mutation has its own union of them."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import strawberry

from resolvers import errors

T = TypeVar("T", bound="UserError")


@strawberry.interface(description="What a mutation refused, and why. Clients that know the type read its fields.")
class UserError:
    """Interface of all refusals."""

    message: str = strawberry.field(description="Sentence for the user that says what to change.")
    path: list[str] | None = strawberry.field(
        description="Input field at fault, from `input` down; null if it is none in particular."
    )


_TYPES: dict[type[errors.Problem], type[UserError]] = {}


def refusal(problem: type[errors.Problem], *, description: str) -> Callable[[type[T]], type[T]]:
    """Return the decorator for the type that shows a problem; both have the same fields."""

    def decorate(cls: type[T]) -> type[T]:
        shown = strawberry.type(cls, description=description)
        _TYPES[problem] = shown
        return shown

    return decorate


def members(refused: errors.Refused) -> list[Any]:
    """Return the problems as members of the mutation's union."""
    return [_TYPES[type(problem)](**dataclasses.asdict(problem)) for problem in refused.problems]


@refusal(errors.UsernameInvalid, description="User name of a form that is not accepted.")
class UsernameInvalid(UserError):
    pass


@refusal(errors.UsernameTaken, description="User name that is another user's in some spelling, or reserved.")
class UsernameTaken(UserError):
    pass


@refusal(errors.PasswordInvalid, description="Password that is too short, too long or too easily guessed.")
class PasswordInvalid(UserError):
    pass


@refusal(errors.CredentialsInvalid, description="Name and password that belong to no user.")
class CredentialsInvalid(UserError):
    pass


@refusal(errors.TooManyAttempts, description="Limit on attempts that was reached.")
class TooManyAttempts(UserError):
    retry_after_seconds: int = strawberry.field(description="Seconds to wait before the next attempt can succeed.")


@refusal(errors.NotFound, description="Object that does not exist, or that the viewer may not know of.")
class NotFound(UserError):
    pass


@refusal(errors.OwnChannel, description="Channel of the viewer's own, where only another's will do.")
class OwnChannel(UserError):
    pass


@refusal(errors.TextInvalid, description="Text that is empty, too long, or holds characters that cannot be kept.")
class TextInvalid(UserError):
    pass


@refusal(
    errors.NotReady, description="Resource that Amazon has not created yet; its `provisioning` says how far it is."
)
class NotReady(UserError):
    pass


@refusal(errors.NotLive, description="Channel that has no stream right now, or stage on which nobody publishes.")
class NotLive(UserError):
    pass


@refusal(errors.NotInvited, description="Stage to which the viewer has no open invitation.")
class NotInvited(UserError):
    pass


@refusal(errors.OwnStage, description="Stage of the very user, who needs no invitation to it.")
class OwnStage(UserError):
    pass


@refusal(errors.StageFull, description="Stage with as many publishers as it may have, open invitations included.")
class StageFull(UserError):
    pass


@refusal(errors.RequestAnswered, description="Request that was accepted before, so it can no longer be refused.")
class RequestAnswered(UserError):
    pass


@refusal(errors.RecordingInProgress, description="Recording that is not over.")
class RecordingInProgress(UserError):
    pass


@refusal(errors.ChatBanned, description="Ban that keeps the viewer out of the chat room.")
class ChatBanned(UserError):
    reason: str | None = strawberry.field(description="Reason that the room's owner gave; null if none.")


@refusal(errors.ChatSelfBan, description="Attempt to ban the owner of a chat room from it.")
class ChatSelfBan(UserError):
    pass


@refusal(errors.AmazonUnavailable, description="Failure on Amazon's side; the same mutation can be sent again.")
class AmazonUnavailable(UserError):
    retry_after_seconds: int = strawberry.field(description="Seconds to wait before the next attempt.")


@refusal(errors.PlaybackDenied, description="Private channel whose owner's rule does not admit the viewer.")
class PlaybackDenied(UserError):
    pass


@refusal(
    errors.PlaybackKeyMissing,
    description="Private channels are not offered here: the operators have set no key for it.",
)
class PlaybackKeyMissing(UserError):
    pass


@refusal(
    errors.ViewerTokenInvalid,
    description="Viewer token that was not made here or has expired; `playbackStart` makes another.",
)
class ViewerTokenInvalid(UserError):
    pass


@refusal(errors.NumberInvalid, description="Number that is none, or that cannot be true.")
class NumberInvalid(UserError):
    pass


@refusal(errors.Overloaded, description="Server that cannot take more at the moment; nothing was written.")
class Overloaded(UserError):
    retry_after_seconds: int = strawberry.field(description="Seconds to wait before the same mutation is sent again.")
