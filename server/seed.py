"""`python -m app seed`: a made-up world on the emulated AWS, for whoever wants to see more than an empty page."""

import asyncio
import sys
import time
from datetime import datetime, timedelta
from typing import Final

from asyncpg import UniqueViolationError
from sqlalchemy import func, select

from ivs import bulk
from ivs.bulk import Guest, Holding, OnAir, Wanted
from ivs.resources import Owner
from models import User, seeding, utcnow
from models.seeding import Gathering, Person, Possessions, Rhythm, Ticket, Written
from server.beside import beside, nothing_runs
from server.errors import CONFIGURATION, UNAVAILABLE, StartupError
from server.runtime import Runtime, open_runtime
from server.serve import DEMO_PASSWORD
from server.settings import Settings
from server.stack import Stack, region

MOST_USERS: Final = 10_000
# Amazon counts viewers; of a made-up stream, one follower in so many is one.
_FOLLOWERS_PER_VIEWER: Final = 4


def seed(settings: Settings, *, users: int, random_seed: int) -> None:
    """Add `users` users with all that is theirs, and print what there is.

    Raises:
        StartupError: Nothing emulated runs here, or a name was taken meanwhile.
    """
    if settings.events_queue_url is not None:
        raise StartupError(
            "EVENTS_QUEUE_URL is set, so this is the real AWS, which has no resources for users that are made up; "
            "unset it to seed an emulated one.",
            CONFIGURATION,
        )
    found = beside(settings)
    if found.endpoint_url is None or found.secret_keys is None:
        raise nothing_runs(settings)
    stack = Stack(settings, found.database_url, found.secret_keys, found.endpoint_url, emulated=True, data=None)
    asyncio.run(_seed(settings, stack, found.endpoint_url, users, random_seed))


async def _seed(settings: Settings, stack: Stack, endpoint_url: str, users: int, random_seed: int) -> None:
    began = time.monotonic()
    await stack.prepare()
    async with open_runtime(settings, await stack.resolve()) as runtime:
        async with runtime.services.sessions() as session:
            taken = await seeding.taken_names(session)
            already = (await session.execute(select(func.count()).select_from(User))).scalar_one()
        world = seeding.imagine(
            users, random_seed=random_seed, now=utcnow(), taken=taken, publishers=settings.stage_publishers
        )
        wanted = [_wanted(runtime, person, world.now) for person in world.people]
        holdings = await bulk.create(endpoint_url, wanted, region=region(settings))
        password_hash = await runtime.services.passwords.hash(DEMO_PASSWORD)
        async with runtime.services.sessions() as session, session.begin():
            await seeding.make_room(session, world.now)
        try:
            async with runtime.services.publisher.transaction() as transaction:
                written = await seeding.write(
                    transaction.session,
                    world,
                    [_possessions(one) for one in holdings],
                    password_hash=password_hash,
                    partner_followers=settings.partner_followers,
                    rhythm=Rhythm(
                        interval=timedelta(seconds=settings.heartbeat_interval_seconds),
                        window=timedelta(seconds=settings.viewer_window_seconds),
                    ),
                    vault=runtime.services.vault,
                )
                if written.live:
                    transaction.directory_changed(*(channel.category_id for channel in written.live))
        except UniqueViolationError as error:
            raise StartupError(
                "Somebody took one of the names meanwhile; run the command again, and `python -m app janitor --delete "
                "--min-age 0` for what was created in vain.",
                UNAVAILABLE,
            ) from error
    seconds = time.monotonic() - began
    sys.stdout.write(_told(written, world.people[0].username, already, seconds))


def _wanted(runtime: Runtime, person: Person, now: datetime) -> Wanted:
    config, partners = runtime.services.provisioner.config, runtime.services.chores.config
    channel = {"type": config.channel_type}
    if person.followers >= partners.partner_followers:
        channel = {"type": partners.partner_type, "preset": partners.partner_preset}
    if config.recording_configuration_arn is not None:
        channel["recordingConfigurationArn"] = config.recording_configuration_arn
    logs = config.chat_logging_configuration_arn
    room = {"loggingConfigurationIdentifiers": [logs]} if logs else {}
    live = None
    if person.live is not None:
        live = OnAir(person.live.started_at, person.live.starving, viewers=person.followers // _FOLLOWERS_PER_VIEWER)
    owner = Owner(config.deployment, person.id, person.username)
    gathering = person.gathering
    if gathering is None:
        return Wanted(owner, channel, live, room=room)
    guests = _guests(gathering, now, minutes=runtime.settings.stage_token_minutes)
    return Wanted(owner, channel, live, guests, gathering.seat.since if gathering.seat else None, room)


def _guests(gathering: Gathering, now: datetime, *, minutes: int) -> list[Guest]:
    """Return the guests with what is left of their tokens."""
    return [
        Guest(
            guest.user_id.hex,
            guest.username,
            max(1, minutes - int((now - guest.invited_at).total_seconds() // 60)),
            guest.seat.since if guest.seat else None,
        )
        for guest in gathering.guests
    ]


def _possessions(holding: Holding) -> Possessions:
    channel = holding.channel
    return Possessions(
        channel_arn=channel.arn,
        playback_url=str(channel.playback_url),
        ingest_endpoint=str(channel.ingest_endpoint),
        channel_type=str(channel.channel_type),
        room_arn=holding.room.arn,
        stage_arn=holding.stage.arn,
        stream_key_arn=channel.stream_key_arn,
        stream_key=channel.stream_key,
        ivs_stream_id=holding.ivs_stream_id,
        tickets=[Ticket(one.participant_id, one.token, one.expires_at) for one in holding.tickets],
        session_id=holding.session_id,
        host_id=holding.host_id,
    )


def _told(written: Written, username: str, already: int, seconds: float) -> str:
    counts = written.counts
    return (
        f"Added to {already} users in {seconds:.1f} s: {counts['users']} users, {counts['streams']} streams of which "
        f"{len(written.live)} are live, {counts['recordings']} recordings, {counts['follows']} follows, "
        f"{counts['chat_messages']} chat messages, {counts['metrics']} heartbeats of viewers, {counts['stage_tokens']} "
        f"invitations to stages and {counts['stage_participants']} people on them.\n"
        f"Each of them signs in with the password {DEMO_PASSWORD}; the most popular is {username}.\n"
    )
