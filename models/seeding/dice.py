"""Dice that fall the same way for the same seed."""

import string
from datetime import datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

from models.base import uuid7_of

_LETTERS: Final = string.ascii_letters + string.digits
_ID_BITS: Final = 80


class Dice(Random):
    """Chances of a world, besides those that Python's own dice have. Nobody's security rests on them."""

    def key(self, moment: datetime) -> UUID:
        """Return a key as a row of that moment would have."""
        return uuid7_of(int(moment.timestamp() * 1000), self.getrandbits(_ID_BITS))

    def letters(self, count: int) -> str:
        """Return letters and digits, as in ids of Amazon."""
        return "".join(self.choices(_LETTERS, k=count))

    def span(self, least: timedelta, most: timedelta) -> timedelta:
        """Return a span in whole seconds, short ones more often than long ones."""
        share = self.random() ** 2
        return timedelta(seconds=int(least.total_seconds() + share * (most - least).total_seconds()))

    def moment(self, first: datetime, last: datetime) -> datetime:
        """Return a moment between two, in whole seconds; the first one if there is nothing between them."""
        between = max(0.0, (last - first).total_seconds())
        return first + timedelta(seconds=int(self.random() * between))

    def happens(self, chance: float) -> bool:
        """Tell whether something of this probability happens."""
        return self.random() < chance
