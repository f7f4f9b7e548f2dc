"""What users do to their own accounts. The password is asked again: a session may be in the wrong hands."""

from collections.abc import Iterator

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import undefer

from models import Channel, Follow, Recording, Session, User, pace
from models.recording import bury
from resolvers import passwords
from resolvers.auth import holds, refuse_if_late, require_viewer
from resolvers.context import Context, SessionCookie, Viewer
from resolvers.errors import CredentialsInvalid, PasswordInvalid, Problem, Refused, unauthenticated
from subscriptions import stage_guard


async def change_password(ctx: Context, current: str, new: str) -> None:
    """Give the viewer another password and end all sessions but this one; their sockets are closed.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
        Refused: CredentialsInvalid, PasswordInvalid or TooManyAttempts.
    """
    viewer = require_viewer(ctx)
    await _count_attempt(ctx, viewer)
    while True:
        user, fits = await _verify(ctx, viewer, current)
        problems = [] if fits else [_wrong("currentPassword")]
        problems += _new_password_problems(current, new, user.username)
        if problems:
            raise Refused(*problems)
        password_hash = await ctx.services.passwords.hash(new)
        async with ctx.services.publisher.transaction() as transaction:
            # Of several changes at once the first one counts; for the others the old password does not hold any more.
            if not await holds(transaction, user):
                continue
            await transaction.session.execute(
                update(User).where(User.id == user.id).values(password_hash=password_hash)
            )
            others = (Session.user_id == user.id, Session.id != viewer.session_id)
            ended = await transaction.session.execute(delete(Session).where(*others).returning(Session.id))
            for session_id in ended.scalars():
                transaction.session_ended(session_id)
        return


async def delete_user(ctx: Context, password: str) -> User:
    """Delete the viewer with all that is the viewer's, and leave to workers what Amazon holds; return who it was.

    Raises:
        RequestError: UNAUTHENTICATED for guests.
        Refused: CredentialsInvalid or TooManyAttempts.
    """
    viewer = require_viewer(ctx)
    await _count_attempt(ctx, viewer)
    while True:
        user, fits = await _verify(ctx, viewer, password)
        if not fits:
            raise Refused(_wrong("password"))
        if await _delete(ctx, user):
            ctx.cookie = SessionCookie(None)
            return user


async def _delete(ctx: Context, user: User) -> bool:
    """Delete the user unless the password was changed meanwhile; the foreign keys take with it what refers to it."""
    async with ctx.services.publisher.transaction() as transaction:
        session = transaction.session
        if not await holds(transaction, user, for_deletion=True):
            return False
        # Where the user followed, followers are counted down. Locked in the order of the ingest, so that neither it nor
        # friends who leave at once can wait for each other.
        followed = select(Follow.channel_id).where(Follow.user_id == user.id)
        touched = select(Channel.id).where(or_(Channel.user_id == user.id, Channel.id.in_(followed)))
        await session.execute(touched.order_by(Channel.id).with_for_update())
        on_air = select(Channel.category_id).where(Channel.user_id == user.id, Channel.live_stream_id.is_not(None))
        for category_id in (await session.execute(on_air)).scalars():
            transaction.directory_changed(category_id)
        await stage_guard.forget(transaction, user.id)
        channel_id = await ctx.services.remover.take_over(session, user)
        await bury(session, Recording.channel_id == channel_id)
        for session_id in (await session.execute(select(Session.id).where(Session.user_id == user.id))).scalars():
            transaction.session_ended(session_id)
        await session.execute(delete(User).where(User.id == user.id))
        if channel_id is not None:
            transaction.channel_changed(channel_id)
    return True


async def _count_attempt(ctx: Context, viewer: Viewer) -> None:
    """Count a question for the password. Apart from sign-ins, so that whoever guesses there locks nobody out here."""
    rules = ctx.services.account_rules
    rate = rules.sign_ins_per_hour_per_user
    async with ctx.services.publisher.transaction() as transaction:
        wait = await pace.attempt(
            transaction.session, _key(viewer), rate=rate / 3600, burst=min(rules.sign_in_burst, rate)
        )
    refuse_if_late(wait, "attempts with a password")


async def _verify(ctx: Context, viewer: Viewer, password: str) -> tuple[User, bool]:
    """Return the viewer's row as it is now, and whether the password fits, which forgives the attempts before."""
    services = ctx.services
    found = select(User).where(User.id == viewer.user_id).options(undefer(User.password_hash))
    async with services.sessions() as session:
        user = (await session.execute(found)).scalar_one_or_none()
    if user is None:
        raise unauthenticated()
    fits = len(password) <= passwords.LONGEST and await services.passwords.verify(user.password_hash, password)
    if fits:
        async with services.publisher.transaction() as transaction:
            await pace.forgive(transaction.session, _key(viewer))
    return user, fits


def _key(viewer: Viewer) -> str:
    return f"password:user:{viewer.user_id.hex}"


def _wrong(argument: str) -> Problem:
    return CredentialsInvalid(message="This is not your password.", path=["input", argument])


def _new_password_problems(current: str, new: str, username: str) -> Iterator[Problem]:
    path = ["input", "newPassword"]
    for fault in passwords.faults(new, username):
        yield PasswordInvalid(message=fault, path=path)
    if new == current:
        yield PasswordInvalid(message="The new password must differ from the present one.", path=path)
