"""A made-up world for demonstrations, tests and benchmarks: first thought out by dice, then written in bulk.

    world = imagine(200, random_seed=1, now=utcnow(), taken=await taken_names(session))
    await write(session, world, [invented(person) for person in world.people], password_hash="...")

What Amazon has a part of needs its answers: those of the emulator (`server.seed`), or invented ones where nothing will
ever ask it. Ids of rows hold the time of what they stand for, as those of the ordinary code do.
"""

from models.rollup import Rhythm
from models.seeding.gathering import Gathering, Guest
from models.seeding.possessions import Possessions, Ticket, invented
from models.seeding.world import Broadcast, Person, World, imagine
from models.seeding.writing import Written, make_room, taken_names, write

__all__ = [
    "Broadcast",
    "Gathering",
    "Guest",
    "Person",
    "Possessions",
    "Rhythm",
    "Ticket",
    "World",
    "Written",
    "imagine",
    "invented",
    "make_room",
    "taken_names",
    "write",
]
