"""Waiting on a condition instead of sleeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return as soon as the condition holds; fail the test when it does not in time."""
    began = time.monotonic()
    while not condition():
        time.sleep(_pause(began, what, seconds))


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 20.0) -> None:
    """As `until`, for tests that share their loop with the server."""
    began = time.monotonic()
    while not await condition():
        pause = _pause(began, what, seconds)
        await asyncio.sleep(pause)


def _pause(began: float, what: str, seconds: float) -> float:
    """Seconds until the next look: a fraction of those waited, since looks take time from what is waited for."""
    waited = time.monotonic() - began
    assert waited < seconds, f"not within {seconds:g} s: {what}"
    return min(0.2, max(0.01, waited / 10))
