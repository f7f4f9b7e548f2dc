"""Rates at which one may do things: asked before the thing is done, over all processes, and counted when refused."""

from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Counter

from models import pace
from resolvers.auth import refuse_if_late
from resolvers.context import Context

REFUSED = Counter("streamcat_rate_refused_total", "Mutations that a limit on their rate refused", ["limit"])


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit: `burst` at once, `per_second` in the long run, of each `key`; `name` is what it is counted under."""

    name: str
    key: str
    per_second: float
    burst: int


def hourly(name: str, key: str, most: int) -> Rate:
    """Return the limit of so many per hour, all of which may come at once."""
    return Rate(name, key, most / 3600, most)


async def spend(ctx: Context, what: str, *rates: Rate) -> None:
    """Count one `what`, in the plural, against each of the rates.

    Raises:
        Refused: TooManyAttempts with the time to wait.
    """
    async with ctx.services.publisher.transaction() as transaction:
        for rate in rates:
            wait = await pace.attempt(
                transaction.session, f"{rate.name}:{rate.key}", rate=rate.per_second, burst=rate.burst
            )
            if wait > 0:
                REFUSED.labels(rate.name).inc()
                refuse_if_late(wait, what)


async def spend_command(ctx: Context, channel_id: UUID) -> None:
    """Count one command to Amazon of the channel's owner.

    Raises:
        Refused: TooManyAttempts with the time to wait.
    """
    per_minute = ctx.services.channel_rules.commands_per_minute
    await spend(ctx, "commands to Amazon", Rate("channel_commands", channel_id.hex, per_minute / 60, per_minute))
