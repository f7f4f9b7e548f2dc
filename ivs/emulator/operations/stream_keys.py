"""Stream keys of Amazon IVS: at most one per channel (facts b.2)."""

from ivs.emulator.errors import quota
from ivs.emulator.identity import new_id
from ivs.emulator.operations.batches import batch
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

PER_CHANNEL = 1


def add_key(world: World, call: Call, channel_arn: str, tags: dict[str, str]) -> Doc:
    """A new key for a channel that has none.

    Raises:
        AwsError: ServiceQuotaExceededException when the channel has one.
    """
    if world.store.all("stream-key", parent=channel_arn):
        raise quota(f"stream keys of channel {channel_arn}", PER_CHANNEL)
    value = f"sk_{call.region}_{new_id()}_{new_id(30)}"
    body = {"channelArn": channel_arn, "value": value, "tags": tags}
    return world.create(call, "ivs", "stream-key", body, parent=channel_arn)


def create_stream_key(world: World, call: Call) -> Doc:
    """CreateStreamKey."""
    channel = world.find(call, "channel", call.params["channelArn"])
    return {"streamKey": public(add_key(world, call, channel["arn"], call.params.get("tags", {})))}


def get_stream_key(world: World, call: Call) -> Doc:
    """GetStreamKey."""
    return {"streamKey": public(world.find(call, "stream-key", call.params["arn"]))}


def batch_get_stream_key(world: World, call: Call) -> Doc:
    """BatchGetStreamKey: what exists, and an error for each ARN that does not."""
    return batch(world, call, "stream-key", "streamKeys")


def list_stream_keys(world: World, call: Call) -> Doc:
    """ListStreamKeys: without the secret values."""
    channel = world.find(call, "channel", call.params["channelArn"])
    rows = world.store.rows("stream-key", parent=channel["arn"])
    return page(world, call, "streamKeys", rows, lambda key: pick(key, "arn", "channelArn", "tags"), size=50)


def delete_stream_key(world: World, call: Call) -> Doc:
    """DeleteStreamKey: a running broadcast goes on, no new one can start."""
    key = world.find(call, "stream-key", call.params["arn"])
    world.store.delete("stream-key", key["arn"])
    return {}


OPERATIONS = {
    "CreateStreamKey": create_stream_key,
    "GetStreamKey": get_stream_key,
    "BatchGetStreamKey": batch_get_stream_key,
    "ListStreamKeys": list_stream_keys,
    "DeleteStreamKey": delete_stream_key,
}
