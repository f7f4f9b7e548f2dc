"""What a signed-in viewer is told unasked: followed channels that go live, invitations, requests to join."""

from typing import Any

import pytest

from tests.accounts import sql
from tests.client import Client, Socket, open_socket
from tests.conftest import Running
from tests.owners import FOLLOW, UNFOLLOW, Owner
from tests.stages import ACCEPT, DECLINE, REFUSE, Person, person
from tests.subscriptions.hearing import caught_up

NEWS = """
subscription News {
  viewerNotifications {
    __typename
    ... on FollowedChannelLive { channel { name isLive } }
    ... on StageInvited { invitation { token user { username } stage { owner { username } } } }
    ... on StageJoinRequested { request { state user { username } stage { owner { username } } } }
  }
}
"""
KIND = "subscription Kind { viewerNotifications { __typename } }"


@pytest.fixture
async def people(clean: None, client: Client, running: Running) -> list[Person]:
    return [await person(client, running.runtime) for _ in range(3)]


async def news(socket: Socket) -> Any:
    """The next notification, in few words."""
    told = (await socket.next("1"))["viewerNotifications"]
    match told["__typename"]:
        case "FollowedChannelLive":
            assert told["channel"]["isLive"] is True
            return "live", told["channel"]["name"]
        case "StageInvited":
            assert told["invitation"]["token"]
            return "invited", told["invitation"]["user"]["username"], told["invitation"]["stage"]["owner"]["username"]
    assert told["request"]["state"] == "OPEN"
    return "asked", told["request"]["user"]["username"], told["request"]["stage"]["owner"]["username"]


async def owners(people: list[Person], running: Running) -> list[Owner]:
    """The same people as owners of channels."""
    arns = await sql(running.runtime, "SELECT name, arn FROM channels")
    return [
        Owner(one.client, running.runtime, one.user, arn) for one in people for name, arn in arns if name == one.name
    ]


async def follows(viewer: Person, channel: Owner, document: str = FOLLOW) -> None:
    assert (await viewer.does(document, channelId=channel.id))["errors"] == []


async def test_guests_are_told_nothing(people: list[Person], running: Running) -> None:
    async with open_socket(running.url) as socket:
        await socket.subscribe("1", NEWS)
        message = await socket.receive()
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert [error["extensions"]["code"] for error in errors] == ["UNAUTHENTICATED"]


async def test_what_waits_is_told_first(people: list[Person], running: Running) -> None:
    viewer, other, third = people
    _, channel, _ = await owners(people, running)
    await follows(viewer, channel)
    await channel.goes_live()
    await other.invites(viewer)
    await third.invites(viewer)
    await other.asks(viewer)
    await third.asks(viewer)
    async with open_socket(running.url, viewer.user.token) as socket:
        await socket.subscribe("1", NEWS)
        assert [await news(socket) for _ in range(5)] == [
            ("invited", viewer.name, other.name),
            ("invited", viewer.name, third.name),
            ("asked", other.name, viewer.name),
            ("asked", third.name, viewer.name),
            ("live", channel.user.username),
        ]


async def test_each_thing_is_told_once_to_whom_it_concerns(people: list[Person], running: Running) -> None:
    viewer, other, third = people
    _, channel, _ = await owners(people, running)
    async with (
        open_socket(running.url, viewer.user.token) as mine,
        open_socket(running.url, third.user.token) as theirs,
    ):
        for socket in (mine, theirs):
            await socket.subscribe("1", NEWS)
        await caught_up(running.runtime.services)

        await other.invites(viewer)
        assert await news(mine) == ("invited", viewer.name, other.name)
        await other.invites(viewer)
        request = await other.asks(viewer)
        assert await news(mine) == ("asked", other.name, viewer.name)
        assert (await viewer.does(REFUSE, requestId=request["id"]))["errors"] == []
        await other.asks(viewer)
        # Asked anew, so told anew.
        assert await news(mine) == ("asked", other.name, viewer.name)
        assert (await viewer.does(ACCEPT, requestId=request["id"]))["errors"] == []

        # Whom the viewer follows since after the subscription began.
        await follows(viewer, channel)
        await channel.goes_live("one")
        assert await news(mine) == ("live", channel.user.username)
        await channel.happens(channel.event("Starvation Start", await channel.now(), "one"))
        await channel.goes_live("two")
        assert await news(mine) == ("live", channel.user.username)
        await follows(viewer, channel, UNFOLLOW)
        await channel.goes_live("three")

        await viewer.does(DECLINE, stageId=other.stage_id)
        await other.invites(viewer)
        assert await news(mine) == ("invited", viewer.name, other.name)
        # Of all this the third was told nothing.
        await viewer.invites(third)
        assert await news(theirs) == ("invited", third.name, viewer.name)


async def test_two_of_a_kind_are_two_even_if_they_look_alike(people: list[Person], running: Running) -> None:
    viewer, other, third = people
    async with open_socket(running.url, viewer.user.token) as socket:
        await socket.subscribe("1", KIND)
        for one in (other, third):
            await one.invites(viewer)
            assert await socket.next("1") == {"viewerNotifications": {"__typename": "StageInvited"}}
