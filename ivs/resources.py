"""The three resources of a user: created under a name that only that user's row can have, and found again by it.

Whoever is not sure that an earlier creation failed looks before creating, and so ends with one resource whatever
happened in between.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from ivs.client import Aws
from ivs.errors import AwsError

DEPLOYMENT: Final = "streamcat:deployment"
USER: Final = "streamcat:user"
USERNAME: Final = "streamcat:username"
CREATED: Final = "streamcat:created"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose resource it is. `deployment` keeps several installations in one AWS account apart."""

    deployment: str
    user_id: UUID
    username: str

    @property
    def resource_name(self) -> str:
        """Name of each of the user's resources, unique and readable; AWS allows `[a-zA-Z0-9-_]{0,128}`."""
        return f"{self.deployment}-{self.username}-{self.user_id.hex}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags by which the account's owner, and the janitor, see what belongs to whom and since when."""
        return {
            DEPLOYMENT: self.deployment,
            USER: str(self.user_id),
            USERNAME: self.username,
            # Lists of channels and stages tell no time.
            CREATED: datetime.now(UTC).isoformat(timespec="seconds"),
        }


@dataclass(frozen=True, slots=True)
class Resource:
    """What AWS answered about a channel, room or stage: only a stage has the two URLs, only a channel the others."""

    arn: str
    playback_url: str | None = None
    ingest_endpoint: str | None = None
    stream_key_arn: str | None = None
    stream_key: str | None = None
    channel_type: str | None = None
    events_url: str | None = None
    whip_url: str | None = None

    def __repr__(self) -> str:
        return f"Resource({self.arn!r})"


@dataclass(frozen=True, slots=True)
class Listed:
    """A resource as a list of the whole account shows it; when it was created may not be known."""

    arn: str
    name: str
    tags: Mapping[str, str]
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be done with one kind of resource. Every function raises what `Aws.call` raises.

    Attributes:
        every: All resources of the account, whoever made them.
        find: ARNs of the resources with this name.
        adopt: What AWS tells of one that exists already.
        create: A new one, whatever exists.
        delete: An end to the one with this ARN and to what goes on there; done if there is none. A channel that is live
            cannot be deleted at once: its encoder is sent away, and ConflictException, which is `Retryable`, says to
            come back when its stream has ended.
    """

    every: Callable[[Aws], AsyncIterator[Listed]]
    find: Callable[[Aws, str], Awaitable[list[str]]]
    adopt: Callable[[Aws, str, Owner], Awaitable[Resource]]
    create: Callable[[Aws, Owner], Awaitable[Resource]]
    delete: Callable[[Aws, str], Awaitable[None]]


def channels(*, recording_configuration_arn: str | None, channel_type: str) -> Kind:
    """Return the kind of channels that are of the type, and record as configured."""
    recording = {"recordingConfigurationArn": recording_configuration_arn} if recording_configuration_arn else {}

    async def create(aws: Aws, owner: Owner) -> Resource:
        # AWS makes the stream key with the channel.
        answer = await aws.call(
            "ivs",
            "create_channel",
            once=True,
            name=owner.resource_name,
            tags=owner.tags,
            type=channel_type,
            **recording,
        )
        return channel_of(answer["channel"], answer["streamKey"])

    return Kind(_every_channel, _find_channels, _adopt_channel, create, _delete_channel)


def channel_of(channel: Mapping[str, Any], key: Mapping[str, Any]) -> Resource:
    """Return a channel from AWS's answers about it and its stream key."""
    return Resource(
        channel["arn"], channel["playbackUrl"], channel["ingestEndpoint"], key["arn"], key["value"], channel["type"]
    )


def _listed(item: Mapping[str, Any]) -> Listed:
    tags: Mapping[str, str] = item.get("tags", {})
    created = item.get("createTime")
    with suppress(ValueError):
        created = created or datetime.fromisoformat(tags.get(CREATED, "")).astimezone(UTC)
    return Listed(item["arn"], item.get("name", ""), tags, created)


@contextmanager
def _done_if(*codes: str) -> Iterator[None]:
    """Take these errors of AWS as the block's success."""
    try:
        yield
    except AwsError as error:
        if error.code not in codes:
            raise


_GONE: Final = "ResourceNotFoundException"


async def _every_channel(aws: Aws) -> AsyncIterator[Listed]:
    async for channel in aws.pages("ivs", "list_channels", "channels", maxResults=100):
        yield _listed(channel)


async def _find_channels(aws: Aws, name: str) -> list[str]:
    return [channel["arn"] async for channel in aws.pages("ivs", "list_channels", "channels", filterByName=name)]


async def _adopt_channel(aws: Aws, arn: str, owner: Owner) -> Resource:
    channel = (await aws.call("ivs", "get_channel", arn=arn))["channel"]
    keys = [item async for item in aws.pages("ivs", "list_stream_keys", "streamKeys", channelArn=arn)]
    if keys:
        key = (await aws.call("ivs", "get_stream_key", arn=keys[0]["arn"]))["streamKey"]
    else:
        key = (await aws.call("ivs", "create_stream_key", once=True, channelArn=arn, tags=owner.tags))["streamKey"]
    return channel_of(channel, key)


async def _delete_channel(aws: Aws, arn: str) -> None:
    """Delete a channel, see `Kind.delete`. In this order an encoder that connects again finds its key gone."""
    with _done_if(_GONE):
        async for key in aws.pages("ivs", "list_stream_keys", "streamKeys", channelArn=arn):
            with _done_if(_GONE):
                await aws.call("ivs", "delete_stream_key", arn=key["arn"])
        with _done_if("ChannelNotBroadcasting"):
            await aws.call("ivs", "stop_stream", channelArn=arn)
        await aws.call("ivs", "delete_channel", arn=arn)


async def _adopt_room(_aws: Aws, arn: str, _owner: Owner) -> Resource:
    return Resource(arn)


async def _every_room(aws: Aws) -> AsyncIterator[Listed]:
    async for room in aws.pages("ivschat", "list_rooms", "rooms", maxResults=50):
        yield _listed(room)


async def _find_rooms(aws: Aws, name: str) -> list[str]:
    return [room["arn"] async for room in aws.pages("ivschat", "list_rooms", "rooms", name=name)]


async def _create_room(aws: Aws, owner: Owner, **configured: Any) -> Resource:
    answer = await aws.call(
        "ivschat", "create_room", once=True, name=owner.resource_name, tags=owner.tags, **configured
    )
    return Resource(answer["arn"])


async def _delete_room(aws: Aws, arn: str) -> None:
    """Delete a room, see `Kind.delete`."""
    with _done_if(_GONE):
        await aws.call("ivschat", "delete_room", identifier=arn)


async def _every_stage(aws: Aws) -> AsyncIterator[Listed]:
    async for stage in aws.pages("ivs-realtime", "list_stages", "stages", maxResults=100):
        yield _listed(stage)


async def _find_stages(aws: Aws, name: str) -> list[str]:
    # ListStages has no filter, so this reads the account's whole list.
    return [stage.arn async for stage in _every_stage(aws) if stage.name == name]


async def _create_stage(aws: Aws, owner: Owner) -> Resource:
    answer = await aws.call("ivs-realtime", "create_stage", once=True, name=owner.resource_name, tags=owner.tags)
    return _stage(answer["stage"])


async def _adopt_stage(aws: Aws, arn: str, _owner: Owner) -> Resource:
    return await get_stage(aws, arn)


async def get_stage(aws: Aws, arn: str) -> Resource:
    """Return the stage as AWS has it now; its URLs may be kept for 14 days. Raises what `Aws.call` raises."""
    return _stage((await aws.call("ivs-realtime", "get_stage", arn=arn))["stage"])


def _stage(answer: dict[str, Any]) -> Resource:
    endpoints = answer.get("endpoints", {})
    return Resource(answer["arn"], events_url=endpoints.get("events"), whip_url=endpoints.get("whip"))


async def _delete_stage(aws: Aws, arn: str) -> None:
    """Delete a stage, which disconnects everybody on it; see `Kind.delete`."""
    with _done_if(_GONE):
        await aws.call("ivs-realtime", "delete_stage", arn=arn)


ROOMS = Kind(_every_room, _find_rooms, _adopt_room, _create_room, _delete_room)
STAGES = Kind(_every_stage, _find_stages, _adopt_stage, _create_stage, _delete_stage)


def rooms(*, review_handler_arn: str | None, review_fallback: str, logging_configuration_arn: str | None) -> Kind:
    """Return the kind of rooms whose messages are reviewed and logged as configured."""
    configured: dict[str, Any] = {}
    if review_handler_arn:
        # The answer of AWS's choice, ALLOW, would let pass whatever a slow or broken function has not seen.
        configured["messageReviewHandler"] = {"uri": review_handler_arn, "fallbackResult": review_fallback}
    if logging_configuration_arn:
        configured["loggingConfigurationIdentifiers"] = [logging_configuration_arn]
    return replace(ROOMS, create=partial(_create_room, **configured))
