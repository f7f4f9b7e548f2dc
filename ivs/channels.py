"""What is done to channels that exist. Every function raises what `Aws.call` raises, besides what it says."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ivs.client import Aws
from ivs.errors import AwsError, Terminal

# Of a stream key that is already there: a channel has at most one.
_QUOTA = "ServiceQuotaExceededException"


@dataclass(frozen=True, slots=True)
class StreamKey:
    """A stream key and its secret value."""

    arn: str
    value: str = field(repr=False)


async def replace_stream_key(aws: Aws, channel_arn: str, old_arn: str | None, tags: Mapping[str, str]) -> StreamKey:
    """Delete the old key and return the channel's only other one, which is made unless it is there.

    May be repeated, and by several at once, whatever became of earlier calls: a deletion that comes late names a key
    that is gone, and of two creations AWS refuses one.
    """
    if old_arn is not None:
        try:
            await aws.call("ivs", "delete_stream_key", arn=old_arn)
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
    found = await _other_key(aws, channel_arn, old_arn)
    if found is not None:
        return found
    try:
        made = await aws.call("ivs", "create_stream_key", once=True, channelArn=channel_arn, tags=dict(tags))
    except Terminal as error:
        # An earlier creation was late, or somebody else's faster.
        found = await _other_key(aws, channel_arn, old_arn) if error.code == _QUOTA else None
        if found is None:
            raise
        return found
    return StreamKey(made["streamKey"]["arn"], made["streamKey"]["value"])


async def _other_key(aws: Aws, channel_arn: str, old_arn: str | None) -> StreamKey | None:
    async for key in aws.pages("ivs", "list_stream_keys", "streamKeys", channelArn=channel_arn):
        if key["arn"] != old_arn:
            found = (await aws.call("ivs", "get_stream_key", arn=key["arn"]))["streamKey"]
            return StreamKey(found["arn"], found["value"])
    return None


async def set_type(aws: Aws, channel_arn: str, channel_type: str, preset: str) -> str:
    """Set type and transcode preset, and return the type that the channel has now.

    AWS refuses with a ConflictException while an encoder is connected.
    """
    answer = await aws.call("ivs", "update_channel", arn=channel_arn, type=channel_type, preset=preset)
    return str(answer["channel"]["type"])


async def set_authorized(aws: Aws, channel_arn: str, *, authorized: bool) -> None:
    """Let players need a playback token, or none; AWS refuses while an encoder is connected, as in `set_type`."""
    await aws.call("ivs", "update_channel", arn=channel_arn, authorized=authorized)


async def stop_stream(aws: Aws, channel_arn: str) -> bool:
    """Disconnect the encoder; return false if there was no broadcast."""
    return await _live(aws.call("ivs", "stop_stream", channelArn=channel_arn))


async def put_metadata(aws: Aws, channel_arn: str, metadata: str) -> bool:
    """Put timed metadata into the live stream, never twice; return false if there is no broadcast."""
    return await _live(aws.call("ivs", "put_metadata", once=True, channelArn=channel_arn, metadata=metadata))


async def _live(call: Awaitable[Any]) -> bool:
    try:
        await call
    except AwsError as error:
        if error.code == "ChannelNotBroadcasting":
            return False
        raise
    return True
