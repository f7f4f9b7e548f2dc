"""Whatever the mission promises can be asked for: by name, from a root, along fields."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    build_schema,
    get_named_type,
)

contract = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text("utf-8"))

# What was sketched before the code, in the names that it got.
CAPABILITIES: Final = {
    "Query": "node nodes viewer user channel channels category categories stream recordings stage stages",
    "Node": "id",
    "User": "id username createdAt updatedAt channel chatRoom stage followedChannels stageInvitations",
    "Channel": "id name title category owner chatRoom stage isLive isPartner provisioning playbackUrl viewerCount "
    "followerCount viewerIsFollowing viewerCanManage currentStream streams recordings broadcast createdAt updatedAt",
    "BroadcastSettings": "type ingestUrl streamKey arn",
    "Category": "id name slug channels liveChannelCount",
    "Stream": "id channel title category state health startedAt endedAt recording recordingStartedAt "
    "recordingEndedAt recordingDurationMs recordingPath viewerCount peakViewerCount events metrics analytics "
    "chatMessages",
    "Recording": "id channel streams state playbackUrl thumbnailUrl durationMs startedAt endedAt",
    "Metric": "id stream ip browserName browserVersion os userAgent isMobile timeZone availableResolution "
    "currentResolution quality codecs bitrate framerate latencySeconds bufferSeconds createdAt",
    "StreamAnalytics": "bucketSeconds viewers chatMessages latencySeconds bufferSeconds bitrate framerate browsers "
    "operatingSystems qualities peakViewers uniqueViewers watchTimeSeconds",
    "ChatRoom": "id name owner endpoint messages bans",
    "ChatMessage": "id chatRoom stream content sentAt offsetMs sentBy senderName",
    "ChatBan": "chatRoom user reason createdAt",
    "StageJoinRequest": "id stage user state askedAt",
    "StreamEvent": "type name code message occurredAt",
    "Stage": "id name owner isLive participants tokens",
    "StageToken": "id stage user participantId token capabilities expiresAt isExpired",
    "Mutation": "userRegister userDelete passwordChange sessionCreate sessionDelete channelUpdate channelProvision "
    "channelFollow channelUnfollow streamKeyReset streamUpdate streamStop streamMetadataPut recordingDelete "
    "playbackStart metricsPublish chatTokenCreate chatMessageDelete chatUserDisconnect chatUserBan chatUserUnban "
    "chatEventSend stageTokenCreate stageInvite stageJoinRequest stageParticipantDisconnect",
    "Subscription": "channelChanged viewerCountChanged liveStats streamEvents directoryChanged stageChanged "
    "viewerNotifications",
}


def members(kind: GraphQLNamedType) -> Iterator[GraphQLNamedType]:
    """What an answer of the type can be, and lead to."""
    if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
        yield from contract.get_possible_types(kind)
    if isinstance(kind, GraphQLInterfaceType | GraphQLObjectType):
        yield from (get_named_type(field.type) for field in kind.fields.values())


def reachable() -> set[str]:
    roots = (contract.query_type, contract.mutation_type, contract.subscription_type)
    waiting: list[GraphQLNamedType] = [root for root in roots if root]
    seen: set[str] = set()
    while waiting:
        kind = waiting.pop()
        if kind.name not in seen:
            seen.add(kind.name)
            waiting += members(kind)
    return seen


@pytest.mark.parametrize("name", CAPABILITIES)
def test_every_capability_is_reachable(name: str) -> None:
    assert name in reachable()
    kind = contract.type_map[name]
    assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
    assert set(CAPABILITIES[name].split()) - set(kind.fields) == set()
