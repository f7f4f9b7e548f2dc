"""Thinks out who there is, what they streamed and whom they follow. Knows no database."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final
from uuid import UUID

from models.seeding.dice import Dice
from models.seeding.gathering import Gathering, gather
from models.seeding.words import FIRST, SECOND, THINGS, TITLES

LONGEST_STREAM: Final = timedelta(hours=6)
_OLDEST: Final = timedelta(days=400)
_MOST_FOLLOWED: Final = 300
_MOST_STREAMS: Final = 40
# Who is live is somebody who streams often.
_FEWEST_OF_LIVE: Final = 8
_SKEW: Final = 0.9
_RECORDED: Final = 0.8


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A stream; one without an end is live."""

    id: UUID
    ivs_stream_id: str
    title: str
    category: str
    connected_at: datetime
    started_at: datetime
    ended_at: datetime | None
    starved_at: datetime | None = None
    recovered_at: datetime | None = None
    recorded_as: UUID | None = None

    @property
    def starving(self) -> bool:
        """Whether the encoder's data stays away right now."""
        return self.ended_at is None and self.starved_at is not None


@dataclass(frozen=True, slots=True)
class Former:
    """Title and category that a channel had until a moment."""

    id: UUID
    title: str
    category: str | None
    ended_at: datetime


@dataclass(slots=True)
class Person:
    """A user with everything that is this user's alone. `streams` and `former` go from the oldest to the newest."""

    id: UUID
    channel_id: UUID
    room_id: UUID
    stage_id: UUID
    username: str
    joined_at: datetime
    title: str
    category: str | None = None
    streams: list[Broadcast] = field(default_factory=list)
    former: list[Former] = field(default_factory=list)
    followers: int = 0
    gathering: Gathering | None = None

    @property
    def live(self) -> Broadcast | None:
        """The stream that is live."""
        return self.streams[-1] if self.streams and self.streams[-1].ended_at is None else None


@dataclass(frozen=True, slots=True)
class Following:
    """That somebody follows somebody's channel."""

    id: UUID
    user_id: UUID
    channel_id: UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class World:
    """All that is to be written. `people` begins with the most popular."""

    people: list[Person]
    follows: list[Following]
    random_seed: int
    now: datetime


def imagine(
    count: int,
    *,
    random_seed: int,
    now: datetime,
    taken: Collection[str] = (),
    live_share: float = 0.08,
    publishers: int = 12,
) -> World:
    """Return a world of `count` people: the same for the same seed, names that are taken and present time.

    Of ten people, some never stream; `live_share` of all, and at least one, are live. `taken` are lower-case names,
    `publishers` the places of a stage.
    """
    dice = Dice(random_seed)
    now = now.replace(microsecond=0)
    names = _names(dice, set(taken))
    lives = min(count, max(1, round(count * live_share)))
    # The popular are live more often, but not they alone.
    live = set(sorted(range(count), key=lambda rank: dice.random() * (rank + 1))[:lives])
    people = [_person(dice, next(names), now, is_live=rank in live) for rank in range(count)]
    follows = list(_follows(dice, people, now))
    gatherings = gather(dice, people, follows, now, publishers=publishers)
    for person in people:
        person.gathering = gatherings.get(person.id)
    return World(people, follows, random_seed, now)


def _names(dice: Dice, taken: set[str]) -> Iterator[str]:
    while True:
        first, second = dice.choice(FIRST), dice.choice(SECOND)
        name = dice.choice((f"{first}{second}", f"{first}_{second}", f"{first.title()}{second.title()}"))
        if dice.happens(0.25):
            name += str(dice.randrange(2, 100))
        if name.lower() in taken:
            name += f"_{dice.randrange(2, 10_000)}"
        if name.lower() not in taken:
            taken.add(name.lower())
            yield name


def _person(dice: Dice, username: str, now: datetime, *, is_live: bool) -> Person:
    joined = now - dice.span(timedelta(days=90 if is_live else 1), _OLDEST)
    person = Person(
        id=dice.key(joined),
        channel_id=dice.key(joined),
        room_id=dice.key(joined),
        stage_id=dice.key(joined),
        username=username,
        joined_at=joined,
        # As registration calls it.
        title=f"{username}'s channel",
    )
    habit = dice.choice(list(TITLES))
    for start, end in reversed(list(_times(dice, joined, now, is_live=is_live))):
        _stream(dice, person, habit, start, end)
    return person


def _times(dice: Dice, joined: datetime, now: datetime, *, is_live: bool) -> Iterator[tuple[datetime, datetime | None]]:
    """Yield starts and ends of a person's streams, the newest first and never two at once."""
    count = min(_MOST_STREAMS, int(dice.expovariate(1 / 6)))
    before = now
    if is_live:
        before = now - dice.span(timedelta(minutes=4), timedelta(hours=4))
        count = max(count, _FEWEST_OF_LIVE)
        yield before, None
    for _ in range(count):
        end = before - dice.span(timedelta(hours=7), timedelta(days=12))
        start = end - dice.span(timedelta(minutes=20), LONGEST_STREAM)
        if start < joined + timedelta(hours=1):
            return
        yield start, end
        before = start


def _stream(dice: Dice, person: Person, habit: str, start: datetime, end: datetime | None) -> None:
    """Add the stream that follows the others; whoever streams most often renames the channel some minutes before."""
    if not person.streams or dice.happens(0.7):
        changed = start - timedelta(minutes=dice.randrange(2, 20))
        person.former.append(Former(dice.key(changed), person.title, person.category, changed))
        person.category = habit if dice.happens(0.85) else dice.choice(list(TITLES))
        person.title = _title(dice, person.category)
    starved = recovered = None
    if dice.happens(0.1):
        starved = dice.moment(start + timedelta(seconds=30), end or start + timedelta(minutes=3))
        if end is not None or dice.happens(0.5):
            recovered = starved + timedelta(seconds=dice.randrange(5, 25))
    connected = start - timedelta(seconds=dice.randrange(2, 8))
    # One that is live is recorded by what Amazon says of it alone.
    recorded = dice.key(start) if end is not None and dice.happens(_RECORDED) else None
    person.streams.append(
        Broadcast(
            dice.key(connected),
            f"st-{dice.letters(23)}",
            person.title,
            person.category or habit,
            connected,
            start,
            end,
            starved,
            recovered,
            recorded,
        )
    )


def _title(dice: Dice, category: str) -> str:
    things = {name: dice.choice(values) for name, values in THINGS.items()}
    return dice.choice(TITLES[category]).format(number=dice.randrange(2, 60), **things)


def _follows(dice: Dice, people: list[Person], now: datetime) -> Iterator[Following]:
    """Yield who follows whom: the first few have most of the followers, as it is everywhere."""
    weights = list(accumulate(1 / (rank + 1) ** _SKEW for rank in range(len(people))))
    for person in people:
        wanted = min(_MOST_FOLLOWED, int(dice.lognormvariate(2.0, 0.9)))
        for chosen in dict.fromkeys(dice.choices(range(len(people)), cum_weights=weights, k=wanted)):
            followed = people[chosen]
            if followed is not person:
                since = dice.moment(max(person.joined_at, followed.joined_at), now)
                followed.followers += 1
                yield Following(dice.key(since), person.id, followed.channel_id, since)
