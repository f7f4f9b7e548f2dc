"""Stages as everybody sees them: found, listed, live by what Amazon tells, and watched."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.accounts import delete_user, sql
from tests.client import Client, Socket, open_socket
from tests.conftest import Emulator, Running
from tests.schema.test_node import encoded
from tests.stages import DECLINE, Person, arrives, person, shown
from tests.waiting import eventually

FOUND = """
query Found($by: StageBy!) { stage(by: $by) { id name owner { username } provisioning viewerCanManage } }
"""
LISTED = """
query Listed($filter: StageFilter, $first: Int, $after: String) {
  stages(filter: $filter, first: $first, after: $after) { nodes { id isLive } pageInfo { hasNextPage endCursor } }
}
"""
WATCH = """
subscription Watch($id: ID!) {
  stageChanged(stageId: $id) {
    stage { isLive participants { participantId } tokens { nodes { user { username } } } joinRequests { nodes { id } } }
  }
}
"""
UNKNOWN = encoded("Stage:00000000000070008000000000000000")


@pytest.fixture
async def people(clean: None, client: Client, running: Running) -> list[Person]:
    return [await person(client, running.runtime) for _ in range(3)]


async def comes(emulator: Emulator, at: Person, user: Person | None = None, **known: str) -> str:
    """Let somebody publish on a stage; return the participant's id."""
    body = {"stageArn": at.arn, "userId": user.key.hex if user else "a guest", **known}
    joined = await emulator.control("stages/participants", body)
    return str(joined["participantId"])


async def goes(emulator: Emulator, at: Person, participant_id: str) -> None:
    await emulator.control(f"stages/participants/{participant_id}/leave", {"stageArn": at.arn})


async def test_a_stage_is_found_by_id_or_name(people: list[Person], client: Client) -> None:
    owner, stranger, _ = people
    for by in ({"id": owner.stage_id}, {"name": owner.name}, {"name": owner.name.upper()}):
        for token, can_manage in ((None, False), (stranger.user.token, False), (owner.user.token, True)):
            assert await client.data(FOUND, {"by": by}, token=token) == {
                "stage": {
                    "id": owner.stage_id,
                    "name": owner.name,
                    "owner": {"username": owner.name},
                    "provisioning": "READY",
                    "viewerCanManage": can_manage,
                }
            }
    for by in ({"id": UNKNOWN}, {"name": "nobody-at-all"}, {"name": "a\0b"}):
        assert await client.data(FOUND, {"by": by}) == {"stage": None}
    for by in ({"id": owner.user.id}, {"id": "?"}, {}, {"id": owner.stage_id, "name": owner.name}):
        assert (await client.error(FOUND, {"by": by}))["extensions"]["code"] == "BAD_INPUT"


async def listed(client: Client, **given: Any) -> list[tuple[str, bool]]:
    """Every stage of the list, page by page."""
    found: list[tuple[str, bool]] = []
    after = None
    while True:
        page = (await client.data(LISTED, {**given, "first": 1, "after": after}))["stages"]
        found += [(node["id"], node["isLive"]) for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


async def test_live_stages_are_listed_by_who_began_last(
    people: list[Person], client: Client, emulator: Emulator
) -> None:
    one, two, three = (each.stage_id for each in people)
    await comes(emulator, people[2], people[2])
    await arrives(client, three, [people[2].name])
    await comes(emulator, people[0])
    await arrives(client, one, [None])

    first, second = [await shown(client, stage) for stage in (three, one)]
    order = [first["participants"][0]["publishedAt"], second["participants"][0]["publishedAt"]]
    assert order == sorted(order)
    assert await listed(client, filter={"isLive": True}) == [(one, True), (three, True)]
    assert await listed(client, filter={"isLive": False}) == [(two, False)]
    for whole in (None, {}, {"isLive": None}):
        assert await listed(client, filter=whole) == [(three, True), (two, False), (one, True)]


async def test_a_stage_is_live_while_somebody_publishes(
    people: list[Person], client: Client, emulator: Emulator
) -> None:
    owner, guest, _ = people
    assert await shown(client, owner.stage_id) == {"isLive": False, "participants": []}
    first = await comes(emulator, owner, owner)
    await arrives(client, owner.stage_id, [owner.name])
    second = await comes(emulator, owner, guest)
    await arrives(client, owner.stage_id, [owner.name, guest.name])
    stage = await shown(client, owner.stage_id)
    assert stage["isLive"] is True
    assert [one["participantId"] for one in stage["participants"]] == [first, second]
    for one in stage["participants"]:
        age = datetime.now().astimezone() - datetime.fromisoformat(one["publishedAt"])
        assert abs(age) < timedelta(minutes=1)

    await goes(emulator, owner, first)
    await arrives(client, owner.stage_id, [guest.name])
    assert (await shown(client, owner.stage_id))["isLive"] is True
    await goes(emulator, owner, second)
    await arrives(client, owner.stage_id, [])
    assert await shown(client, owner.stage_id) == {"isLive": False, "participants": []}


async def until_next(socket: Socket, wanted: Any, see: Any) -> None:
    """Read what is told until it is this."""
    for _ in range(10):
        told = see((await socket.next("1"))["stageChanged"]["stage"])
        if told == wanted:
            return
    raise AssertionError(f"{wanted} was never told; last {told}")


async def test_whoever_watches_a_stage_sees_it_change(
    people: list[Person], client: Client, running: Running, emulator: Emulator
) -> None:
    owner, invited, stranger = people

    def see(stage: dict[str, Any]) -> tuple[Any, ...]:
        names = [node["user"]["username"] for node in stage["tokens"]["nodes"]]
        return stage["isLive"], len(stage["participants"]), names, len(stage["joinRequests"]["nodes"])

    async with open_socket(running.url, owner.user.token) as mine, open_socket(running.url) as anyone:
        for socket in (mine, anyone):
            await socket.subscribe("1", WATCH, {"id": owner.stage_id})
            assert see((await socket.next("1"))["stageChanged"]["stage"]) == (False, 0, [], 0)
        await stranger.asks(owner)
        await until_next(mine, (False, 0, [], 1), see)
        participant_id = (await owner.invites(invited))["participantId"]
        await until_next(mine, (False, 0, [invited.name], 1), see)
        await comes(emulator, owner, invited, participantId=participant_id)
        await until_next(mine, (True, 1, [invited.name], 1), see)
        # Of invitations and requests a guest is told nothing, not even that something has changed.
        assert see((await anyone.next("1"))["stageChanged"]["stage"]) == (True, 1, [], 0)
        await invited.does(DECLINE, stageId=owner.stage_id)
        await until_next(mine, (False, 0, [], 1), see)
        assert see((await anyone.next("1"))["stageChanged"]["stage"]) == (False, 0, [], 0)

        await delete_user(client, owner.user.token)
        assert await anyone.receive() == {"type": "complete", "id": "1"}


async def test_what_is_no_stage_cannot_be_watched(people: list[Person], running: Running) -> None:
    async with open_socket(running.url) as socket:
        for unknown in (UNKNOWN, people[0].user.id):
            await socket.subscribe("1", WATCH, {"id": unknown})
            message = await socket.receive()
            if message["type"] == "next":
                (error,) = message["payload"]["errors"]
                assert await socket.receive() == {"type": "complete", "id": "1"}
            else:
                (error,) = message["payload"]
            assert error["extensions"]["code"] == "BAD_INPUT"


async def test_events_before_the_stage_is_known_count(
    people: list[Person], client: Client, running: Running, emulator: Emulator
) -> None:
    owner = people[0]
    forget = "UPDATE stages SET arn = NULL, provisioning = 'PENDING', provision_after = now() + interval '1 h'"
    await sql(running.runtime, f"{forget} WHERE arn = :arn", arn=owner.arn)
    await comes(emulator, owner, owner)

    async def journalled() -> bool:
        found = "SELECT outcome FROM received_events WHERE resource = :arn"
        return await sql(running.runtime, found, arn=owner.arn) == [("UNMATCHED",)]

    await eventually(journalled, "the event is kept")
    assert (await shown(client, owner.stage_id))["isLive"] is False
    await sql(running.runtime, "UPDATE stages SET provision_after = now() WHERE name = :name", name=owner.name)
    await arrives(client, owner.stage_id, [owner.name])
