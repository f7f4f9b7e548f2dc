"""To which stream a heartbeat belongs: pure, and the same in whatever order the streams come."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metric import Span, heartbeat_id, in_order, is_partition, place

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=10)


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def span(number: int, start: float, end: float | None) -> Span:
    return Span(UUID(int=number), UUID(int=0), at(start), None if end is None else at(end), f"st-{number}")


# One that is over for long, one that has just ended, one that is live.
OLD, ENDED, LIVE = span(1, 0, 100), span(2, 200, 300), span(3, 310, None)


@pytest.mark.parametrize(
    ("spans", "sent", "now", "expected"),
    [
        ([], 50, 60, None),
        ([LIVE], 400, 400, (3, 400)),
        # A slow clock counts from the start.
        ([LIVE], 305, 400, (3, 310)),
        # In time, late within the grace, too late.
        ([ENDED], 250, 250, (2, 250)),
        ([ENDED], 250, 310, (2, 250)),
        ([ENDED], 250, 311, None),
        # What viewers see of the last seconds.
        ([ENDED], 305, 306, (2, 300)),
        ([ENDED], 312, 312, None),
        # Each of its own stream.
        ([OLD, ENDED, LIVE], 50, 305, None),
        ([OLD, ENDED, LIVE], 250, 305, (2, 250)),
        ([OLD, ENDED, LIVE], 305, 308, (2, 300)),
        ([OLD, ENDED, LIVE], 320, 330, (3, 320)),
        # Of no stream: the next one's.
        ([OLD, LIVE], 150, 320, (3, 310)),
        # An end that never arrived is the next one's start.
        ([span(1, 0, None), LIVE], 305, 315, (1, 305)),
        ([span(1, 0, None), LIVE], 309, 400, None),
        ([span(1, 0, None), LIVE], 320, 400, (3, 320)),
        ([span(1, 0, None)], 320, 400, (1, 320)),
    ],
)
def test_place(spans: list[Span], sent: float, now: float, expected: tuple[int, float] | None) -> None:
    home = None if expected is None else (UUID(int=expected[0]), at(expected[1]))
    for order in (spans, spans[::-1]):
        found = place(in_order(order), at(sent), now=at(now), grace=GRACE)
        assert (None if found is None else (found[0].stream_id, found[1])) == home


@given(
    edges=st.lists(st.integers(0, 60), min_size=2, max_size=10),
    live=st.booleans(),
    sent=st.integers(0, 60),
    late=st.integers(0, 60),
)
def test_a_home_is_open_and_holds_the_time(edges: list[int], live: bool, sent: int, late: int) -> None:
    edges = sorted(edges)
    spans = [span(index, start, end) for index, (start, end) in enumerate(zip(edges[::2], edges[1::2], strict=False))]
    if live:
        spans.append(span(99, edges[-1], None))
    found = place(in_order(spans), at(sent), now=at(sent + late), grace=GRACE)
    within = [one for one in spans if one.started_at <= at(sent) and (one.ended_at is None or at(sent) <= one.ended_at)]
    if found is None:
        assert all(one.ended_at is not None and one.ended_at + GRACE < at(sent + late) for one in within)
        return
    home, moment = found
    assert home.started_at <= moment
    assert home.ended_at is None or (moment <= home.ended_at and at(sent + late) <= home.ended_at + GRACE)
    if within:
        assert moment == at(sent)


def test_a_heartbeat_has_one_id() -> None:
    viewing, client = uuid4(), uuid4()
    one = heartbeat_id(viewing, client, NOON)
    assert one == heartbeat_id(viewing, client, NOON)
    assert (one.version, one.variant) == (8, "specified in RFC 4122")
    assert int(one) >> 80 == int(NOON.timestamp() * 1000)
    others = {heartbeat_id(uuid4(), client, NOON), heartbeat_id(viewing, uuid4(), NOON)}
    assert len(others - {one}) == 2


def test_names_of_partitions() -> None:
    names = ("metrics_20260301", "metrics", "metrics_", "metrics_x1", "streams", None)
    assert [is_partition(name) for name in names] == [True, False, False, False, False, False]
