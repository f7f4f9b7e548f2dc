"""What GetStreamSession tells about a broadcast: its newest events."""

from ivs.emulator.identity import iso
from ivs.emulator.store import Doc
from ivs.emulator.world import World

EVENTS_KEPT = 500


def remember(world: World, stream: Doc, kind: str, name: str) -> None:
    """Adds an event (detail-type and name) to the stream document, newest first, at most 500. Does not store it."""
    event = {"type": kind, "name": name, "eventTime": iso(world.now())}
    stream["truncatedEvents"] = [event, *stream["truncatedEvents"]][:EVENTS_KEPT]
