"""Who watches in a made-up world, and who is on its stages: rows as the ordinary code would have written them."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models import (
    Channel,
    JoinRequestState,
    Metric,
    Stage,
    StageJoinRequest,
    StageParticipant,
    StageToken,
    Stream,
    seeding,
    stage,
    utcnow,
)
from models.engine import Sessions
from models.metric import Span, in_order, place
from models.seeding import Rhythm, World
from models.seeding.audience import REMEMBERED, heartbeats, watch
from models.stage import Sighting
from models.vault import Vault
from tests.registration import fresh_database, open_sessions

VAULT = Vault(["k" * 40])
RHYTHM = Rhythm(interval=timedelta(seconds=20), window=timedelta(seconds=70))


@pytest.fixture(scope="module")
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    async with fresh_database(database_url) as url, open_sessions(url) as sessions:
        yield sessions


@pytest.fixture(scope="module")
async def world(sessions: Sessions) -> World:
    """A world that is only read."""
    world = seeding.imagine(150, random_seed=1, now=utcnow())
    possessions = [seeding.invented(person) for person in world.people]
    async with sessions() as session, session.begin():
        await seeding.write(session, world, possessions, password_hash="-", rhythm=RHYTHM, vault=VAULT)
    return world


async def rows(session: AsyncSession, model: type[Any]) -> list[Any]:
    return list((await session.execute(select(model))).scalars())


def test_same_dice_bring_the_same_audience() -> None:
    now = utcnow()
    one, same, other = (seeding.imagine(80, random_seed=seed, now=now) for seed in (3, 3, 4))
    assert list(watch(one, RHYTHM)) == list(watch(same, RHYTHM)) != list(watch(other, RHYTHM))
    beats = [list(heartbeats(watch(each, RHYTHM), each.random_seed, RHYTHM)) for each in (one, same)]
    assert beats[0] == beats[1]
    assert len(beats[0]) > 1000


@pytest.mark.parametrize("publishers", [1, 2, 12])
def test_a_stage_has_places_for_so_many(publishers: int) -> None:
    people = seeding.imagine(300, random_seed=2, now=utcnow(), publishers=publishers).people
    gatherings = [person.gathering for person in people if person.gathering]
    assert max(len(one.guests) for one in gatherings) == min(publishers - 1, 5)
    first = next(person for person in people if person.live)
    assert first.gathering is not None
    assert first.gathering.seat is not None


async def test_heartbeats_belong_to_the_stream_that_the_ordinary_code_finds(sessions: Sessions, world: World) -> None:
    async with sessions() as session:
        found = select(Channel.id, Channel.user_id, Stream).join(Stream, Stream.channel_id == Channel.id)
        spans: defaultdict[Any, list[Span]] = defaultdict(list)
        homes = {}
        for channel_id, user_id, one in await session.execute(found):
            spans[channel_id].append(Span(one.id, user_id, one.started_at, one.ended_at, one.ivs_stream_id))
            homes[one.id] = channel_id
        ordered = {channel_id: in_order(each) for channel_id, each in spans.items()}
        beats = await rows(session, Metric)
    assert len(beats) > 5000
    viewings: defaultdict[Any, list[Any]] = defaultdict(list)
    for beat in beats:
        there = ordered[homes[beat.stream_id]]
        home = place(there, beat.sent_at, now=beat.created_at, grace=timedelta(0))
        assert home is not None
        assert (home[0].stream_id, home[0].user_id, home[1]) == (beat.stream_id, beat.user_id, beat.sent_at)
        assert beat.viewing_started_at <= beat.sent_at <= beat.created_at <= world.now
        viewings[beat.viewing_id].append(beat)
    for each in viewings.values():
        moments = sorted(beat.sent_at for beat in each)
        assert moments == [moments[0] + number * RHYTHM.interval for number in range(len(moments))]
        assert {(beat.stream_id, beat.viewing_started_at) for beat in each} == {(each[0].stream_id, moments[0])}


async def test_counts_are_those_of_the_heartbeats(sessions: Sessions, world: World) -> None:
    present = select(Metric.stream_id, func.count(Metric.viewing_id.distinct()))
    present = present.where(Metric.sent_at > world.now - RHYTHM.window).group_by(Metric.stream_id)
    async with sessions() as session:
        counted = {key: count for key, count in await session.execute(present)}  # noqa: C416
        channels = {one.id: one for one in await rows(session, Channel)}
        streams = await rows(session, Stream)
        watched = set((await session.execute(select(Metric.stream_id).distinct())).scalars())
    for one in streams:
        channel = channels[one.channel_id]
        is_live = channel.live_stream_id == one.id
        assert one.viewer_count == (counted.get(one.id, 0) if is_live else 0)
        assert one.viewer_count <= one.peak_viewer_count
        if is_live:
            assert channel.viewer_count == one.viewer_count
        if one.ended_at is None or one.ended_at > world.now - REMEMBERED:
            assert (one.id in watched) == (one.peak_viewer_count > 0)
        else:
            assert one.id not in watched
    assert {one.viewer_count for one in channels.values() if not one.is_live} == {0}
    assert sum(one.viewer_count for one in channels.values()) > 10


async def test_stages_are_as_the_ordinary_code_derives_them(sessions: Sessions, world: World) -> None:
    async with sessions() as session, session.begin():
        there = await rows(session, StageParticipant)
        stages = {one.id: one for one in await rows(session, Stage)}
        before = {key: (one.live_since, one.updated_at) for key, one in stages.items()}
        for one in there:
            seen = Sighting(one.ivs_session_id, one.participant_id, published_at=one.published_at, user_id=one.user_id)
            assert await stage.record(session, {one.stage_id: [seen]}) == set()
        await stage.refresh_live(session, list(stages))
        again = select(Stage).execution_options(populate_existing=True)
        assert {one.id: (one.live_since, one.updated_at) for one in (await session.execute(again)).scalars()} == before
    # Nobody is on two stages, and the host is always there.
    assert max(Counter(one.user_id for one in there).values()) == 1
    live = {key for key, one in stages.items() if one.is_live}
    assert live == {one.stage_id for one in there if one.user_id == stages[one.stage_id].user_id}
    assert len(live) == sum(bool(person.gathering and person.gathering.seat) for person in world.people) > 2
    assert len(there) > len(live)


async def test_invitations_open_and_answer_the_requests(sessions: Sessions, world: World) -> None:
    async with sessions() as session:
        tokens = {(one.stage_id, one.user_id): one for one in await rows(session, StageToken)}
        requests = await rows(session, StageJoinRequest)
        stages = {one.id: one for one in await rows(session, Stage)}
        there = {(one.stage_id, one.user_id): one for one in await rows(session, StageParticipant)}
    for one in tokens.values():
        assert VAULT.open(one.token_sealed, row_id=one.id) == f"ticket-{one.id.hex}"
        assert one.created_at <= world.now < one.expires_at
        assert one.user_id != stages[one.stage_id].user_id
    guests = {key: one for key, one in there.items() if key[1] != stages[key[0]].user_id}
    # Some have come, with their own token, and some have not.
    assert {key: one.participant_id for key, one in guests.items()} == {
        key: tokens[key].participant_id for key in guests
    }
    assert 0 < len(guests) < len(tokens)
    states = Counter(one.state for one in requests)
    assert set(states) == set(JoinRequestState)
    for one in requests:
        assert (one.state is JoinRequestState.ACCEPTED) == ((one.stage_id, one.user_id) in tokens)
        assert one.asked_at <= one.updated_at <= world.now


async def test_without_a_vault_there_are_no_invitations(database_url: str) -> None:
    world = seeding.imagine(40, random_seed=1, now=utcnow())
    possessions = [seeding.invented(person) for person in world.people]
    async with fresh_database(database_url) as url, open_sessions(url) as own, own() as session, session.begin():
        counts = (await seeding.write(session, world, possessions, password_hash="-")).counts
    assert (counts["stage_tokens"], counts["stage_participants"] > 0) == (0, True)
