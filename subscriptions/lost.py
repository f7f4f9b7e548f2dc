"""What an emulated AWS has forgotten: its state was deleted, and the database's was not."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, any_, func, literal, not_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from ivs.client import Aws
from models import Channel, ChatRoom, ProvisioningState, Stage, Stream
from models.engine import Sessions
from models.stream import refresh_live
from subscriptions.provisioning import Row

_PENDING = {
    "arn": None,
    "provisioning": ProvisioningState.PENDING,
    # As if one try had failed: the next looks for what an older state may have under the name.
    "provision_attempts": 1,
    "provision_after": func.now(),
}
_NEW_CHANNEL = {
    **dict.fromkeys(("playback_url", "ingest_endpoint", "type", "stream_key_arn", "stream_key_sealed")),
    "is_partner": False,
}


async def renew_lost(sessions: Sessions, aws: Aws) -> int:
    """Set back to PENDING what the account does not have, so that it is made anew; return how many resources.

    Never for Amazon's own: what is missing there may be in another region or account, which a setting hides.
    """
    channels = [item["arn"] async for item in aws.pages("ivs", "list_channels", "channels", maxResults=100)]
    rooms = [item["arn"] async for item in aws.pages("ivschat", "list_rooms", "rooms", maxResults=50)]
    stages = [item["arn"] async for item in aws.pages("ivs-realtime", "list_stages", "stages", maxResults=100)]
    async with sessions() as session, session.begin():
        lost = await _renew(session, Channel, channels, _PENDING | _NEW_CHANNEL)
        await _end_streams(session, lost)
        lost += await _renew(session, ChatRoom, rooms, _PENDING)
        lost += await _renew(session, Stage, stages, _PENDING)
    return len(lost)


async def _renew(session: AsyncSession, model: type[Row], present: Sequence[str], values: dict[str, Any]) -> list[UUID]:
    known = model.arn == any_(literal(present, ARRAY(Text)))
    missing = update(model).where(model.arn.is_not(None), not_(known)).values(values)
    return list((await session.execute(missing.returning(model.id))).scalars())


async def _end_streams(session: AsyncSession, channel_ids: Sequence[UUID]) -> None:
    """No event will ever tell of their end."""
    open_ones = (Stream.channel_id.in_(channel_ids), Stream.session_ended_at.is_(None))
    await session.execute(update(Stream).where(*open_ones).values(session_ended_at=func.now()))
    await refresh_live(session, channel_ids)
