"""Off a stage for good: by the owner, by oneself, and with one's account; also for who still holds a token."""

from typing import Any

import pytest

from tests.accounts import delete_user, sql
from tests.client import Client
from tests.conftest import Emulator, Running
from tests.stages import (
    DECLINE,
    DISCONNECT,
    TOKEN,
    Person,
    account_calls,
    arrives,
    joins,
    nothing_happens,
    person,
    sends,
)
from tests.waiting import eventually

MINE = "query Mine($id: ID!) { stage(by: { id: $id }) { tokens { nodes { token participantId } } } }"


@pytest.fixture
async def people(clean: None, client: Client, running: Running) -> list[Person]:
    """Owner and somebody who is invited."""
    return [await person(client, running.runtime) for _ in range(2)]


async def on_stage(owner: Person, invited: Person, emulator: Emulator) -> dict[str, Any]:
    """Invite, and let the invited publish; return the invitation as its holder sees it."""
    await owner.invites(invited)
    data = await owner.client.data(MINE, {"id": owner.stage_id}, token=invited.user.token)
    (held,) = data["stage"]["tokens"]["nodes"]
    await joins(emulator, owner, held["token"])
    await arrives(owner.client, owner.stage_id, [invited.name])
    await emulator.control("calls/clear")
    return dict(held)


def leave(owner: Person, held: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"stageArn": owner.arn, "participantId": held["participantId"], "reason": reason}


@pytest.mark.parametrize("by", ["participantId", "userId"])
async def test_who_is_put_out_stays_out(
    people: list[Person], client: Client, running: Running, emulator: Emulator, by: str
) -> None:
    owner, invited = people
    held = await on_stage(owner, invited, emulator)
    meant = {"participantId": held["participantId"]} if by == "participantId" else {"userId": invited.user.id}
    out = {"stageId": owner.stage_id, "participant": meant}

    payload = await owner.does(DISCONNECT, **out, reason="that's enough")
    assert payload == {"stage": {"id": owner.stage_id}, "errors": []}
    assert await sends(emulator, "DisconnectParticipant") == [leave(owner, held, "that's enough")]
    await arrives(client, owner.stage_id, [])
    # The invitation is gone as well.
    assert await sql(running.runtime, "SELECT 1 FROM stage_tokens") == []
    async with nothing_happens(running, emulator, *people):
        assert await invited.asks_in_vain(TOKEN, stageId=owner.stage_id, role="HOST") == ["NotInvited"]
    # Amazon takes the token all the same: whoever comes back with it is put out again.
    await sql(running.runtime, "UPDATE stage_revocations SET disconnect_after = now()")
    await joins(emulator, owner, held["token"])

    async def again() -> bool:
        return len(await sends(emulator, "DisconnectParticipant")) > 1

    await eventually(again, "the guard puts the participant out")
    await arrives(client, owner.stage_id, [])
    assert (await sends(emulator, "DisconnectParticipant"))[-1] == leave(owner, held, "that's enough")

    # Another invitation is another participant, whom nothing keeps out.
    fresh = await on_stage(owner, invited, emulator)
    assert fresh["participantId"] != held["participantId"]
    assert await account_calls(emulator) == []


async def test_putting_out_can_be_repeated(people: list[Person], client: Client, emulator: Emulator) -> None:
    owner, invited = people
    held = await on_stage(owner, invited, emulator)
    out = {"stageId": owner.stage_id, "participant": {"participantId": held["participantId"]}}
    for _ in range(2):
        # The second time Amazon knows nobody of this name any more.
        assert (await owner.does(DISCONNECT, **out))["errors"] == []
    await arrives(client, owner.stage_id, [])


async def test_guests_of_the_owner_without_account(people: list[Person], client: Client, emulator: Emulator) -> None:
    owner, _ = people
    joined = await emulator.control("stages/participants", {"stageArn": owner.arn, "userId": "another application's"})
    await arrives(client, owner.stage_id, [None])
    participant = {"participantId": joined["participantId"]}
    assert (await owner.does(DISCONNECT, stageId=owner.stage_id, participant=participant))["errors"] == []
    await arrives(client, owner.stage_id, [])


async def test_what_is_wrong_is_told_at_once(people: list[Person], running: Running, emulator: Emulator) -> None:
    owner, invited = people
    stage = {"stageId": owner.stage_id}
    async with nothing_happens(running, emulator, *people):
        for reason in ("x" * 129, "a\0b"):
            for nobody in ("", "x" * 65, "no spaces", "né"):
                told = await owner.asks_in_vain(
                    DISCONNECT, **stage, participant={"participantId": nobody}, reason=reason
                )
                assert sorted(told) == ["NotFound", "TextInvalid"]
        assert await owner.asks_in_vain(DISCONNECT, **stage, participant={"userId": owner.stage_id}) == ["BAD_INPUT"]
        assert await owner.asks_in_vain(DISCONNECT, **stage, participant={}) == ["BAD_INPUT"]
        both = {"userId": invited.user.id, "participantId": "x"}
        assert await owner.asks_in_vain(DISCONNECT, **stage, participant=both) == ["BAD_INPUT"]


async def test_what_amazon_did_not_do_the_guard_does(
    people: list[Person], client: Client, running: Running, emulator: Emulator
) -> None:
    owner, invited = people
    await on_stage(owner, invited, emulator)
    await emulator.fault("DisconnectParticipant", "throttle", times=3)
    out = {"stageId": owner.stage_id, "participant": {"userId": invited.user.id}}
    assert await owner.asks_in_vain(DISCONNECT, **out) == ["AmazonUnavailable"]
    # The intention stands, and nobody gets the token again.
    assert await sql(running.runtime, "SELECT is_disconnected FROM stage_revocations") == [(False,)]
    assert await sql(running.runtime, "SELECT 1 FROM stage_tokens") == []
    await emulator.lift_faults()
    await sql(running.runtime, "UPDATE stage_revocations SET disconnect_after = now()")
    await arrives(client, owner.stage_id, [])


async def test_an_invitation_is_given_back(
    people: list[Person], client: Client, running: Running, emulator: Emulator
) -> None:
    owner, invited = people
    held = await on_stage(owner, invited, emulator)
    for _ in range(2):
        assert await invited.does(DECLINE, stageId=owner.stage_id) == {"stage": {"id": owner.stage_id}, "errors": []}
    assert await sends(emulator, "DisconnectParticipant") == [leave(owner, held, "declined")]
    await arrives(client, owner.stage_id, [])
    async with nothing_happens(running, emulator, *people):
        assert await invited.asks_in_vain(TOKEN, stageId=owner.stage_id, role="HOST") == ["NotInvited"]
        assert await invited.asks_in_vain(DECLINE, stageId=owner.user.id) == ["BAD_INPUT"]


async def test_who_deletes_the_account_leaves_the_stages(
    people: list[Person], client: Client, running: Running, emulator: Emulator
) -> None:
    owner, invited = people
    held = await on_stage(owner, invited, emulator)
    # Both at once: each knows the other's stage.
    await invited.invites(owner)
    assert (await delete_user(client, invited.user.token))["errors"] == []

    async def gone() -> bool:
        return leave(owner, held, "") in await sends(emulator, "DisconnectParticipant")

    await eventually(gone, "the guard puts out who has left")
    await arrives(client, owner.stage_id, [])
    for table in ("stage_tokens", "stage_participants", "stage_revocations", "stage_join_requests"):
        statement = f"SELECT 1 FROM {table} WHERE user_id = :user"  # noqa: S608 - our names
        assert await sql(running.runtime, statement, user=invited.key) == [], table


async def test_what_is_over_is_not_kept(people: list[Person], running: Running) -> None:
    owner, invited = people
    await owner.invites(invited)
    await owner.does(DISCONNECT, stageId=owner.stage_id, participant={"userId": invited.user.id})
    housekeeping = next(job for job in running.runtime.worker._jobs if job.name == "housekeeping")
    await housekeeping.run()
    assert await sql(running.runtime, "SELECT count(*) FROM stage_revocations") == [(1,)]
    await sql(running.runtime, "UPDATE stage_revocations SET expires_at = now()")
    await housekeeping.run()
    assert await sql(running.runtime, "SELECT count(*) FROM stage_revocations") == [(0,)]
