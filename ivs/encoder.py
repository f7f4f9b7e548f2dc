"""A simulated encoder: plays a streamer's broadcast on the emulator, as OBS would on Amazon IVS.

It finds the channel through the ordinary AWS API and then talks to the emulator's control door, which puts the same
events on EventBridge that AWS would. It knows no database and no GraphQL.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

USERNAME_TAG = "streamcat:username"
ANSWER_SECONDS = 10
# Two days; who asks for more has mistyped.
LONGEST_MINUTES = 48 * 60
# One tick of starvation per so many ticks of video.
STARVE_EVERY = 20
RAMP = 0.3
# Of different lengths, so that not everybody says the same each time.
VIEWERS = ("Ada", "Grace", "Linus", "Margaret", "Dennis")
SENTENCES = ("hello from the chat", "what a stream", "can you show that again?", "the sound is good now")

CONFLICT, GONE = 409, 410


class EncoderError(RuntimeError):
    """The broadcast cannot be played; the text is one sentence for the person at the terminal."""


class _EndedElsewhereError(Exception):
    """The broadcast was ended from the other side: StopStream, or the emulator was reset."""


Audience = Callable[[float], Coroutine[Any, Any, None]]


async def nobody(_seconds: float) -> None:
    """Watch nothing."""


async def broadcast(
    emulator_url: str,
    username: str,
    *,
    region: str,
    say: Callable[[str], None],
    viewers: int = 25,
    minutes: float = 5.0,
    interval: float = 2.0,
    audience: Audience = nobody,
) -> str:
    """Plays one whole broadcast: connects, starts, gathers viewers, starves now and then, ends.

    When the task is cancelled (Ctrl-C) the stream is ended cleanly before the cancellation goes on.

    Args:
        emulator_url: Address of the emulator, `http://127.0.0.1:PORT`.
        username: The streamer; capitals do not matter. The channel is the one with this tag `streamcat:username`.
        region: AWS region of the channel.
        say: Gets each step as a sentence.
        viewers: How many views there are at the most.
        minutes: How long the stream is live; more than nothing, at most LONGEST_MINUTES.
        interval: Seconds between two signs of life; shorter than the emulator's patience in any case.
        audience: Watches for so many seconds while the stream is live, and is cancelled at its end.

    Returns:
        AWS's id of the stream.

    Raises:
        EncoderError: no such user, already live, emulator not reachable, or the emulator refuses.
    """
    channel = await _find(emulator_url, username, region, "ivs", "channels")
    if channel is None:
        raise EncoderError(f"The emulated AWS has no channel of a user {username}.")
    room = await _find(emulator_url, username, region, "ivschat", "rooms")
    async with open_door(emulator_url) as post:
        try:
            connected = await post("broadcasts", {"channelArn": channel})
        except aiohttp.ClientResponseError as error:
            if error.status == CONFLICT:
                raise EncoderError(f"{username} is already live.") from error
            raise EncoderError(f"The emulator refused the stream of {username}: {error.message}") from error
        stream = str(connected["streamId"])
        slowest = min(interval, float(connected["silenceSeconds"]) / 3)
        ticks = max(1, math.ceil(minutes * 60 / slowest))
        say(f"{username}'s encoder is connected ({stream}).")
        try:
            pace = minutes * 60 / ticks
            await _play(post, stream, viewers=viewers, ticks=ticks, pace=pace, say=say, room=room, audience=audience)
        except _EndedElsewhereError:
            say(f"{username}'s stream was stopped from outside.")
            return stream
        except asyncio.CancelledError:
            await _end(post, stream)
            say(f"{username}'s stream was interrupted and has ended.")
            raise
        await _end(post, stream)
        say(f"{username}'s stream has ended.")
    return stream


Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def _play(
    post: Post,
    stream: str,
    *,
    viewers: int,
    ticks: int,
    pace: float,
    say: Callable[[str], None],
    room: str | None,
    audience: Audience,
) -> None:
    async def tell(what: str, **body: Any) -> None:
        try:
            await post(f"broadcasts/{stream}/{what}", body)
        except aiohttp.ClientResponseError as error:
            if error.status in (GONE, 404):
                raise _EndedElsewhereError from error
            raise EncoderError(f"The emulator refused {what}: {error.message}") from error

    await tell("ingest")
    await asyncio.sleep(pace)
    await tell("start")
    say(f"Live for {ticks * pace / 60:.4g} minutes, with up to {viewers} viewers. Ctrl-C ends it.")
    async with _watched(audience, ticks * pace):
        await _run(post, tell, viewers=viewers, ticks=ticks, pace=pace, say=say, room=room)


@asynccontextmanager
async def _watched(audience: Audience, seconds: float) -> AsyncIterator[None]:
    """Let the audience watch while the block runs."""
    watching = asyncio.create_task(audience(seconds))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _run(
    post: Post,
    tell: Callable[..., Awaitable[None]],
    *,
    viewers: int,
    ticks: int,
    pace: float,
    say: Callable[[str], None],
    room: str | None,
) -> None:
    starving = range(min(STARVE_EVERY, ticks) // 2, ticks, STARVE_EVERY)
    for tick in range(ticks):
        await tell("viewers", count=_audience(viewers, (tick + 1) / ticks))
        if room is not None and viewers > 0:
            await _chat(post, room, tick)
        if tick in starving:
            await tell("health", state="STARVING")
            say("The encoder sends nothing for a moment.")
        await asyncio.sleep(pace)
        if tick in starving:
            await tell("health", state="HEALTHY")
            say("The encoder sends again.")


async def _chat(post: Post, room: str, tick: int) -> None:
    name, sentence = VIEWERS[tick % len(VIEWERS)], SENTENCES[tick % len(SENTENCES)]
    guest = {"userId": f"guest-{name.lower()}", "attributes": {"displayName": name, "isGuest": "true"}}
    try:
        await post("chat/messages", {"roomArn": room, "content": sentence, **guest})
    except aiohttp.ClientResponseError as error:
        raise EncoderError(f"The emulator refused what {name} said: {error.message}") from error


def _audience(most: int, played: float) -> int:
    if played < RAMP:
        return math.ceil(most * played / RAMP)
    # Some leave and some come; nobody's security rests on this randomness.
    return most - random.randint(0, most // 10)  # noqa: S311


async def _end(post: Post, stream: str) -> None:
    try:
        await post(f"broadcasts/{stream}/end", {})
    except aiohttp.ClientResponseError as error:
        if error.status not in (GONE, 404):
            raise EncoderError(f"The emulator refused to end the stream: {error.message}") from error


async def _find(emulator_url: str, username: str, region: str, service: str, things: str) -> str | None:
    """The ARN of what a list of a service names as the user's, None if there is nothing."""
    wanted = username.casefold()
    try:
        # Of any service, and not one of the four hundred that the types list one by one.
        create_client: Any = get_session().create_client
        # The emulator checks no signature, but a request must have one.
        async with create_client(
            service,
            endpoint_url=emulator_url,
            region_name=region,
            aws_access_key_id="emulator",
            aws_secret_access_key="emulator",  # noqa: S106
            config=AioConfig(read_timeout=ANSWER_SECONDS, retries={"total_max_attempts": 1}),
        ) as client:
            token: dict[str, str] = {}
            while True:
                page = await getattr(client, f"list_{things}")(**token)
                for thing in page[things]:
                    if thing.get("tags", {}).get(USERNAME_TAG, "").casefold() == wanted:
                        return str(thing["arn"])
                if not page.get("nextToken"):
                    return None
                token = {"nextToken": page["nextToken"]}
    except ClientError as error:
        raise EncoderError(f"The emulator refused to list the {things}: {error}.") from error
    except BotoCoreError as error:
        raise EncoderError(f"The emulator at {emulator_url} cannot be reached.") from error


@asynccontextmanager
async def open_door(emulator_url: str) -> AsyncIterator[Post]:
    """Yields what posts to the emulator's control door: path, body, answer.

    Raises:
        EncoderError: It does not answer.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            try:
                async with session.post(f"{emulator_url}/_emulator/{path}", json=body) as response:
                    answer: dict[str, Any] = await response.json()
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                raise EncoderError(f"The emulator at {emulator_url} does not answer any more.") from error
            if response.status >= 400:  # noqa: PLR2004  # HTTP's border of errors
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, message=str(answer.get("error", ""))
                )
            return answer

        yield post
