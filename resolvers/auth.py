"""Sessions: opaque random tokens, of which the database keeps only a hash."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, bindparam, delete, func, select, update
from sqlalchemy.orm import undefer

from models import Channel, Session, User, pace, uuid7
from models.engine import Sessions
from resolvers.context import Context, SessionCookie, Viewer
from resolvers.errors import CredentialsInvalid, Problem, Refused, TooManyAttempts, unauthenticated
from resolvers.passwords import LONGEST
from subscriptions.publish import Transaction

_TOKEN_BYTES = 32
_LONGEST_TOKEN = 128
# Asked with every request of somebody who is signed in, and so built but once.
_VIEWER = (
    select(
        User,
        Session.id,
        Session.expires_at,
        select(Channel.id).where(Channel.user_id == Session.user_id).scalar_subquery().label("channel_id"),
    )
    .join(Session, Session.user_id == User.id)
    .where(Session.token_hash == bindparam("token_hash"), Session.expires_at > func.now())
)
_UNKNOWN = CredentialsInvalid(message="No user has this name and password.")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. `token` is shown this once; only its hash is kept."""

    user: User
    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"SignedIn({self.user.id})"


def _digest(token: str) -> bytes:
    # The token has 256 random bits, so a plain hash is as hard to turn back as a slow one.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


async def authenticate(sessions: Sessions, token: str) -> Viewer | None:
    """Return whose token it is; null if it is unknown, expired or was signed out."""
    if not token or len(token) > _LONGEST_TOKEN:
        return None
    async with sessions() as session:
        found = (await session.execute(_VIEWER, {"token_hash": _digest(token)})).first()
    return None if found is None else Viewer(found.User.id, found.id, found.expires_at, found.channel_id, found.User)


async def sign_in(ctx: Context, username: str, password: str) -> SignedIn:
    """Open a session for the user with this name and password.

    Raises:
        Refused: CredentialsInvalid, or TooManyAttempts for this name or this address.
    """
    rules, services = ctx.services.account_rules, ctx.services
    username = _storable(username)
    by_user = f"sign-in:user:{username.lower()[:64]}"
    async with services.publisher.transaction() as transaction:
        waits = [
            await pace.attempt(transaction.session, key, rate=rate / 3600, burst=min(rules.sign_in_burst, rate))
            for key, rate in (
                (by_user, rules.sign_ins_per_hour_per_user),
                (f"sign-in:address:{ctx.address}", rules.sign_ins_per_hour_per_address),
            )
        ]
    refuse_if_late(max(waits), "sign-in attempts")
    async with services.sessions() as session:
        user = (await session.execute(_with_password(username))).scalar_one_or_none()
    # A longer password cannot be anybody's; hashing it would only be work for us.
    fits = len(password) <= LONGEST and await services.passwords.verify(user.password_hash if user else None, password)
    if user is None or not fits:
        raise Refused(_UNKNOWN)
    renewed = await services.passwords.hash(password) if services.passwords.outdated(user.password_hash) else None
    async with services.publisher.transaction() as transaction:
        # A password that was changed since it was verified opens nothing, and its hash does not come back.
        if not await holds(transaction, user):
            raise Refused(_UNKNOWN)
        await pace.forgive(transaction.session, by_user)
        if renewed is not None:
            await transaction.session.execute(
                update(User).where(User.id == user.id).values(password_hash=renewed, updated_at=User.updated_at)
            )
        signed_in = open_session(ctx, transaction, user)
    set_cookie(ctx, signed_in)
    return signed_in


async def holds(transaction: Transaction, user: User, *, for_deletion: bool = False) -> bool:
    """Tell whether the user is there and has the password still whose hash was read; it stays so until the commit.

    Unless `for_deletion`, what refers to the user can be written meanwhile.
    """
    unchanged = (User.id == user.id, User.password_hash == user.password_hash)
    locked = select(User.id).where(*unchanged).with_for_update(key_share=not for_deletion)
    return (await transaction.session.execute(locked)).first() is not None


async def session_exists(sessions: Sessions, session_id: UUID) -> bool:
    """Tell whether the session has not been signed out and has time left."""
    async with sessions() as session:
        found = select(Session.id).where(Session.id == session_id, Session.expires_at > func.now())
        return (await session.execute(found)).first() is not None


def open_session(ctx: Context, transaction: Transaction, user: User) -> SignedIn:
    """Add a session to the transaction."""
    lifetime = ctx.services.account_rules.session_lifetime
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    expires_at = datetime.now(UTC) + timedelta(seconds=lifetime)
    transaction.session.add(Session(id=uuid7(), user_id=user.id, token_hash=_digest(token), expires_at=expires_at))
    return SignedIn(user, token, expires_at)


def set_cookie(ctx: Context, signed_in: SignedIn) -> None:
    """Let the response set the session's cookie; only after its commit, since nothing takes a cookie back."""
    ctx.cookie = SessionCookie(signed_in.token, int(ctx.services.account_rules.session_lifetime))


async def sign_out(ctx: Context) -> None:
    """End the viewer's session; its sockets are closed wherever they are.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
    """
    viewer = require_viewer(ctx)
    async with ctx.services.publisher.transaction() as transaction:
        await transaction.session.execute(delete(Session).where(Session.id == viewer.session_id))
        transaction.session_ended(viewer.session_id)
    ctx.cookie = SessionCookie(None)


def require_viewer(ctx: Context) -> Viewer:
    """Return the viewer.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
    """
    if ctx.viewer is None:
        raise unauthenticated()
    return ctx.viewer


def refuse_if_late(wait: float, what: str) -> None:
    """Refuse an attempt that came before its time.

    Raises:
        Refused: TooManyAttempts with the time to wait.
    """
    if wait > 0:
        seconds = int(wait) + 1
        problem: Problem = TooManyAttempts(
            message=f"Too many {what}; try again in {seconds} seconds.", retry_after_seconds=seconds
        )
        raise Refused(problem)


def _with_password(username: str) -> Select[User]:
    found = select(User).where(func.lower(User.username) == _storable(username).lower())
    return found.options(undefer(User.password_hash))


def _storable(text: str) -> str:
    # PostgreSQL's text has no NUL; no user's name has one either.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
