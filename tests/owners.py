"""A channel's owner at work: the mutations of the slice, events of the channel, and what its row says."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from ivs.events import parse
from schema.base import parse_id
from server.runtime import Runtime
from tests.accounts import sql
from tests.client import Client, Registered

ERRORS = "errors { __typename ... on UserError { message path } }"
LIMITED = """
errors {
  __typename ... on UserError { message path }
  ... on TooManyAttempts { retryAfterSeconds } ... on AmazonUnavailable { retryAfterSeconds }
}
"""
SHOWN = "title category { slug } isLive currentStream { title category { slug } }"
STREAM = "title category { slug }"
UPDATE = f"""
mutation Update($input: ChannelUpdateInput!) {{ channelUpdate(input: $input) {{ channel {{ {SHOWN} }} {ERRORS} }} }}
"""
STREAM_UPDATE = f"""
mutation Update($input: StreamUpdateInput!) {{ streamUpdate(input: $input) {{ stream {{ {STREAM} }} {ERRORS} }} }}
"""
FOLLOWED = "followerCount viewerIsFollowing isPartner"
FOLLOW = f"""
mutation Follow($input: ChannelFollowInput!) {{ channelFollow(input: $input) {{ channel {{ {FOLLOWED} }} {ERRORS} }} }}
"""
UNFOLLOW = f"""
mutation Unfollow($input: ChannelUnfollowInput!) {{
  channelUnfollow(input: $input) {{ channel {{ {FOLLOWED} }} {ERRORS} }}
}}
"""
RESET = f"""
mutation Reset($input: StreamKeyResetInput!) {{
  streamKeyReset(input: $input) {{ channel {{ broadcast {{ streamKey }} }} {LIMITED} }}
}}
"""
STOP = f"""
mutation Stop($input: StreamStopInput!) {{ streamStop(input: $input) {{ channel {{ isLive }} {LIMITED} }} }}
"""
METADATA = f"""
mutation Put($input: StreamMetadataPutInput!) {{
  streamMetadataPut(input: $input) {{ channel {{ isLive }} {LIMITED} }}
}}
"""
STREAMS = f"""
query Streams($id: ID!) {{ channel(by: {{ id: $id }}) {{ streams {{ nodes {{ id startedAt {STREAM} }} }} }} }}
"""
TYPE = "query Type($id: ID!) { channel(by: { id: $id }) { broadcast { type } } }"
KEY = "query Key($id: ID!) { channel(by: { id: $id }) { broadcast { streamKey } } }"
CATEGORIES = "{ categories { id slug } }"


def node_id(kind: str, key: UUID) -> str:
    """Return the global id of an object of which the database knows the key."""
    return base64.urlsafe_b64encode(f"{kind}:{key.hex}".encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Owner:
    """A registered user at a server, and the server's insides."""

    client: Client
    runtime: Runtime
    user: Registered
    arn: str

    @classmethod
    async def register(cls, client: Client, runtime: Runtime, username: str | None = None) -> "Owner":
        user = await client.register(username)
        ((arn,),) = await sql(runtime, "SELECT arn FROM channels WHERE name = :name", name=user.username)
        return cls(client, runtime, user, arn)

    @property
    def id(self) -> str:
        return self.user.channel_id

    @property
    def key(self) -> UUID:
        return parse_id(self.id, argument="id")[1]

    async def send(self, document: str, **given: Any) -> dict[str, Any]:
        """Send a mutation about the channel; return its payload."""
        given = {"channelId": self.id, **given} if "streamId" not in given else given
        (payload,) = (await self.client.data(document, {"input": given}, token=self.user.token)).values()
        assert isinstance(payload, dict)
        return payload

    async def done(self, document: str, **given: Any) -> dict[str, Any]:
        """Send a mutation that must succeed; return what it shows."""
        payload = await self.send(document, **given)
        assert payload.pop("errors") == []
        (shown,) = payload.values()
        assert isinstance(shown, dict)
        return shown

    async def refused(self, document: str, **given: Any) -> list[tuple[str, list[str] | None]]:
        """Send a mutation that must be refused; return types and paths of its errors."""
        payload = await self.send(document, **given)
        errors = payload.pop("errors")
        assert errors
        assert list(payload.values()) == [None]
        return [(error["__typename"], error["path"]) for error in errors]

    async def now(self) -> datetime:
        """Return the present moment by the database's clock, different from every other one."""
        ((moment,),) = await sql(self.runtime, "SELECT clock_timestamp() FROM pg_sleep(0.002)")
        assert isinstance(moment, datetime)
        return moment

    def event(self, name: str, at: datetime, stream: str = "one") -> str:
        return json.dumps(
            {
                "id": str(uuid4()),
                "detail-type": "IVS Stream State Change",
                "source": "aws.ivs",
                "time": at.isoformat(),
                "resources": [self.arn],
                "detail": {"event_name": name, "channel_name": "", "stream_id": f"st-{self.key.hex[-12:]}-{stream}"},
            }
        )

    async def happens(self, *events: str) -> None:
        """Let events of the channel arrive."""
        await self.runtime.ingest.apply([parse(one) for one in events], door="test")

    async def goes_live(self, stream: str = "one", *, ago: float = 0.0) -> datetime:
        at = await self.now() - timedelta(seconds=ago)
        await self.happens(self.event("Stream Start", at, stream))
        return at

    async def on_air(self) -> bool:
        """Whether Amazon has a live stream of the channel, whatever has been heard of it."""
        streams = [one async for one in self.runtime.aws.pages("ivs", "list_streams", "streams")]
        return self.arn in [one["channelArn"] for one in streams]

    async def shown_key(self) -> str | None:
        """Return the stream key as the owner sees it."""
        found = await self.client.data(KEY, {"id": self.id}, token=self.user.token)
        key: str | None = found["channel"]["broadcast"]["streamKey"]
        return key

    async def shown_type(self) -> str | None:
        """Return the channel's type as the owner sees it."""
        found = await self.client.data(TYPE, {"id": self.id}, token=self.user.token)
        kind: str | None = found["channel"]["broadcast"]["type"]
        return kind

    async def only_key(self) -> str:
        """Return the one stream key that the channel has on AWS, which the owner must see and the row name."""
        aws = self.runtime.aws
        (key,) = [one async for one in aws.pages("ivs", "list_stream_keys", "streamKeys", channelArn=self.arn)]
        found = (await aws.call("ivs", "get_stream_key", arn=key["arn"]))["streamKey"]
        row = await sql(self.runtime, "SELECT stream_key_arn FROM channels WHERE id = :key", key=self.key)
        assert (row[0][0], await self.shown_key()) == (found["arn"], found["value"])
        return str(found["value"])

    async def chores(self) -> list[tuple[str, int, str | None]]:
        """Return what is still to be done on Amazon: kind, tries so far and the last error."""
        statement = "SELECT kind, attempts, error FROM chores WHERE channel_id = :key ORDER BY kind"
        return [(row[0], row[1], row[2]) for row in await sql(self.runtime, statement, key=self.key)]

    async def idle(self) -> bool:
        return await self.chores() == []

    async def streams(self) -> list[dict[str, Any]]:
        found = await self.client.data(STREAMS, {"id": self.id})
        nodes: list[dict[str, Any]] = found["channel"]["streams"]["nodes"]
        return nodes

    async def category(self, slug: str) -> str:
        """Return the id of a seeded category."""
        found = (await self.client.data(CATEGORIES))["categories"]
        (wanted,) = [one["id"] for one in found if one["slug"] == slug]
        return str(wanted)
