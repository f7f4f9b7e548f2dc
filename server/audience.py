"""Simulated viewers: players that watch a channel through the public API alone, and what is true of them.

Each begins with `playbackStart`, sends its heartbeats by `metricsPublish` at the interval that it was told, and now and
then gets another quality. Some leave before the end. What they know of themselves is the truth that counts and
analytics can be compared with.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import aiohttp

CHANNEL: Final = "query ($name: String!) { user(username: $name) { channel { id } } }"
START: Final = """mutation ($input: PlaybackStartInput!) {
  playbackStart(input: $input) { viewerToken heartbeatIntervalSeconds errors { __typename } }
}"""
BEAT: Final = """mutation ($input: MetricsPublishInput!) {
  metricsPublish(input: $input) {
    accepted
    errors {
      __typename
      ... on TooManyAttempts { retryAfterSeconds }
      ... on Overloaded { retryAfterSeconds }
    }
  }
}"""
QUALITIES: Final = (("1080p60", 6_000_000, 60.0), ("720p60", 3_500_000, 60.0), ("480p30", 1_200_000, 30.0))
PLAYERS: Final = (("Firefox", "Linux"), ("Chrome", "Windows"), ("Safari", "macOS"), ("Chrome", "Android"))
# Shares: of the time in which all come, of those who leave before the end, of heartbeats with another quality.
COME, LEAVE, SWITCH = 0.3, 0.2, 0.1
# Seconds until a player that was refused tries again, as before the stream's start is known.
PAUSE: Final = 0.5
ANSWER_SECONDS: Final = 10


class _ApiError(Exception):
    """The API does not answer, or not as its contract says."""


@dataclass(slots=True)
class Truth:
    """What the players know of themselves.

    Attributes:
        joined: Players that have begun.
        left: Those of them that left before the end.
        heartbeats: Heartbeats that were stored.
        watching: Players that have not left.
    """

    joined: int = 0
    left: int = 0
    heartbeats: int = 0
    watching: int = 0


@dataclass(slots=True)
class Audience:
    """Up to `most` viewers of one user's channel; `say` gets a sentence about them at the end."""

    api_url: str
    username: str
    most: int
    say: Callable[[str], None]
    truth: Truth = field(default_factory=Truth)

    async def watch(self, seconds: float) -> None:
        """Play for so many seconds, or until cancelled."""
        dice = random.Random()  # noqa: S311 - nobody's security rests on it
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as http,
                asyncio.TaskGroup() as players,
            ):
                channel_id = await self._channel(http)
                for _ in range(self.most):
                    comes = dice.uniform(0, seconds * COME)
                    goes = dice.uniform(comes, seconds) if dice.random() < LEAVE else None
                    players.create_task(self._player(http, channel_id, comes, goes))
        except* (_ApiError, aiohttp.ClientError, TimeoutError) as group:
            self.say(f"The viewers stop: {group.exceptions[0]}.")
        finally:
            if self.most:
                truth = self.truth
                told = f"{truth.joined} came, {truth.left} left before the end; heartbeats: {truth.heartbeats}"
                self.say(f"Viewers: {told}.")

    async def _player(self, http: aiohttp.ClientSession, channel_id: str, comes: float, goes: float | None) -> None:
        began = time.monotonic()
        await asyncio.sleep(comes)
        started = await self._started(http, channel_id)
        self.truth.joined += 1
        self.truth.watching += 1
        browser, system = random.choice(PLAYERS)  # noqa: S311
        quality = random.choice(QUALITIES)  # noqa: S311
        pause = float(started["heartbeatIntervalSeconds"])
        # Who waited for the stream to begin sees something of it all the same.
        left = pause
        while left >= pause:
            if random.random() < SWITCH:  # noqa: S311
                quality = random.choice(QUALITIES)  # noqa: S311
            name, bitrate, framerate = quality
            beat = {
                "id": str(uuid4()),
                "browserName": browser,
                "os": system,
                "quality": name,
                "bitrate": bitrate,
                "framerate": framerate,
                "latencySeconds": round(random.uniform(2, 6), 2),  # noqa: S311
                "bufferSeconds": round(random.uniform(1, 10), 2),  # noqa: S311
            }
            await self._beat(http, {"viewerToken": started["viewerToken"], "heartbeats": [beat]})
            left = pause if goes is None else began + goes - time.monotonic()
            await asyncio.sleep(max(0.0, min(pause, left)))
        self.truth.watching -= 1
        self.truth.left += 1

    async def _beat(self, http: aiohttp.ClientSession, values: dict[str, Any]) -> None:
        """Send a heartbeat until it is taken, as a player does: the same again, so that it counts once."""
        while True:
            payload = (await self._ask(http, BEAT, {"input": values}))["metricsPublish"]
            if not payload["errors"]:
                self.truth.heartbeats += int(payload["accepted"])
                return
            await asyncio.sleep(payload["errors"][0].get("retryAfterSeconds") or PAUSE)

    async def _started(self, http: aiohttp.ClientSession, channel_id: str) -> dict[str, Any]:
        while True:
            payload: dict[str, Any] = (await self._ask(http, START, {"input": {"channelId": channel_id}}))[
                "playbackStart"
            ]
            if not payload["errors"]:
                return payload
            await asyncio.sleep(PAUSE)

    async def _channel(self, http: aiohttp.ClientSession) -> str:
        found = await self._ask(http, CHANNEL, {"name": self.username})
        channel = (found["user"] or {}).get("channel")
        if channel is None:
            raise _ApiError(f"{self.username} has no channel")
        return str(channel["id"])

    async def _ask(self, http: aiohttp.ClientSession, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        async with http.post(self.api_url, json={"query": query, "variables": variables}) as response:
            answer = await response.json(content_type=None)
        if not isinstance(answer, dict) or not answer.get("data"):
            raise _ApiError(f"{self.api_url} answers with HTTP {response.status}")
        data: dict[str, Any] = answer["data"]
        return data
