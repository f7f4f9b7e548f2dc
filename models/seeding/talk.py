"""Thinks out what was said in the chat during the latest streams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from models.seeding.dice import Dice
from models.seeding.words import GREETINGS, REACTIONS, REMARKS, REPLIES
from models.seeding.world import Broadcast, Person, World

_STREAMS_WITH_CHAT: Final = 3
_LEAST: Final = 3
_MOST: Final = 60
# Messages of a stream per follower of its channel.
_PER_FOLLOWER: Final = 0.6
_GUESTS: Final = 0.15
_REPLIES: Final = 0.3


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `sender` is null for guests, who have but a name."""

    id: UUID
    ivs_message_id: str
    room_id: UUID
    stream_id: UUID
    sender: Person | None
    sender_name: str
    content: str
    sent_at: datetime


def talk(world: World) -> Iterator[Message]:
    """Yield the messages of a world, of each stream from the first to the last: always the same."""
    dice = Dice(world.random_seed)
    for person in world.people:
        for stream in person.streams[-_STREAMS_WITH_CHAT:]:
            yield from _of_stream(dice, world.people, person, stream, world.now)


def _of_stream(
    dice: Dice, people: Sequence[Person], owner: Person, stream: Broadcast, now: datetime
) -> Iterator[Message]:
    last = (stream.ended_at or now) - timedelta(seconds=1)
    count = min(_MOST, _LEAST + int(owner.followers * _PER_FOLLOWER * (0.5 + dice.random())))
    crowd = [one for one in (dice.choice(people) for _ in range(2 + count // 4)) if one.joined_at < stream.started_at]
    before = owner.username
    for number, moment in enumerate(sorted(dice.moment(stream.started_at, last) for _ in range(count))):
        sender, name = _sender(dice, owner, crowd)
        yield Message(
            dice.key(moment),
            dice.letters(12),
            owner.room_id,
            stream.id,
            sender,
            name,
            _words(dice, stream, number, before),
            moment,
        )
        before = name


def _sender(dice: Dice, owner: Person, crowd: Sequence[Person]) -> tuple[Person | None, str]:
    if not crowd or dice.happens(_GUESTS):
        return None, f"guest-{dice.randrange(1000, 10_000)}"
    sender = owner if dice.happens(0.1) else dice.choice(crowd)
    return sender, sender.username


def _words(dice: Dice, stream: Broadcast, number: int, before: str) -> str:
    if number == 0:
        return dice.choice(GREETINGS)
    if dice.happens(_REPLIES):
        return f"@{before} {dice.choice(REPLIES)}"
    return dice.choice(REACTIONS if dice.happens(0.5) else REMARKS[stream.category])
