"""What was made up because it seemed lost goes from a stream's timeline when it arrives after all, in any order."""

from itertools import permutations

import pytest

from models.received import RECONCILIATION
from tests.client import Client, open_socket
from tests.conftest import Emulator, Running
from tests.schema.test_stream_events import HEALTH, STATE, WATCH, listed, second, stories
from tests.studio import Studio

Told = tuple[str, int, bool]
"""Name of an event, its second, and whether it was made up."""


@pytest.fixture
async def studio(running: Running, emulator: Emulator, client: Client) -> Studio:
    return await Studio.open(running.runtime, emulator, client)


async def tell(studio: Studio, *events: Told, stream: str = "st-1") -> None:
    for name, at, is_made_up in events:
        kind = HEALTH if name.startswith("Starvation") else STATE
        await studio.tell(kind, at, RECONCILIATION if is_made_up else "test", event_name=name, stream_id=stream)


async def shown(studio: Studio) -> list[tuple[str, int]]:
    """Name and second of the events of the channel's only stream."""
    ((events),) = await listed(studio, studio.user.token)
    return [(event["name"], second(event["occurredAt"])) for event in events["nodes"]]


BEGAN: Told = ("Stream Start", 0, False)
CASES: dict[str, tuple[list[Told], list[tuple[str, int]]]] = {
    "missing still": (
        [("Stream End", 9, True), ("Starvation Start", 3, True)],
        [("Starvation Start", 3), ("Stream End", 9)],
    ),
    "end": ([("Stream End", 9, True), ("Stream End", 7, False)], [("Stream End", 7)]),
    "end after it": ([("Stream End", 9, True), ("Stream End", 12, False)], [("Stream End", 12)]),
    "other name": ([("Stream End", 9, True), ("Session Ended", 9, False)], [("Session Ended", 9), ("Stream End", 9)]),
    "starvation": ([("Starvation Start", 5, True), ("Starvation Start", 3, False)], [("Starvation Start", 3)]),
    "of the same second": ([("Starvation Start", 5, True), ("Starvation Start", 5, False)], [("Starvation Start", 5)]),
    "a later starvation": (
        [("Starvation Start", 5, True), ("Starvation Start", 8, False)],
        [("Starvation Start", 5), ("Starvation Start", 8)],
    ),
    "another starvation": (
        [("Starvation Start", 3, False), ("Starvation End", 5, False), ("Starvation Start", 8, True)],
        [("Starvation Start", 3), ("Starvation End", 5), ("Starvation Start", 8)],
    ),
    "two starvations": (
        [("Starvation Start", 2, True), ("Starvation End", 4, True), ("Starvation Start", 6, False)],
        [("Starvation Start", 2), ("Starvation End", 4), ("Starvation Start", 6)],
    ),
    "its end": (
        [("Starvation Start", 3, False), ("Starvation End", 6, True), ("Starvation End", 5, False)],
        [("Starvation Start", 3), ("Starvation End", 5)],
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_timeline_is_the_same_in_every_order(studio: Studio, case: str) -> None:
    events, expected = CASES[case]
    for number, order in enumerate(permutations(events)):
        # A stream of its own for each order, the newest first.
        await tell(studio, BEGAN, *order, stream=f"st-{number:02}")
    orders = await listed(studio, studio.user.token)
    names = [[(event["name"], second(event["occurredAt"])) for event in one["nodes"]] for one in orders]
    assert len(names) == number + 1
    for found in names:
        assert sorted(found, key=lambda one: one[1]) == found
        assert sorted(found) == sorted([("Stream Start", 0), *expected])


async def test_a_start_that_comes_after_all_stands_alone(studio: Studio) -> None:
    await tell(studio, ("Stream Start", 2, True))
    assert await shown(studio) == [("Stream Start", 2)]
    await tell(studio, ("Stream Start", 1, False))
    assert await shown(studio) == [("Stream Start", 1)]


async def test_of_other_streams_nothing_goes(studio: Studio) -> None:
    await tell(studio, ("Stream Start", 2, True))
    await tell(studio, ("Stream Start", 5, False), stream="st-2")
    assert [len(events["nodes"]) for events in await listed(studio, studio.user.token)] == [1, 1]


async def test_pages_count_what_is_shown(studio: Studio) -> None:
    await tell(studio, BEGAN, ("Starvation Start", 4, True), ("Starvation Start", 3, False), ("Stream End", 8, False))
    (page,) = await listed(studio, studio.user.token, first=2)
    assert [event["name"] for event in page["nodes"]] == ["Stream Start", "Starvation Start"]
    (page,) = await listed(studio, studio.user.token, first=2, after=page["pageInfo"]["endCursor"])
    assert [event["name"] for event in page["nodes"]] == ["Stream End"]
    assert page["pageInfo"]["hasNextPage"] is False


@pytest.mark.parametrize("first_is_made_up", [True, False])
async def test_who_listens_is_told_once(studio: Studio, server_url: str, *, first_is_made_up: bool) -> None:
    async with open_socket(server_url, studio.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": studio.user.channel_id})
        await tell(studio, BEGAN)
        assert await stories(socket, 1) == [("STREAM_START", 0)]
        for is_made_up in (first_is_made_up, not first_is_made_up):
            at = 5 if is_made_up else 3
            await tell(studio, ("Starvation Start", at, is_made_up))
            if is_made_up is first_is_made_up:
                assert await stories(socket, 1) == [("STARVATION_START", at)]
        await tell(studio, ("Stream End", 9, False))
        assert await stories(socket, 1) == [("STREAM_END", 9)]
    # Who comes now sees what the timeline shows.
    async with open_socket(server_url, studio.user.token) as socket:
        await socket.subscribe("1", WATCH, {"id": studio.user.channel_id})
        assert await stories(socket, 3) == [("STREAM_START", 0), ("STARVATION_START", 3), ("STREAM_END", 9)]
