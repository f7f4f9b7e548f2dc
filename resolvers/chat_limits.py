"""Rates of chat: per user or address, and for the whole installation below what Amazon grants the account."""

from typing import Final

from resolvers.auth import require_viewer
from resolvers.context import Context
from resolvers.limits import Rate, spend
from subscriptions.bans import DISCONNECTIONS

__all__ = ["DELETIONS", "DISCONNECTIONS", "EVENTS", "count_action", "count_call", "count_token"]

DELETIONS: Final = "chat_deletions"
EVENTS: Final = "chat_events"

# Part of a second's calls that may come at once: rate and burst together stay below the account's rate.
_BURST: Final = 8


async def count_token(ctx: Context) -> None:
    """Count a token of the user, or of the guest's address, and of all.

    Raises:
        Refused: TooManyAttempts.
    """
    rules = ctx.services.chat_rules
    if ctx.viewer is not None:
        name, who, per_minute = "chat_user_tokens", ctx.viewer.user_id.hex, rules.tokens_per_minute_per_user
    else:
        name, who, per_minute = "chat_address_tokens", ctx.address, rules.tokens_per_minute_per_address
    own = Rate(name, who, per_minute / 60, per_minute)
    await spend(ctx, "chat tokens", own, _of_all("chat_tokens", rules.tokens_per_second))


async def count_action(ctx: Context, *calls: str) -> None:
    """Count something that the viewer does to a room, with the calls to IVS Chat that are part of it.

    Raises:
        Refused: TooManyAttempts.
    """
    rules = ctx.services.chat_rules
    per_minute = rules.actions_per_minute_per_user
    own = Rate("chat_actions", require_viewer(ctx).user_id.hex, per_minute / 60, per_minute)
    await spend(ctx, "chat actions", own, *(_of_all(call, rules.actions_per_second) for call in calls))


async def count_call(ctx: Context, call: str) -> None:
    """Count a call to IVS Chat by itself.

    Raises:
        Refused: TooManyAttempts.
    """
    await spend(ctx, "chat actions", _of_all(call, ctx.services.chat_rules.actions_per_second))


def _of_all(name: str, per_second: int) -> Rate:
    return Rate(name, "all", per_second, max(1, per_second // _BURST))
