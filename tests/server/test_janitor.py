"""`janitor`: what is nobody's is found, by this deployment's tag alone, and what is somebody's is never touched."""

import asyncio
import string
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import choices
from typing import Any
from uuid import UUID

import pytest

from ivs.client import Aws
from ivs.resources import Owner
from models import uuid7
from server import commands
from server.runtime import Resolved
from server.settings import Settings
from tests.conftest import Emulator, StartServer
from tests.registration import Registry, fresh_database, open_registry
from tests.removals import account, all_removed, go_live, leave, removals, removals_fall_due

KINDS = {"channel": "channel", "chatRoom": "room", "stage": "stage"}


@dataclass(frozen=True)
class Answer:
    code: int
    lines: list[str]
    err: str


@dataclass(frozen=True)
class Installation:
    """A deployment with a database and a tag of its own on the emulated account, whose workers are idle."""

    deployment: str
    resolved: Resolved
    registry: Registry
    capsys: pytest.CaptureFixture[str]

    async def janitor(self, *options: str, **settings: Any) -> Answer:
        """Run the command."""
        chosen = {
            "database_url": self.resolved.database_url,
            "aws_endpoint_url": self.resolved.aws.endpoint_url,
            "events_queue_url": self.resolved.events_queue_url,
            "aws_region": self.resolved.aws.region,
            "deployment": self.deployment,
            "aws_calls_per_second": 100.0,
            "provision_first_pause_seconds": 30.0,
            **settings,
        }
        self.capsys.readouterr()
        code = await asyncio.to_thread(commands.main, Settings(**chosen), ["janitor", *options])
        said = self.capsys.readouterr()
        return Answer(code, said.out.splitlines(), said.err)

    def lines(self, owned: dict[str, list[str]], user: UUID | str, age: str, fate: str = "") -> list[str]:
        return [
            f"{KINDS[part]:8} {arn}  user {user}  age {age}{f'  {fate}' if fate else ''}"
            for part, arns in owned.items()
            for arn in arns
        ]


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")


@pytest.fixture
async def installation(
    start_server: StartServer,
    resolved: Resolved,
    emulator: Emulator,
    credentials: None,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Installation]:
    await emulator.lift_faults()
    deployment = "".join(choices(string.ascii_lowercase, k=20))
    async with fresh_database(resolved.database_url) as url:
        here = replace(resolved, database_url=url, bus_url=url)
        async with (
            start_server(resolved=here, worker=False, deployment=deployment) as running,
            open_registry(running.url, url, here.aws) as registry,
        ):
            yield Installation(deployment, here, registry, capsys)
    await emulator.lift_faults()


async def make(aws: Aws, name: str, tags: dict[str, str]) -> dict[str, list[str]]:
    """A channel, a room and a stage that no row knows of; return their ARNs."""
    channel = await aws.call("ivs", "create_channel", name=name, tags=tags)
    room = await aws.call("ivschat", "create_room", name=name, tags=tags)
    stage = await aws.call("ivs-realtime", "create_stage", name=name, tags=tags)
    return {"channel": [channel["channel"]["arn"]], "chatRoom": [room["arn"]], "stage": [stage["stage"]["arn"]]}


async def orphans(installation: Installation, *, old: timedelta | None) -> tuple[UUID, dict[str, list[str]]]:
    """What a user who is gone has left behind; return whose and what."""
    owner = Owner(installation.deployment, uuid7(), "gone")
    tags = {**owner.tags, "streamcat:created": (datetime.now(UTC) - (old or timedelta())).isoformat()}
    if old is None:
        del tags["streamcat:created"]
    return owner.user_id, await make(installation.registry.aws, owner.resource_name, tags)


async def mine(installation: Installation) -> dict[str, set[str]]:
    return await account(installation.registry.aws)


async def test_nothing_is_nobody_s(installation: Installation) -> None:
    for _ in range(2):
        await installation.registry.register()
    expected = Answer(0, ["0 of 6 resources belong to nobody."], "")
    assert await installation.janitor() == expected
    assert await installation.janitor("--delete", "--min-age", "0") == expected


async def test_orphans_are_shown_and_deleted(installation: Installation, emulator: Emulator) -> None:
    registry = installation.registry
    person = await registry.register()
    # The same tags but for the deployment: another installation's, or nobody's business.
    stranger = Owner("another", uuid7(), "gone")
    await make(registry.aws, stranger.resource_name, stranger.tags)
    await make(registry.aws, "untagged", {})
    before = await mine(installation)
    user_id, owned = await orphans(installation, old=timedelta(minutes=150, seconds=5))
    # Rooms tell their own age, which is what counts.
    room = {part: owned[part] for part in ("chatRoom",)}
    rest = {part: owned[part] for part in ("channel", "stage")}
    shown = [
        *installation.lines({"channel": rest["channel"]}, user_id, "150 min"),
        *installation.lines(room, user_id, "0 min"),
        *installation.lines({"stage": rest["stage"]}, user_id, "150 min"),
    ]
    last = "3 of 6 resources belong to nobody."
    await emulator.control("calls/clear")
    assert await installation.janitor() == Answer(1, [*shown, last], "")
    assert {call["operation"] for call in await emulator.calls()} <= {
        "ListChannels", "ListRooms", "ListStages", "ReceiveMessage",
    }  # fmt: skip
    fates = [f"{shown[0]}  deleted", f"{shown[1]}  kept: too young", f"{shown[2]}  deleted"]
    assert await installation.janitor("--delete") == Answer(1, [*fates, last], "")
    assert await installation.janitor("--delete", "--min-age", "0") == Answer(
        0, [f"{shown[1]}  deleted", "1 of 4 resources belong to nobody."], ""
    )
    assert await mine(installation) == before
    assert await installation.janitor() == Answer(0, ["0 of 3 resources belong to nobody."], "")
    assert await removals(registry.sessions) == []
    await registry.has_exactly_one_of_each(person)


async def test_age_that_is_not_known_is_no_age(installation: Installation) -> None:
    await installation.registry.register()
    before = await mine(installation)
    tags = {"streamcat:deployment": installation.deployment, "streamcat:user": "nonsense", "streamcat:created": "early"}
    owned = await make(installation.registry.aws, "odd", tags)
    del owned["chatRoom"]
    answer = await installation.janitor("--delete")
    assert answer.code == 1
    assert set(installation.lines(owned, "unknown", "unknown", "kept: of unknown age")) < set(answer.lines)
    answer = await installation.janitor("--delete", "--min-age", "0")
    assert answer.code == 0
    assert set(installation.lines(owned, "unknown", "unknown", "deleted")) < set(answer.lines)
    assert await mine(installation) == before


@pytest.mark.parametrize("kind", ["drop-after", "error"])
async def test_what_creation_may_take_up_is_somebody_s(
    installation: Installation, emulator: Emulator, kind: str
) -> None:
    """PENDING or FAILED: the next try finds and keeps what exists."""
    registry = installation.registry
    await registry.register()
    for operation in ("CreateChannel", "CreateRoom", "CreateStage"):
        await emulator.fault(operation, kind, code="AccessDeniedException")
    person = await registry.register()
    assert set(person.states.values()) == {"PENDING" if kind == "drop-after" else "FAILED"}
    owner = Owner(installation.deployment, person.id, person.username)
    if kind == "error":
        await make(registry.aws, owner.resource_name, owner.tags)
    assert {part: len(arns) for part, arns in (await registry.owned(person.id)).items()} == dict.fromkeys(KINDS, 1)
    before = await mine(installation)
    expected = Answer(0, ["0 of 6 resources belong to nobody."], "")
    assert await installation.janitor("--delete", "--min-age", "0") == expected
    assert await mine(installation) == before


async def test_a_second_one_of_a_user_is_nobody_s(installation: Installation) -> None:
    person = await installation.registry.register()
    owner = Owner(installation.deployment, person.id, person.username)
    surplus = await make(installation.registry.aws, owner.resource_name, owner.tags)
    answer = await installation.janitor("--delete", "--min-age", "0")
    last = "3 of 6 resources belong to nobody."
    assert answer == Answer(0, [*installation.lines(surplus, person.id, "0 min", "deleted"), last], "")
    await installation.registry.has_exactly_one_of_each(person)


async def test_what_is_to_be_removed_is_the_workers(installation: Installation, emulator: Emulator) -> None:
    registry = installation.registry
    await registry.register()
    known = await registry.register()
    await leave(registry, known)
    for operation in ("CreateChannel", "CreateRoom", "CreateStage"):
        await emulator.fault(operation, "drop-after")
    late = await registry.register()
    await leave(registry, late)
    assert [removal.arn is None for removal in await removals(registry.sessions)] == [False] * 3 + [True] * 3
    assert await installation.janitor() == Answer(0, ["0 of 9 resources belong to nobody."], "")


async def test_what_aws_does_not_delete_now_is_left_to_the_workers(
    installation: Installation, emulator: Emulator, start_server: StartServer
) -> None:
    registry = installation.registry
    await registry.register()
    before = await mine(installation)
    user_id, owned = await orphans(installation, old=timedelta(hours=2))
    await go_live(emulator, owned["channel"][0])
    await emulator.fault("DeleteChannel", "error", code="ConflictException")
    answer = await installation.janitor("--delete", "--min-age", "0")
    (line,) = installation.lines({"channel": owned["channel"]}, user_id, "120 min")
    assert answer.code == 0
    assert f"{line}  left to the workers: ConflictException" in answer.lines
    assert len([line for line in answer.lines if line.endswith("  deleted")]) == 2
    assert await installation.janitor() == Answer(0, ["0 of 4 resources belong to nobody."], "")
    (removal,) = await removals(registry.sessions)
    assert (removal.arn, removal.last_error) == (owned["channel"][0], "ConflictException")
    await removals_fall_due(registry.sessions)
    async with start_server(resolved=installation.resolved, deployment=installation.deployment):
        await all_removed(registry.sessions)
    assert await mine(installation) == before


@pytest.mark.soak
async def test_more_than_a_page_of_each(installation: Installation) -> None:
    registry = installation.registry
    person = await registry.register()
    before = await mine(installation)
    tags = {"streamcat:deployment": installation.deployment}
    for _ in range(13):
        await asyncio.gather(*(make(registry.aws, "many", tags) for _ in range(8)))
    answer = await installation.janitor()
    assert (answer.code, answer.lines[-1]) == (1, "312 of 315 resources belong to nobody.")
    answer = await installation.janitor("--delete", "--min-age", "0", aws_calls_per_second=1000.0)
    assert (answer.code, answer.lines[-1]) == (0, "312 of 315 resources belong to nobody.")
    assert await mine(installation) == before
    await registry.has_exactly_one_of_each(person)


async def test_a_database_that_knows_nothing_is_the_wrong_one(installation: Installation) -> None:
    _, owned = await orphans(installation, old=timedelta(hours=2))
    before = await mine(installation)
    sentence = (
        f"None of the 3 resources of deployment {installation.deployment} belongs to this database, so it may be the "
        "wrong one: correct DATABASE_URL or DEPLOYMENT; nothing was deleted."
    )
    assert await installation.janitor("--delete") == Answer(78, [], f"{sentence}\n")
    assert await mine(installation) == before
    assert (await installation.janitor()).code == 1
    assert len(owned) == 3


async def test_aws_that_does_not_answer_is_one_sentence(installation: Installation, emulator: Emulator) -> None:
    await installation.registry.register()
    await emulator.fault("ListStages", "error", code="AccessDeniedException")
    answer = await installation.janitor("--delete")
    assert (answer.code, answer.lines) == (69, [])
    assert answer.err.startswith("ivs-realtime.list_stages: AccessDeniedException: ")


async def test_without_a_server_there_is_nothing_to_ask(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = await asyncio.to_thread(commands.main, Settings(data_dir=tmp_path), ["janitor"])
    sentence = f"No StreamCat with an emulated AWS runs on {tmp_path}: start it with `make run`."
    assert (code, capsys.readouterr().err) == (69, f"{sentence}\n")


def test_an_age_is_a_number_of_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        commands.main(Settings(), ["janitor", "--min-age", "-1"])
    assert left.value.code == 2
    assert "argument --min-age: expected a whole number from 0 to 525600" in capsys.readouterr().err
