"""Channels that go live or offline, and who is told."""

from collections.abc import Sequence
from uuid import UUID

from models import stream
from subscriptions import chores
from subscriptions.publish import Transaction


async def refresh(transaction: Transaction, channel_ids: Sequence[UUID]) -> None:
    """Derive whether the channels are live; tell directory and followers, and do what waited for their end.

    The caller holds locks on the channels' rows.
    """
    refreshed = await stream.refresh_live(transaction.session, channel_ids)
    if refreshed:
        transaction.directory_changed(*(one.category_id for one in refreshed))
    for one in refreshed:
        if one.is_live and one.is_another:
            transaction.channel_went_live(one.id)
    offline = [one.id for one in refreshed if not one.is_live]
    if offline:
        await chores.wake(transaction, offline)
