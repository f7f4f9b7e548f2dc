"""What all events have in common: the envelope that EventBridge puts round them, and how its fields are read."""

import enum
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

# What ends in an index of PostgreSQL must fit one: Amazon's ARNs and stream ids have at most 128 characters.
MAX_NAME: Final = 512
MAX_ID: Final = 128
_MAX_TEXT: Final = 1024
_MAX_DURATION_MS: Final = 2**31 - 1

Word = TypeVar("Word", bound=enum.StrEnum)


class EventMalformed(Exception):
    """The body is not an EventBridge envelope, or lacks what its detail-type promises; the text says what."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What EventBridge puts round every event; fields we do not use may be absent and others may be added."""

    id: str
    detail_type: str = msgspec.field(name="detail-type")
    source: str
    time: datetime
    resources: list[str] = []
    detail: dict[str, Any] = {}

    @property
    def resource(self) -> str | None:
        """First resource, without the stray blanks that published samples carry."""
        return self.resources[0].strip() or None if self.resources else None

    def owner(self, kind: str) -> str:
        """Return the ARN of the channel, stage or other `kind` of resource that the event is about."""
        if self.resource is None:
            raise EventMalformed(f"{self.detail_type!r} without the {kind}'s ARN in resources")
        return self.resource

    def word(self, name: str, known: type[Word]) -> Word | None:
        """Return which of Amazon's words for what happened the detail has; null for one of tomorrow's.

        AWS adds such words; a new one must not poison the queue.
        """
        try:
            return known(self.detail.get(name, ""))
        except ValueError:
            return None

    def text(self, name: str, *, most: int = MAX_NAME) -> str:
        """Return a text that the detail always has."""
        value = self.detail.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise EventMalformed(f"{self.detail_type!r} with detail.{name} = {value!r:.80}")
        return value.strip()

    def optional(self, name: str) -> str | None:
        """Return a text of the detail to be read by people, cut where it is too long; null if it has none."""
        value = self.detail.get(name)
        return value[:_MAX_TEXT] if isinstance(value, str) and value else None

    def moment(self, name: str) -> datetime | None:
        """Return a time of the detail; null if it is absent, as in older deliveries, or not readable."""
        try:
            return utc(msgspec.convert(self.detail.get(name), datetime))
        except (msgspec.ValidationError, EventMalformed):
            return None

    def duration_ms(self, name: str) -> int:
        """Return a number of milliseconds of the detail, 0 if there is none."""
        value = self.detail.get(name)
        return min(max(int(value), 0), _MAX_DURATION_MS) if isinstance(value, int | float) else 0


def name_of(value: Any) -> str | None:
    """Return a text that may be absent, and that an index can hold."""
    return value.strip() or None if isinstance(value, str) and len(value) <= MAX_NAME else None


def prefix(value: Any) -> str | None:
    """Return a prefix of S3 keys without slashes at its ends."""
    name = name_of(value)
    return name.strip("/") or None if name else None


def utc(time: datetime) -> datetime:
    """Return the moment in UTC, which it is meant to be in if it does not say."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise EventMalformed(f"the time {time.isoformat()} lies outside the calendar") from error
