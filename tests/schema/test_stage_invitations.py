"""Who may publish beside the owner: invitations, requests for one, and who may see and decide which."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.accounts import kinds, metric, sql
from tests.client import Client
from tests.conftest import Emulator, Running, StartServer
from tests.schema.test_node import encoded
from tests.stages import (
    ACCEPT,
    ASK,
    DECLINE,
    DISCONNECT,
    INVITE,
    REFUSE,
    TOKEN,
    Person,
    arrives,
    in_vain,
    joins,
    nothing_happens,
    person,
    sends,
)

SEEN = """
query Seen($stage: ID!, $users: [ID!]!, $nodes: [ID!]!) {
  stage(by: { id: $stage }) {
    viewerCanManage
    tokens { nodes { id token user { username } } }
    joinRequests { nodes { id user { username } } }
  }
  users: nodes(ids: $users) { ... on User { stageInvitations { id token } } }
  nodes(ids: $nodes) { id }
}
"""
UNKNOWN_STAGE = encoded("Stage:00000000000070008000000000000000")
UNKNOWN_USER = encoded("User:00000000000070008000000000000000")
UNKNOWN_REQUEST = encoded("StageJoinRequest:00000000000070008000000000000000")


@pytest.fixture
async def people(clean: None, client: Client, running: Running) -> list[Person]:
    """Owner, somebody who will be invited, and a stranger."""
    return [await person(client, running.runtime) for _ in range(3)]


async def seen(viewer: Person | None, client: Client, owner: Person, users: list[Person], nodes: list[str]) -> Any:
    given = {"stage": owner.stage_id, "users": [user.user.id for user in users], "nodes": nodes}
    return await client.data(SEEN, given, token=viewer.user.token if viewer else None)


async def test_an_invitation_is_for_whom_it_names(people: list[Person], client: Client, emulator: Emulator) -> None:
    owner, invited, _ = people
    invitation = await owner.invites(invited)

    left = datetime.fromisoformat(invitation["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=718) < left <= timedelta(minutes=720)
    (sent,) = await sends(emulator, "CreateParticipantToken")
    assert (sent["userId"], sent["attributes"]) == (invited.key.hex, {"username": invited.name})
    assert (invitation["user"], invitation["stage"]) == ({"username": invited.name}, {"id": owner.stage_id})
    assert (invitation["capabilities"], invitation["isExpired"]) == (["PUBLISH", "SUBSCRIBE"], False)
    # The owner gives it, but cannot use it.
    assert invitation["token"] is None
    page = await seen(invited, client, owner, [invited], [])
    (held,) = page["stage"]["tokens"]["nodes"]
    joined = await joins(emulator, owner, held["token"])
    assert joined["participantId"] == invitation["participantId"]
    await arrives(client, owner.stage_id, [invited.name])


async def test_who_sees_which_invitations_and_requests(people: list[Person], client: Client, running: Running) -> None:
    owner, invited, stranger = people
    second = await person(client, running.runtime)
    first_id = (await owner.invites(invited))["id"]
    second_id = (await owner.invites(second))["id"]
    request_id = (await stranger.asks(owner))["id"]
    nodes = [first_id, second_id, request_id]

    async def view(viewer: Person | None) -> Any:
        page = await seen(viewer, client, owner, [owner, invited, second], nodes)
        return (
            page["stage"]["viewerCanManage"],
            [(one["id"], one["token"] is not None) for one in page["stage"]["tokens"]["nodes"]],
            [one["id"] for one in page["stage"]["joinRequests"]["nodes"]],
            [[(one["id"], one["token"] is not None) for one in user["stageInvitations"]] for user in page["users"]],
            [node["id"] if node else None for node in page["nodes"]],
        )

    assert await view(None) == (False, [], [], [[], [], []], [None] * 3)
    assert await view(stranger) == (False, [], [request_id], [[], [], []], [None, None, request_id])
    mine = [(first_id, True)]
    assert await view(invited) == (False, mine, [], [[], mine, []], [first_id, None, None])
    all_of_them = [(second_id, False), (first_id, False)]
    assert await view(owner) == (True, all_of_them, [request_id], [[], [], []], nodes)


async def test_nobody_decides_for_the_owner(
    people: list[Person], client: Client, running: Running, emulator: Emulator
) -> None:
    owner, invited, stranger = people
    await owner.invites(invited)
    request_id = (await stranger.asks(owner))["id"]
    stage, user = {"stageId": owner.stage_id}, {"user": {"username": stranger.name}}
    guest, others = ["UNAUTHENTICATED"], ["FORBIDDEN"]
    owners_only: list[tuple[str, dict[str, Any]]] = [
        (INVITE, stage | user),
        (ACCEPT, {"requestId": request_id}),
        (REFUSE, {"requestId": request_id}),
        (DISCONNECT, stage | {"participant": {"userId": invited.user.id}}),
    ]
    async with nothing_happens(running, emulator, *people):
        for document, given in owners_only:
            assert await in_vain(client, document, given) == guest
            assert await invited.asks_in_vain(document, **given) == others
            # Also who has asked does not accept for the owner.
            assert await stranger.asks_in_vain(document, **given) == others
        for document in (ASK, DECLINE):
            assert await in_vain(client, document, stage) == guest
        assert await in_vain(client, TOKEN, stage | {"role": "HOST"}) == guest
        assert await in_vain(client, TOKEN, stage | {"role": "AUDIENCE"}) == ["NotLive"]
        assert await stranger.asks_in_vain(TOKEN, **stage, role="HOST") == ["NotInvited"]
        assert (await stranger.does(DECLINE, **stage))["errors"] == []


async def test_what_is_refused_to_the_owner(people: list[Person], running: Running, emulator: Emulator) -> None:
    owner, _, stranger = people
    stage = {"stageId": owner.stage_id}
    async with nothing_happens(running, emulator, *people):
        for unknown in ({"username": "nobody-at-all"}, {"username": "a\0b"}, {"id": UNKNOWN_USER}):
            assert await owner.asks_in_vain(INVITE, **stage, user=unknown) == ["NotFound"]
        assert await owner.asks_in_vain(INVITE, **stage, user={"id": owner.user.id}) == ["OwnStage"]
        assert await owner.asks_in_vain(INVITE, **stage, user={"id": owner.stage_id}) == ["BAD_INPUT"]
        assert await owner.asks_in_vain(INVITE, stageId=UNKNOWN_STAGE, user={"id": stranger.user.id}) == ["FORBIDDEN"]
        assert await owner.asks_in_vain(ASK, **stage) == ["OwnStage"]
        assert await owner.asks_in_vain(ASK, stageId=UNKNOWN_STAGE) == ["NotFound"]
        for document in (ACCEPT, REFUSE):
            assert await owner.asks_in_vain(document, requestId=UNKNOWN_REQUEST) == ["FORBIDDEN"]
            assert await owner.asks_in_vain(document, requestId=owner.stage_id) == ["BAD_INPUT"]


async def test_a_stage_that_amazon_has_not_made_invites_nobody(
    people: list[Person], running: Running, emulator: Emulator
) -> None:
    owner, invited, stranger = people
    request_id = (await stranger.asks(owner))["id"]
    unmake = "UPDATE stages SET arn = NULL, provisioning = 'FAILED', provision_after = NULL WHERE arn = :arn"
    await sql(running.runtime, unmake, arn=owner.arn)
    stage = {"stageId": owner.stage_id}
    async with nothing_happens(running, emulator, *people):
        assert await owner.asks_in_vain(INVITE, **stage, user={"id": invited.user.id}) == ["NotReady"]
        assert await owner.asks_in_vain(ACCEPT, requestId=request_id) == ["NotReady"]
        assert await invited.asks_in_vain(ASK, **stage) == ["NotReady"]


async def test_an_invitation_is_one_until_it_expires(
    people: list[Person], running: Running, emulator: Emulator
) -> None:
    owner, invited, _ = people
    first = await owner.invites(invited)
    async with nothing_happens(running, emulator, *people):
        assert await owner.invites(invited) == first
    expire = "UPDATE stage_tokens SET created_at = now() - interval '2 h', expires_at = now() - interval '1 s'"
    await sql(running.runtime, expire)
    async with nothing_happens(running, emulator, *people):
        assert await invited.asks_in_vain(TOKEN, stageId=owner.stage_id, role="HOST") == ["NotInvited"]
    page = await seen(owner, owner.client, owner, [], [])
    assert [one["id"] for one in page["stage"]["tokens"]["nodes"]] == [first["id"]]
    assert (await seen(invited, owner.client, owner, [invited], []))["users"] == [{"stageInvitations": []}]

    renewed = await owner.invites(invited)
    assert (renewed["id"], renewed["isExpired"]) == (first["id"], False)
    assert renewed["participantId"] != first["participantId"]
    assert len(await sends(emulator, "CreateParticipantToken")) == 2


async def test_amazon_s_failure_invites_nobody(people: list[Person], running: Running, emulator: Emulator) -> None:
    owner, invited, _ = people
    await emulator.fault("CreateParticipantToken", "throttle", times=3)
    payload = await owner.does(INVITE, stageId=owner.stage_id, user={"username": invited.name})
    assert (payload["invitation"], kinds(payload)) == (None, ["AmazonUnavailable"])
    assert await sql(running.runtime, "SELECT 1 FROM stage_tokens") == []
    await owner.invites(invited)


async def test_a_request_is_accepted(people: list[Person], running: Running, emulator: Emulator) -> None:
    owner, _, stranger = people
    request = await stranger.asks(owner)
    assert (request["state"], request["user"]) == ("OPEN", {"username": stranger.name})
    async with nothing_happens(running, emulator, *people):
        assert await stranger.asks(owner) == request

    payload = await owner.does(ACCEPT, requestId=request["id"])
    assert (payload["errors"], payload["request"]) == ([], {"id": request["id"], "state": "ACCEPTED"})
    assert payload["invitation"]["user"] == {"username": stranger.name}
    async with nothing_happens(running, emulator, *people):
        assert await owner.does(ACCEPT, requestId=request["id"]) == payload
        assert await owner.asks_in_vain(REFUSE, requestId=request["id"]) == ["RequestAnswered"]
        assert (await stranger.asks(owner))["state"] == "ACCEPTED"
    assert (await stranger.does(TOKEN, stageId=owner.stage_id, role="HOST"))["errors"] == []


async def test_a_request_is_refused_and_made_anew(people: list[Person], running: Running, emulator: Emulator) -> None:
    owner, _, stranger = people
    request = await stranger.asks(owner)
    refused = {"request": {"id": request["id"], "state": "REFUSED"}, "errors": []}
    assert await owner.does(REFUSE, requestId=request["id"]) == refused
    async with nothing_happens(running, emulator, *people):
        assert await owner.does(REFUSE, requestId=request["id"]) == refused
        assert await stranger.asks_in_vain(TOKEN, stageId=owner.stage_id, role="HOST") == ["NotInvited"]
    again = await stranger.asks(owner)
    assert again == request
    await owner.does(REFUSE, requestId=request["id"])
    # The owner may think better of it.
    payload = await owner.does(ACCEPT, requestId=request["id"])
    assert (payload["errors"], payload["request"]["state"]) == ([], "ACCEPTED")


async def test_an_invitation_answers_an_open_request(people: list[Person]) -> None:
    owner, _, stranger = people
    request = await stranger.asks(owner)
    await owner.invites(stranger)
    page = await seen(owner, owner.client, owner, [], [])
    assert page["stage"]["joinRequests"]["nodes"] == []
    assert (await stranger.asks(owner)) == {**request, "state": "ACCEPTED"}


async def test_at_most_so_many_publish(clean: None, start_server: StartServer, emulator: Emulator) -> None:
    async with start_server(worker=False, stage_publishers=3) as running:
        client = Client(running.url)
        owner, *others = [await person(client, running.runtime) for _ in range(5)]
        request_id = (await others[3].asks(owner))["id"]

        async def invite(other: Person) -> list[str]:
            return kinds(await owner.does(INVITE, stageId=owner.stage_id, user={"username": other.name}))

        # At once: of four there are places for two, beside the owner.
        told = await asyncio.gather(*map(invite, others))
        assert sorted(told) == [[], [], ["StageFull"], ["StageFull"]]
        inside = [other for other, errors in zip(others, told, strict=True) if not errors]
        outside = [other for other in others if other not in inside]
        assert await sql(running.runtime, "SELECT count(*) FROM stage_tokens") == [(2,)]
        counted = await metric(running.url, "streamcat_stage_full_total")
        async with nothing_happens(running, emulator, owner, *others):
            assert await invite(outside[0]) == ["StageFull"]
            assert await invite(inside[0]) == []
            if others[3] in outside:
                assert await owner.asks_in_vain(ACCEPT, requestId=request_id) == ["StageFull"]
        assert await metric(running.url, "streamcat_stage_full_total") == counted + 1 + (others[3] in outside)
        # Who gives an invitation back makes room.
        assert (await inside[0].does(DECLINE, stageId=owner.stage_id))["errors"] == []
        assert await invite(outside[0]) == []
        await client.aclose()


async def test_invitations_at_once_are_one(people: list[Person], running: Running) -> None:
    owner, invited, _ = people
    made = await asyncio.gather(*(owner.invites(invited) for _ in range(5)))
    assert {one["participantId"] for one in made} == {made[0]["participantId"]}
    assert await sql(running.runtime, "SELECT count(*) FROM stage_tokens") == [(1,)]


async def test_how_often(clean: None, start_server: StartServer) -> None:
    async with start_server(worker=False, stage_invitations_per_hour=1, stage_join_requests_per_hour=1) as running:
        client = Client(running.url)
        owner, other, third = [await person(client, running.runtime) for _ in range(3)]
        await owner.invites(other)
        await owner.invites(other)
        assert await owner.asks_in_vain(INVITE, stageId=owner.stage_id, user={"id": third.user.id}) == [
            "TooManyAttempts"
        ]
        request = await other.asks(third)
        assert await other.asks(third) == request
        assert await owner.asks(third)
        assert await owner.asks_in_vain(ASK, stageId=other.stage_id) == ["TooManyAttempts"]
        out = {"stageId": owner.stage_id, "participant": {"userId": third.user.id}}
        assert (await owner.does(DISCONNECT, **out))["errors"] == []
        assert await owner.asks_in_vain(DISCONNECT, **out) == ["TooManyAttempts"]
        await client.aclose()
