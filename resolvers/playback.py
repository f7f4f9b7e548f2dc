"""Who may watch a channel, and what a player needs to begin."""

import time
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import update

from ivs.tokens import sign_es384
from models import Channel, PlaybackAccess, ProvisioningState
from resolvers import channels, policy
from resolvers.context import Context
from resolvers.errors import NotFound, NotReady, PlaybackDenied, PlaybackKeyMissing, Refused
from resolvers.limits import Rate, spend, spend_command
from resolvers.viewer_tokens import Viewing

_NO_KEY = PlaybackKeyMissing(message="Private channels are not offered here: the operators have set no playback key.")


@dataclass(frozen=True, slots=True)
class Playback:
    """What a player begins with. Both `url` and `token` are secrets of the one who asked."""

    channel: Channel
    url: str
    token: str
    viewing: Viewing

    def __repr__(self) -> str:
        return f"Playback({self.viewing.id})"


async def start(ctx: Context, channel_id: UUID) -> Playback:
    """Begin a viewing. Nothing is written but that an address began another one, or it could make viewers of itself.

    A channel that is not live is no refusal: players wait.

    Raises:
        Refused: TooManyAttempts, NotFound, PlaybackDenied, NotReady or PlaybackKeyMissing.
    """
    per_minute = ctx.services.playback.starts_per_minute
    await spend(ctx, "players", Rate("playback_starts", ctx.address, per_minute / 60, per_minute))
    path = ["input", "channelId"]
    channel: Channel | None = await ctx.reads.row(channels.BY_ID, channel_id)
    if channel is None:
        raise Refused(NotFound(message="There is no such channel.", path=path))
    if not await _admitted(ctx, channel):
        raise Refused(PlaybackDenied(message=_denial(channel.playback_access), path=path))
    if channel.provisioning is not ProvisioningState.READY or channel.playback_url is None or channel.arn is None:
        raise Refused(NotReady(message="The channel is not ready yet; try again in a moment.", path=path))
    viewing = ctx.services.viewer_tokens.begin(channel_id)
    url = channel.playback_url
    if channel.is_authorized:
        keys = ctx.services.playback.keys
        if keys:
            url = f"{url}?token={_playback_token(ctx, channel.arn, viewing)}"
        elif channel.is_private:
            raise Refused(_NO_KEY)
    return Playback(channel, url, ctx.services.viewer_tokens.sign(viewing), viewing)


async def set_access(ctx: Context, channel_id: UUID, access: PlaybackAccess) -> None:
    """Let the owner decide who may watch: here at once, on AWS as a chore, once the channel is not live.

    Raises:
        Refused: TooManyAttempts, PlaybackKeyMissing for a private channel where there are none.
        RequestError: UNAUTHENTICATED for guests, FORBIDDEN for others' channels.
    """
    await channels.managed(ctx, channel_id)
    private = access is not PlaybackAccess.PUBLIC
    if private and not ctx.services.playback.keys:
        raise Refused(_NO_KEY)
    await spend_command(ctx, channel_id)
    values = {"playback_access": access} | ({"is_authorized": True} if private else {})
    async with ctx.services.publisher.transaction() as transaction:
        statement = update(Channel).where(Channel.id == channel_id, Channel.playback_access != access).values(values)
        if (await transaction.session.execute(statement.returning(Channel.id))).first() is not None:
            transaction.channel_changed(channel_id)
            await ctx.services.chores.tell_access(transaction, channel_id)
    ctx.renew()


async def _admitted(ctx: Context, channel: Channel) -> bool:
    follows = False
    if channel.playback_access is PlaybackAccess.FOLLOWERS:
        follows = await ctx.reads.row(channels.VIEWER_FOLLOW, channel.id) is not None
    return policy.may_watch(ctx.viewer, channel, follows=follows)


def _denial(access: PlaybackAccess) -> str:
    whom = "signed-in users" if access is PlaybackAccess.SIGNED_IN else "its followers"
    return f"This channel is for {whom} only."


def _playback_token(ctx: Context, arn: str, viewing: Viewing) -> str:
    """Return the token that AWS asks of players of a private channel.

    Source: IVS Low-Latency guide, "Private channels": `exp` is in whole seconds, at most ten minutes ahead with a
    viewer id, which has at most 40 characters.
    """
    rules = ctx.services.playback
    claims = {
        "aws:channel-arn": arn,
        "aws:viewer-id": viewing.id.hex,
        "exp": int(time.time() + rules.token_lifetime),
    }
    return sign_es384({}, claims, rules.keys[0])
