"""What an owner does to the broadcast on a channel: all of it by calls to AWS, none of them within a transaction."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import select

from ivs import channels as ivs
from ivs.errors import Throttled
from models import Channel, Chore, ProvisioningState
from resolvers import amazon, channels, texts
from resolvers.auth import refuse_if_late
from resolvers.context import Context
from resolvers.errors import NotLive, NotReady, Problem, Refused, TextInvalid
from resolvers.limits import REFUSED, Rate, spend, spend_command

logger = logging.getLogger(__name__)

# Source: IVS API reference, PutMetadata.
MOST_METADATA_BYTES = 1024
_CHANNEL = ["input", "channelId"]
_METADATA = "pieces of metadata"
# Seconds until a rate of Amazon's, all of which are per second, surely admits somebody again.
_AMAZON_PAUSE = 0.9


async def reset_key(ctx: Context, channel_id: UUID) -> None:
    """Replace the channel's stream key; the old one is of no use from now on, whatever happens.

    Raises:
        RequestError: UNAUTHENTICATED, FORBIDDEN.
        Refused: NotReady, TooManyAttempts; AmazonUnavailable if the new key comes later, without another try.
    """
    channel, _ = await _ready(ctx, channel_id)
    chores = ctx.services.chores
    await spend_command(ctx, channel.id)
    async with ctx.services.publisher.transaction() as transaction:
        chore = await chores.reset_key(transaction, channel.id)
    await asyncio.wait(chores.start([chore]), timeout=ctx.services.channel_rules.key_wait)
    async with ctx.services.sessions() as session:
        unfinished = await session.scalar(select(Chore.id).where(Chore.id == chore.id))
    if unfinished is not None:
        raise amazon.unavailable()


async def stop(ctx: Context, channel_id: UUID) -> None:
    """Disconnect the encoder. One that connects again by itself has to be kept off by a new stream key, made before.

    A stream that was live when asked, and of which Amazon knows no more, is stopped: perhaps by this very call, whose
    first answer was lost.

    Raises:
        RequestError: UNAUTHENTICATED, FORBIDDEN.
        Refused: NotReady, NotLive, TooManyAttempts, AmazonUnavailable.
    """
    channel, arn = await _ready(ctx, channel_id)
    await spend_command(ctx, channel.id)
    with amazon.asked():
        live = await ivs.stop_stream(ctx.services.aws, arn)
    if not live and not channel.is_live:
        raise _offline()


async def put_metadata(ctx: Context, channel_id: UUID, metadata: str) -> None:
    """Put timed metadata into the live stream, at most once.

    Raises:
        RequestError: UNAUTHENTICATED, FORBIDDEN.
        Refused: TextInvalid, NotReady, NotLive, TooManyAttempts; AmazonUnavailable, and then it may have been put.
    """
    channel, arn = await _ready(ctx, channel_id, *_metadata_problems(metadata))
    rules = ctx.services.channel_rules
    await spend(
        ctx,
        _METADATA,
        Rate("stream_metadata", channel.id.hex, rules.metadata_per_second, rules.metadata_per_second),
        Rate("metadata", "all", rules.all_metadata_per_second, rules.all_metadata_per_second),
    )
    with amazon.asked(), _throttled(_METADATA):
        live = await ivs.put_metadata(ctx.services.aws, arn, metadata)
    if not live:
        raise _offline()


async def _ready(ctx: Context, channel_id: UUID, *problems: Problem) -> tuple[Channel, str]:
    """Return the viewer's channel and its ARN; refuse for the problems, and if Amazon has not created it."""
    channel = await channels.managed(ctx, channel_id)
    found = list(problems)
    if channel.provisioning is not ProvisioningState.READY:
        found.append(NotReady(message="Amazon has not created the channel yet.", path=_CHANNEL))
    if found or channel.arn is None:
        raise Refused(*found)
    return channel, channel.arn


def _metadata_problems(metadata: str) -> list[TextInvalid]:
    path = ["input", "metadata"]
    if not 1 <= len(metadata.encode(errors="surrogatepass")) <= MOST_METADATA_BYTES:
        return [TextInvalid(message=f"Metadata has 1 to {MOST_METADATA_BYTES} bytes of UTF-8.", path=path)]
    return texts.problems(metadata, "Metadata", path, least=1, most=MOST_METADATA_BYTES)


@contextmanager
def _throttled(what: str) -> Iterator[None]:
    """Refuse as our own limit does when Amazon's is reached first, whose clock is another.

    Raises:
        Refused: TooManyAttempts.
    """
    try:
        yield
    except Throttled as error:
        REFUSED.labels("amazon").inc()
        logger.warning("refused by AWS: %s", error)
        refuse_if_late(_AMAZON_PAUSE, what)


def _offline() -> Refused:
    return Refused(NotLive(message="The channel has no stream right now.", path=_CHANNEL))
