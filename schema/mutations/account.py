"""Registration, sign-in and sign-out, another password, and the end of an account."""

from datetime import datetime
from typing import Annotated

import strawberry

from resolvers import accounts, auth, users
from resolvers.auth import SignedIn
from resolvers.errors import Refused
from schema.base import Info, secret, typed
from schema.errors import (
    CredentialsInvalid,
    PasswordInvalid,
    TooManyAttempts,
    UsernameInvalid,
    UsernameTaken,
    members,
)
from schema.user import User

UserRegisterError = Annotated[
    UsernameInvalid | UsernameTaken | PasswordInvalid | TooManyAttempts,
    strawberry.union("UserRegisterError", description="Why a registration was refused."),
]
SessionCreateError = Annotated[
    CredentialsInvalid | TooManyAttempts,
    strawberry.union("SessionCreateError", description="Why a sign-in was refused."),
]
PasswordChangeError = Annotated[
    CredentialsInvalid | PasswordInvalid | TooManyAttempts,
    strawberry.union("PasswordChangeError", description="Why a password was not changed."),
]
UserDeleteError = Annotated[
    CredentialsInvalid | TooManyAttempts,
    strawberry.union("UserDeleteError", description="Why an account was not deleted."),
]

_TOKEN = "Session token for `Authorization: Bearer`; shown this once. Browsers also get it as an HttpOnly cookie."  # noqa: S105
_EXPIRES = "When the session ends by itself."


@strawberry.input(description="Name and password of a new user.")
class UserRegisterInput:
    username: str = strawberry.field(
        description="3 to 30 of a-z, A-Z, 0-9, _ and -, beginning with a letter or digit; unique in any spelling."
    )
    password: str = secret(description="8 to 128 characters, at least 5 different; not an obvious one.")


@strawberry.type(description="Outcome of a registration: a user who is signed in, or errors.")
class UserRegisterPayload:
    user: User | None = strawberry.field(default=None, description="The new user; null if there are errors.")
    token: str | None = secret(default=None, description=f"{_TOKEN} Null if there are errors.")
    expires_at: datetime | None = strawberry.field(default=None, description=f"{_EXPIRES} Null if there are errors.")
    errors: list[UserRegisterError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.input(description="Name and password of a user.")
class SessionCreateInput:
    username: str = strawberry.field(description="User name, in any mix of upper and lower case.")
    password: str = secret(description="Password.")


@strawberry.type(description="Outcome of a sign-in: a session, or errors.")
class SessionCreatePayload:
    user: User | None = strawberry.field(default=None, description="Who is signed in; null if there are errors.")
    token: str | None = secret(default=None, description=f"{_TOKEN} Null if there are errors.")
    expires_at: datetime | None = strawberry.field(default=None, description=f"{_EXPIRES} Null if there are errors.")
    errors: list[SessionCreateError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.type(description="Outcome of a sign-out. Sockets that were opened with the session are closed.")
class SessionDeletePayload:
    user: User | None = strawberry.field(description="Who was signed in.")


@strawberry.input(description="The viewer's password, and the one that takes its place.")
class PasswordChangeInput:
    current_password: str = secret(description="Password so far.")
    new_password: str = secret(
        description="8 to 128 characters, at least 5 different; not an obvious one, nor the one so far."
    )


@strawberry.type(description="Outcome of a change of the password.")
class PasswordChangePayload:
    user: User | None = strawberry.field(default=None, description="The viewer; null if there are errors.")
    errors: list[PasswordChangeError] = strawberry.field(default_factory=list, description="All that was wrong.")


@strawberry.input(description="The viewer's consent to the end of the account.")
class UserDeleteInput:
    password: str = secret(description="Password, asked again.")


@strawberry.type(description="Outcome of the deletion of an account.")
class UserDeletePayload:
    user: User | None = strawberry.field(
        default=None, description="Who has left, with nothing that was the user's any more; null if there are errors."
    )
    errors: list[UserDeleteError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.type(description="Mutations of accounts.")
class AccountMutations:
    """Mutations of accounts."""

    @strawberry.mutation(
        description="Create a user with channel, chat room and stage, and sign in. Answers within about two seconds; "
        "what Amazon has not created by then is PENDING, goes on by itself, and `channelChanged` tells."
    )
    async def user_register(
        self, info: Info, input: Annotated[UserRegisterInput, strawberry.argument(description="The new user.")]
    ) -> UserRegisterPayload:
        try:
            signed_in = await users.register(info.context, input.username, input.password)
        except Refused as refused:
            return UserRegisterPayload(errors=members(refused))
        return UserRegisterPayload(user=_user(info, signed_in), token=signed_in.token, expires_at=signed_in.expires_at)

    @strawberry.mutation(description="Sign in with name and password.")
    async def session_create(
        self, info: Info, input: Annotated[SessionCreateInput, strawberry.argument(description="Who signs in.")]
    ) -> SessionCreatePayload:
        try:
            signed_in = await auth.sign_in(info.context, input.username, input.password)
        except Refused as refused:
            return SessionCreatePayload(errors=members(refused))
        return SessionCreatePayload(user=_user(info, signed_in), token=signed_in.token, expires_at=signed_in.expires_at)

    @strawberry.mutation(
        description="Sign out: end the session with which the request was made. Signed-in viewers only."
    )
    async def session_delete(self, info: Info) -> SessionDeletePayload:
        viewer = auth.require_viewer(info.context)
        await auth.sign_out(info.context)
        return SessionDeletePayload(user=await info.context.reads.row(users.BY_ID, viewer.user_id))

    @strawberry.mutation(
        description="Change the viewer's password. Ends all other sessions and closes their sockets; the session with "
        "which the request was made goes on. Signed-in viewers only."
    )
    async def password_change(
        self, info: Info, input: Annotated[PasswordChangeInput, strawberry.argument(description="Both passwords.")]
    ) -> PasswordChangePayload:
        viewer = auth.require_viewer(info.context)
        try:
            await accounts.change_password(info.context, input.current_password, input.new_password)
        except Refused as refused:
            return PasswordChangePayload(errors=members(refused))
        info.context.renew()
        return PasswordChangePayload(user=await info.context.reads.row(users.BY_ID, viewer.user_id))

    @strawberry.mutation(
        description="Delete the viewer's account for good. Deleted at once: the user, all sessions, the channel with "
        "its streams, their recordings and whatever is known of them, the chat room with its messages, the stage, "
        "follows by and of the user; the name is free again. A stream that is live is stopped, its stream key deleted, "
        "and what Amazon holds removed, within seconds or, while Amazon fails, later; the files of a recording that is "
        "not over after an hour. What stays: messages that the user sent in other people's chat rooms, under the name "
        "they were sent with and without a link to the user. Sockets of the user are closed. Signed-in viewers only."
    )
    async def user_delete(
        self, info: Info, input: Annotated[UserDeleteInput, strawberry.argument(description="The viewer's consent.")]
    ) -> UserDeletePayload:
        try:
            deleted = await accounts.delete_user(info.context, input.password)
        except Refused as refused:
            return UserDeletePayload(errors=members(refused))
        info.context.renew()
        return UserDeletePayload(user=typed(User, deleted))


def _user(info: Info, signed_in: SignedIn) -> User:
    # What earlier mutations of the same request have read may be outdated.
    info.context.renew()
    return typed(User, signed_in.user)
