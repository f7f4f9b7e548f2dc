"""No event of a stage comes at all: who is on it is true all the same, and what comes late changes nothing."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ivs.client import Aws
from ivs.events import parse
from server.runtime import Resolved
from tests.accounts import metric, sql
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running, StartServer
from tests.registration import fresh_database
from tests.stages import Person, arrives, names, person, shown
from tests.subscriptions.queues import make_queue
from tests.waiting import eventually

WATCH = "subscription($id: ID!) { stageChanged(stageId: $id) { stage { isLive participants { participantId } } } }"
ROUNDS = 'streamcat_reconcile_rounds_total{outcome="%s",subject="stages"}'
OF = "JOIN stages s ON s.id = stage_id WHERE s.arn = :arn"
OFF: dict[str, Any] = {"isLive": False, "participants": []}


@pytest.fixture(scope="module")
async def deaf(start_server: StartServer, resolved: Resolved, aws: Aws) -> AsyncIterator[Running]:
    """A server that compares all the time, and whose queue no event ever reaches."""
    queue = await make_queue(aws)
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url, events_queue_url=queue.url)
        async with start_server(resolved=here, reconcile_stages_seconds=0.1, reconcile_grace_seconds=0.0) as running:
            yield running


@dataclass
class Scene:
    """A stage, who owns it, and who comes and goes there without a word."""

    running: Running
    client: Client
    emulator: Emulator
    owner: Person

    async def comes(self, user: Person | None = None, **more: Any) -> str:
        body = {"stageArn": self.owner.arn, "userId": user.key.hex if user else "", **more}
        return str((await self.emulator.control("stages/participants", body))["participantId"])

    async def does(self, participant: str, verb: str) -> None:
        await self.emulator.control(f"stages/participants/{participant}/{verb}", {"stageArn": self.owner.arn})

    async def on_stage(self, *expected: str | None) -> None:
        await arrives(self.client, self.owner.stage_id, list(expected))

    async def shown(self) -> dict[str, Any]:
        return await shown(self.client, self.owner.stage_id)

    async def told(self, session: str, participant: str) -> dict[str, datetime]:
        """When Amazon says that the participant last did each thing."""
        of_whom = {"stageArn": self.owner.arn, "sessionId": session, "participantId": participant}
        answer = await self.running.runtime.aws.call("ivs-realtime", "list_participant_events", **of_whom)
        return {one["name"]: one["eventTime"].astimezone(UTC) for one in reversed(answer["events"])}

    async def rows(self) -> list[Any]:
        columns = "ivs_session_id, participant_id, published_at, unpublished_at, on_stage"
        found = f"SELECT {columns} FROM stage_participants p {OF} ORDER BY p.id"  # noqa: S608 - our names
        return await sql(self.running.runtime, found, arn=self.owner.arn)

    async def happens(self, participant: str, session: str, name: str, at: datetime) -> None:
        """Let Amazon's own event arrive."""
        detail = {
            "session_id": session,
            "event_name": name,
            "event_time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "event_time_precise": f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z",
            "participant_id": participant,
        }
        event = {
            "id": str(uuid4()),
            "detail-type": "IVS Stage Update",
            "source": "aws.ivs",
            "time": detail["event_time"],
            "resources": [self.owner.arn],
            "detail": detail,
        }
        await self.running.runtime.ingest.apply([parse(json.dumps(event))], door="test")

    async def rounds(self, more: int = 2, outcome: str = "ok") -> None:
        """Wait for so many more rounds."""
        before = await metric(self.running.url, ROUNDS % outcome)

        async def passed() -> bool:
            return await metric(self.running.url, ROUNDS % outcome) >= before + more

        await eventually(passed, f"{more} more rounds with {outcome}")

    async def refused(self, operation: str) -> None:
        await self.emulator.fault(operation, "error", code="AccessDeniedException", times=None)


@pytest.fixture
async def scene(deaf: Running, emulator: Emulator) -> AsyncIterator[Scene]:
    await emulator.lift_faults()
    client = Client(deaf.url)
    yield Scene(deaf, client, emulator, await person(client, deaf.runtime))
    await emulator.lift_faults()
    await client.aclose()


async def test_who_publishes_and_stops_is_found_and_pushed(scene: Scene) -> None:
    async with open_socket(scene.client.url) as socket:
        await socket.subscribe("1", WATCH, {"id": scene.owner.stage_id})
        assert (await socket.next("1"))["stageChanged"]["stage"] == OFF
        participant = await scene.comes(scene.owner)
        on = {"isLive": True, "participants": [{"participantId": participant}]}
        assert (await socket.next("1"))["stageChanged"]["stage"] == on
        ((session, _, published_at, _, _),) = await scene.rows()
        told = await scene.told(session, participant)
        (one,) = (await scene.shown())["participants"]
        assert one == {
            "participantId": participant,
            "publishedAt": told["PUBLISH_STARTED"].isoformat(),
            "user": {"username": scene.owner.name},
        }

        await scene.does(participant, "unpublish")
        assert (await socket.next("1"))["stageChanged"]["stage"] == OFF
        told = await scene.told(session, participant)
        # Within one second it cannot be told apart from its beginning.
        stopped_at = max(told["PUBLISH_STOPPED"], published_at)
        assert await scene.rows() == [(session, participant, published_at, stopped_at, False)]

        await scene.does(participant, "publish")
        assert (await socket.next("1"))["stageChanged"]["stage"] == on


async def test_who_leaves_is_off_and_the_others_stay(scene: Scene) -> None:
    guest = await person(scene.client, scene.running.runtime)
    first = await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    second = await scene.comes(guest)
    await scene.on_stage(scene.owner.name, guest.name)
    await scene.does(first, "leave")
    await scene.on_stage(guest.name)
    await scene.does(second, "leave")
    await scene.on_stage()
    for session, participant, published_at, unpublished_at, on_stage in await scene.rows():
        told = await scene.told(session, participant)
        assert (published_at, on_stage) == (told["PUBLISH_STARTED"], False)
        assert unpublished_at == max(told["PUBLISH_STOPPED"], published_at)


async def test_a_session_after_an_old_one(scene: Scene) -> None:
    await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    guest = await person(scene.client, scene.running.runtime)
    await scene.refused("ListStages")
    ((_, old, *_),) = await scene.rows()
    await scene.does(old, "leave")
    await scene.comes(guest)
    await scene.emulator.lift_faults()
    await scene.on_stage(guest.name)
    before, after = await scene.rows()
    assert before[0] != after[0]
    assert [before[4], after[4]] == [False, True]


async def test_the_events_themselves_come_late_and_change_nothing(scene: Scene) -> None:
    participant = await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    await scene.does(participant, "unpublish")
    await scene.on_stage()
    ((session, *_),) = rows = await scene.rows()
    _, _, published_at, unpublished_at, _ = rows[0]
    for name, at in (("Participant Unpublished", unpublished_at), ("Participant Published", published_at)):
        await scene.happens(participant, session, name, at)
        assert await scene.rows() == rows
    assert await scene.shown() == OFF


async def test_an_event_that_is_finer_than_the_list_is_no_contradiction(scene: Scene) -> None:
    """Amazon's lists are in whole seconds."""
    participant = await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    ((session, _, published_at, _, _),) = await scene.rows()
    await scene.happens(participant, session, "Participant Published", published_at + timedelta(milliseconds=700))
    await scene.rounds()
    finer = [(session, participant, published_at + timedelta(milliseconds=700), None, True)]
    assert await scene.rows() == finer
    # A stop and a new beginning in the same second: of the second nobody told.
    stopped_at = published_at + timedelta(milliseconds=800)
    await scene.happens(participant, session, "Participant Unpublished", stopped_at)
    await scene.on_stage(scene.owner.name)
    begun_at = stopped_at + timedelta(microseconds=1)
    assert await scene.rows() == [(session, participant, begun_at, stopped_at, True)]


async def test_a_beginning_of_the_same_second_as_the_end(scene: Scene) -> None:
    """The true time of the beginning is later than the end by Amazon's list."""
    participant = await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    await scene.refused("ListStages")
    await scene.rounds(outcome="AccessDeniedException")
    await scene.does(participant, "unpublish")
    ((session, *_),) = await scene.rows()
    finer = (await scene.told(session, participant))["PUBLISH_STOPPED"] + timedelta(milliseconds=999)
    await scene.happens(participant, session, "Participant Published", finer)
    await scene.emulator.lift_faults()
    await scene.on_stage()
    assert await scene.rows() == [(session, participant, finer, finer, False)]


async def test_who_has_published_once_and_is_silent_is_not_on_stage(scene: Scene) -> None:
    await scene.refused("ListStages")
    silent = await scene.comes(scene.owner)
    await scene.does(silent, "unpublish")
    await scene.comes(scene.owner, publish=False)
    speaker = await scene.comes()
    await scene.emulator.lift_faults()
    await scene.on_stage(None)
    (one,) = (await scene.shown())["participants"]
    assert one["participantId"] == speaker
    assert sorted((row[1], row[4]) for row in await scene.rows()) == sorted([(silent, False), (speaker, True)])


async def test_a_stage_that_amazon_has_no_more(scene: Scene) -> None:
    await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    await scene.running.runtime.aws.call("ivs-realtime", "delete_stage", arn=scene.owner.arn)
    await scene.on_stage()


async def test_whom_amazon_knows_nothing_of_is_off(scene: Scene) -> None:
    at = datetime.now(UTC) - timedelta(seconds=2)
    for session in ("st-short", "st-0123456789abc"):
        await scene.happens("nobody", session, "Participant Published", at)
    await scene.on_stage()
    there = await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    ((session, *_),) = [row for row in await scene.rows() if row[1] == there]
    await scene.happens("nobody-either", session, "Participant Published", at)
    await scene.on_stage(scene.owner.name)


async def test_while_amazon_does_not_answer_nothing_changes(scene: Scene) -> None:
    participant = await scene.comes(scene.owner)
    await scene.on_stage(scene.owner.name)
    for operation in ("ListStages", "ListParticipants", "ListParticipantEvents"):
        await scene.refused(operation)
        await scene.rounds(outcome="AccessDeniedException")
        await scene.does(participant, "unpublish")
        await scene.rounds(outcome="AccessDeniedException")
        assert await names(scene.client, scene.owner.stage_id) == [scene.owner.name]
        await scene.emulator.lift_faults()
        await scene.on_stage()
        await scene.does(participant, "publish")
        await scene.on_stage(scene.owner.name)

    await scene.refused("GetStageSession")
    at = datetime.now(UTC) - timedelta(seconds=2)
    await scene.does(participant, "leave")
    await scene.on_stage()
    await scene.happens("nobody", "st-0123456789abc", "Participant Published", at)
    await scene.rounds(outcome="AccessDeniedException")
    assert await names(scene.client, scene.owner.stage_id) == [None]
    await scene.emulator.lift_faults()
    await scene.on_stage()


async def test_a_stage_that_amazon_refuses_does_not_hold_up_others(scene: Scene) -> None:
    other = await person(scene.client, scene.running.runtime)
    await scene.emulator.fault(
        "ListParticipants", "error", code="AccessDeniedException", times=None, where={"stageArn": scene.owner.arn}
    )
    await scene.comes(scene.owner)
    await scene.emulator.control("stages/participants", {"stageArn": other.arn, "userId": other.key.hex})
    await arrives(scene.client, other.stage_id, [other.name])
    assert await scene.shown() == OFF
    await scene.emulator.lift_faults()
    await scene.on_stage(scene.owner.name)


async def test_what_others_do_in_the_account_is_not_ours(scene: Scene) -> None:
    made = await scene.running.runtime.aws.call("ivs-realtime", "create_stage", once=True, name="somebody-else")
    arn = made["stage"]["arn"]
    await scene.emulator.control("calls/clear")
    await scene.emulator.control("stages/participants", {"stageArn": arn})
    await scene.rounds()
    assert await sql(scene.running.runtime, "SELECT 1 FROM received_events WHERE resource = :arn", arn=arn) == []
    assert [call for call in await scene.emulator.calls() if call["params"].get("stageArn") == arn] == []


async def test_what_has_just_happened_may_be_missing_in_the_lists(
    start_server: StartServer, resolved: Resolved, aws: Aws, emulator: Emulator
) -> None:
    queue = await make_queue(aws)
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url, events_queue_url=queue.url)
        async with start_server(resolved=here, reconcile_stages_seconds=0.1, reconcile_grace_seconds=600.0) as running:
            client = Client(running.url)
            scene = Scene(running, client, emulator, await person(client, running.runtime))
            now = datetime.now(UTC)
            await scene.happens("nobody", "st-0123456789abc", "Participant Published", now)
            await scene.rounds()
            assert (await scene.shown())["isLive"] is True
            await sql(running.runtime, "UPDATE stage_participants SET published_at = now() - interval '11 minutes'")
            await scene.on_stage()
            await client.aclose()
