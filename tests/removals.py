"""What the end of an account leaves behind, in the rows and on the emulated account."""

from sqlalchemy import func, select, update

from ivs.client import Aws
from models import Removal
from models.engine import Sessions
from tests.accounts import delete_user
from tests.conftest import Emulator
from tests.registration import LISTS, Person, Registry
from tests.waiting import eventually

NOTHING: dict[str, list[str]] = {part: [] for part in LISTS}


async def account(aws: Aws) -> dict[str, set[str]]:
    """ARNs of all that the account holds."""
    return {
        part: {item["arn"] async for item in aws.pages(service, operation, items)}
        for part, (service, operation, items) in LISTS.items()
    }


async def leave(registry: Registry, person: Person) -> None:
    """Delete the account through the front door."""
    assert (await delete_user(registry.client, person.token))["errors"] == []


async def removals(sessions: Sessions) -> list[Removal]:
    """What is still to be deleted, in the order in which it was noted."""
    async with sessions() as session:
        return list((await session.execute(select(Removal).order_by(Removal.id))).scalars())


async def all_removed(sessions: Sessions, seconds: float = 20.0) -> None:
    """Wait until nothing is to be deleted any more."""

    async def done() -> bool:
        return not await removals(sessions)

    await eventually(done, "all removals done", seconds)


async def removals_fall_due(sessions: Sessions) -> None:
    """Let the time pass that removals wait for: their leases, their pauses, and what they wait for to show up."""
    async with sessions() as session, session.begin():
        past = func.least(Removal.settle_at, func.now())
        await session.execute(update(Removal).values(remove_after=func.now(), settle_at=past))


async def go_live(emulator: Emulator, arn: str) -> str:
    """Connect an encoder and start; return AWS's id of the stream."""
    stream: str = (await emulator.control("broadcasts", {"channelArn": arn}))["streamId"]
    await emulator.control(f"broadcasts/{stream}/start")
    return stream
