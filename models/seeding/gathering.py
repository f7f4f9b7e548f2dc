"""Thinks out whose stages are live, who is on them, who is invited and who asks to be."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from models.invitation import JoinRequestState
from models.seeding.dice import Dice

if TYPE_CHECKING:
    from models.seeding.world import Following, Person

# Of those who are live; and of the others who have followers, those who only invite.
_HOSTS: Final = 0.5
_PLANNERS: Final = 0.05
_MOST_GUESTS: Final = 5
_MOST_ASKING: Final = 4
_COMES: Final = 0.6
_HAD_ASKED: Final = 0.4
_REFUSED: Final = 0.25


@dataclass(frozen=True, slots=True)
class Seat:
    """A place of somebody who publishes on a stage."""

    id: UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who is invited; without a `seat`, who has not come."""

    id: UUID
    user_id: UUID
    username: str
    invited_at: datetime
    seat: Seat | None


@dataclass(frozen=True, slots=True)
class Asking:
    """A request to be invited, and when it came to its state."""

    id: UUID
    user_id: UUID
    state: JoinRequestState
    asked_at: datetime
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class Gathering:
    """What happens around one stage. Without a `seat` of its host nobody is there."""

    seat: Seat | None
    guests: Sequence[Guest]
    requests: Sequence[Asking]


def gather(
    dice: Dice, people: Sequence["Person"], follows: Iterable["Following"], now: datetime, *, publishers: int
) -> Mapping[UUID, Gathering]:
    """Return the gatherings by their hosts' ids: followers are those who come, and nobody is on two stages at once.

    The most popular of those who are live is a host. `publishers` is how many a stage has room for.
    """
    by_id = {person.id: person for person in people}
    fans: defaultdict[UUID, list[Person]] = defaultdict(list)
    for follow in follows:
        fans[follow.channel_id].append(by_id[follow.user_id])
    busy = {person.id for person in people if person.live}
    found: dict[UUID, Gathering] = {}
    is_first = True
    for person in people:
        seat, around = None, fans[person.channel_id]
        if person.live is not None:
            if not is_first and not dice.happens(_HOSTS):
                continue
            is_first = False
            since = dice.moment(person.live.started_at, now - timedelta(minutes=1))
            seat = Seat(dice.key(since), since)
        elif not around or not dice.happens(_PLANNERS):
            continue
        found[person.id] = _around(dice, seat, dice.sample(around, len(around)), busy, now, publishers)
    return found


def _around(
    dice: Dice, seat: Seat | None, fans: Sequence["Person"], busy: set[UUID], now: datetime, publishers: int
) -> Gathering:
    begin = seat.since if seat else now - timedelta(minutes=dice.randrange(5, 120))
    # One is left to ask.
    places = min(publishers - 1, dice.randrange(1, _MOST_GUESTS + 1), max(0, len(fans) - 1))
    guests, requests = [], []
    for fan in fans[:places]:
        invited_at = dice.moment(begin - timedelta(minutes=10), now - timedelta(seconds=30))
        there = None
        if seat is not None and fan.id not in busy and dice.happens(_COMES):
            busy.add(fan.id)
            came_at = dice.moment(max(invited_at, seat.since), now)
            there = Seat(dice.key(came_at), came_at)
        guests.append(Guest(dice.key(invited_at), fan.id, fan.username, invited_at, there))
        if dice.happens(_HAD_ASKED):
            asked_at = invited_at - timedelta(seconds=dice.randrange(10, 300))
            requests.append(Asking(dice.key(asked_at), fan.id, JoinRequestState.ACCEPTED, asked_at, invited_at))
    # The first of them waits for an answer.
    for number, fan in enumerate(fans[places : places + dice.randrange(1, _MOST_ASKING + 1)]):
        asked_at = settled_at = dice.moment(begin, now)
        state = JoinRequestState.OPEN
        if number > 0 and dice.happens(_REFUSED):
            state, settled_at = JoinRequestState.REFUSED, dice.moment(asked_at, now)
        requests.append(Asking(dice.key(asked_at), fan.id, state, asked_at, settled_at))
    return Gathering(seat, guests, requests)
