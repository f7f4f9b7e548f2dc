"""Users: reads and registration."""

import asyncio
import re
from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Text, func, select
from sqlalchemy.exc import IntegrityError

from models import Channel, ChatRoom, Stage, User, pace, uuid7
from resolvers import passwords
from resolvers.auth import SignedIn, open_session, refuse_if_late, set_cookie
from resolvers.context import Context
from resolvers.errors import PasswordInvalid, Problem, Refused, UsernameInvalid, UsernameTaken
from resolvers.reads import Row
from subscriptions.provisioning import Row as Provisioned

BY_ID = Row(User, User.id)
BY_USERNAME = Row(User, func.lower(User.username, type_=Text))
CHANNEL = Row(Channel, Channel.user_id)
CHAT_ROOM = Row(ChatRoom, ChatRoom.user_id)
STAGE = Row(Stage, Stage.user_id)

USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,29}", re.ASCII)

# Source: PostgreSQL, appendix A.
_UNIQUE_VIOLATION = "23505"

# Names that would be mistaken for a part of the service or for its staff.
# fmt: off
RESERVED = frozenset({
    "about", "account", "admin", "administrator", "api", "app", "auth", "billing", "blog", "category",
    "channel", "channels", "chat", "dashboard", "explore", "graphiql", "graphql", "healthz", "help", "home",
    "live", "login", "logout", "me", "mod", "moderator", "null", "official", "owner", "privacy", "readyz",
    "recordings", "register", "root", "search", "security", "settings", "signin", "signup", "staff", "stage",
    "stages", "static", "status", "stream", "streamcat", "streams", "support", "system", "terms", "undefined",
    "user", "users", "www",
})
# fmt: on


def named(username: str) -> str | None:
    """Return the key of `BY_USERNAME` for a name; null for what cannot be anybody's name."""
    return username.lower() if USERNAME.fullmatch(username) else None


async def register(ctx: Context, username: str, password: str, *, published: bool = False) -> SignedIn:
    """Create the user with channel, chat room and stage, sign in, and wait a moment for Amazon.

    The rows are committed before Amazon is called: whatever happens there, the name is the user's and a worker goes on.
    A `published` password is nobody's secret, and so is not held to the rules for one: the demo user's.

    Raises:
        Refused: UsernameInvalid, UsernameTaken, PasswordInvalid or TooManyAttempts.
    """
    services, rules = ctx.services, ctx.services.account_rules
    problems = [*_username_problems(username), *([] if published else _password_problems(password, username))]
    if problems:
        raise Refused(*problems)
    per_hour = rules.registrations_per_hour_per_address
    async with services.publisher.transaction() as transaction:
        # Known before it costs an attempt and a hash; the unique index decides between two at once.
        if await transaction.session.scalar(select(User.id).where(func.lower(User.username) == username.lower())):
            raise Refused(_taken(username))
        wait = await pace.attempt(
            transaction.session, f"register:address:{ctx.address}", rate=per_hour / 3600, burst=per_hour
        )
    refuse_if_late(wait, "registrations from this address")
    password_hash = await services.passwords.hash(password)
    try:
        async with services.publisher.transaction() as transaction:
            user = User(id=uuid7(), username=username, password_hash=password_hash)
            transaction.session.add(user)
            await transaction.session.flush()
            rows = _owned(user, services.provisioner.leased())
            transaction.session.add_all(rows)
            signed_in = open_session(ctx, transaction, user)
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        raise Refused(_taken(username)) from error
    set_cookie(ctx, signed_in)
    await asyncio.wait(services.provisioner.start(rows), timeout=rules.provision_wait)
    return signed_in


async def provision(ctx: Context, user_id: UUID) -> None:
    """Try again what Amazon refused, and wait a moment for it; does nothing for what is ready or in work."""
    provisioner = ctx.services.provisioner
    rows = await provisioner.revive(user_id)
    if rows:
        await asyncio.wait(provisioner.start(rows), timeout=ctx.services.account_rules.provision_wait)


def _owned(user: User, lease: dict[str, object]) -> list[Provisioned]:
    name = user.username
    return [
        Channel(id=uuid7(), user_id=user.id, name=name, title=f"{name}'s channel", **lease),
        ChatRoom(id=uuid7(), user_id=user.id, name=name, **lease),
        Stage(id=uuid7(), user_id=user.id, name=name, **lease),
    ]


def _taken(username: str) -> Problem:
    return UsernameTaken(
        message=f"The name {username!r} is taken; upper and lower case make no difference.", path=["input", "username"]
    )


def _username_problems(username: str) -> Iterator[Problem]:
    path = ["input", "username"]
    if not USERNAME.fullmatch(username):
        yield UsernameInvalid(
            message="A user name has 3 to 30 of the characters a-z, A-Z, 0-9, _ and -, "
            "and begins with a letter or digit.",
            path=path,
        )
    elif username.lower() in RESERVED:
        yield UsernameTaken(message=f"The name {username!r} is reserved; choose another.", path=path)


def _password_problems(password: str, username: str) -> Iterator[Problem]:
    for fault in passwords.faults(password, username):
        yield PasswordInvalid(message=fault, path=["input", "password"])
