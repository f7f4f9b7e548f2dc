"""The program's commands: `python -m app <command>`."""

import argparse
import asyncio
import difflib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ivs.client import open_aws
from ivs.delivery import ensure_delivery
from ivs.encoder import LONGEST_MINUTES, EncoderError, broadcast, nobody
from ivs.errors import NO_CREDENTIALS, AwsError
from models.migrate import MigrationError
from schema.build import sdl
from server import doctor, janitor, migrations, parsers, seed, serve
from server.audience import Audience
from server.beside import nothing_runs
from server.embedded.datadir import DataDirectory
from server.errors import CONFIGURATION, UNAVAILABLE, StartupError
from server.runtime import aws_config
from server.settings import Settings, table
from server.stack import region

ROOT: Final = Path(__file__).parent.parent
SDL_FILE: Final = ROOT / "schema.graphql"
MOST_PROCESSES: Final = 64

Command = Callable[[Settings, argparse.Namespace], int | None]


def main(settings: Settings, arguments: Sequence[str]) -> int:
    """Run one command; return the exit code.

    Raises:
        KeyboardInterrupt: Ctrl-C, after everything was stopped.
    """
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr
    )
    # One line per AWS call or SQL statement is for whoever asks for it by name.
    for noisy in ("aiobotocore", "alembic", "botocore", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return chosen.run(settings, chosen) or 0
    except StartupError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    except MigrationError as error:
        sys.stderr.write(f"{error}\n")
        return CONFIGURATION
    except (EncoderError, AwsError) as error:
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="StreamCat GraphQL.")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(
        parent: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Command, text: str
    ) -> argparse.ArgumentParser:
        added = parent.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    served = command(commands, "serve", _serve, "Serve GraphQL, GraphiQL and, unless WORKERS=external, run the jobs.")
    served.add_argument(
        "--processes",
        type=_processes,
        default=1,
        metavar="N",
        help="serve in so many processes behind one address (1); the first of them runs the jobs",
    )
    # For the processes of that, by which they are started.
    served.add_argument("--inherited", type=int, help=argparse.SUPPRESS)
    served.add_argument("--example-channel", help=argparse.SUPPRESS)
    command(
        commands,
        "worker",
        lambda settings, _: serve.work(settings),
        "Run the jobs alone: events, provisioning, removals, bans, guarding stages, roll-ups, housekeeping.",
    )
    schema = command(commands, "schema", _schema, "Write schema.graphql from the code.")
    schema.add_argument("--check", action="store_true", help="only compare; exit code 1 if the file differs")
    command(commands, "settings", _settings, "Print all settings with default and meaning.")
    command(
        commands,
        "doctor",
        lambda settings, _: doctor.examine(settings),
        "Check settings, database, bus, queue and AWS.",
    )
    tidy = command(commands, "janitor", _janitor, "List what Amazon holds of this installation though nobody owns it.")
    tidy.add_argument("--delete", action="store_true", help="delete it")
    tidy.add_argument(
        "--min-age",
        type=_minutes,
        default=60,
        metavar="MINUTES",
        help="delete only what is at least as old (60); 0 takes what is of unknown age too",
    )
    emulator = command(commands, "emulator", _emulator, "Emulate Amazon IVS and the services around it.")
    emulator.add_argument("--host", default="127.0.0.1")
    emulator.add_argument("--port", type=_port, default=0, help="0 takes a free one")
    emulator.add_argument("--state", type=Path, help="file that keeps the account; memory if left out")

    database = commands.add_parser("db", help="Migrate the database.").add_subparsers(metavar="action", required=True)
    command(
        database,
        "upgrade",
        migrations.upgrade,
        "Bring the database to the newest migration, and the categories up to date.",
    )
    command(
        database,
        "check",
        migrations.check,
        "Compare the database of DATABASE_URL with the code; without one, try the migrations on an empty database "
        "that is made for it. `doctor` compares the embedded one while it runs.",
    )
    downgrade = command(database, "downgrade", migrations.downgrade, "Take the database back.")
    downgrade.add_argument("revision", help="a migration's number, or base")
    revision = command(
        database, "revision", migrations.revision, "Write a migration from the difference between code and database."
    )
    revision.add_argument("message")

    events = commands.add_parser("events", help="The way of events.").add_subparsers(metavar="action", required=True)
    command(events, "setup", _events_setup, "Create rule and queues on AWS; print EVENTS_QUEUE_URL.")

    simulate = commands.add_parser("simulate", help="Play a streamer on the emulator.")
    plays = simulate.add_subparsers(metavar="play", required=True)
    sow = command(commands, "seed", _seed, "Add made-up users with channels, streams and follows to the emulator.")
    sow.add_argument("--users", type=_users, required=True, metavar="N", help=f"how many, 1 to {seed.MOST_USERS}")
    sow.add_argument(
        "--random-seed",
        type=int,
        default=1,
        metavar="S",
        help="number that the dice begin with (1): the same, the same",
    )
    live = command(plays, "live", _simulate_live, "Go live as a user, for a while.")
    live.add_argument("username")
    live.add_argument("--viewers", type=int, default=25, help="viewers at most (25)")
    live.add_argument("--minutes", type=float, default=5.0, help="minutes until the stream ends (5)")
    return parser


def _port(value: str) -> int:
    return _whole(value, 65535)


def _minutes(value: str) -> int:
    return _whole(value, 525_600)


def _processes(value: str) -> int:
    return _whole(value, MOST_PROCESSES, lowest=1)


def _users(value: str) -> int:
    return _whole(value, seed.MOST_USERS, lowest=1)


def _whole(value: str, highest: int, *, lowest: int = 0) -> int:
    try:
        return int(parsers.whole(lowest, highest)(value))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _serve(settings: Settings, chosen: argparse.Namespace) -> int:
    if chosen.inherited is not None:
        serve.serve_for(settings, chosen.inherited, chosen.example_channel)
        return 0
    return serve.serve(settings, processes=chosen.processes)


def _janitor(settings: Settings, chosen: argparse.Namespace) -> int:
    return janitor.tidy(settings, delete=chosen.delete, min_age_minutes=chosen.min_age)


def _seed(settings: Settings, chosen: argparse.Namespace) -> None:
    seed.seed(settings, users=chosen.users, random_seed=chosen.random_seed)


def _schema(_settings: Settings, chosen: argparse.Namespace) -> int:
    if not chosen.check:
        SDL_FILE.write_text(sdl, encoding="utf-8")
        return 0
    written = SDL_FILE.read_text(encoding="utf-8") if SDL_FILE.exists() else ""
    difference = list(
        difflib.unified_diff(written.splitlines(), sdl.splitlines(), "schema.graphql", "the code", lineterm="")
    )
    if difference:
        sys.stderr.write(
            "\n".join([*difference, "", "schema.graphql is not what the code says: run `make schema`.", ""])
        )
        return 1
    return 0


def _settings(_settings: Settings, _chosen: argparse.Namespace) -> None:
    sys.stdout.write(table() + "\n")


def _emulator(_settings: Settings, chosen: argparse.Namespace) -> int:
    try:
        from ivs.emulator.__main__ import run  # noqa: PLC0415 - production does without moto
    except ImportError as error:
        raise StartupError(
            f"The emulator is not installed ({error.name} is missing): install locks/run.lock.", UNAVAILABLE
        ) from error
    return run(chosen.host, chosen.port, chosen.state)


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _events_setup(settings: Settings, _chosen: argparse.Namespace) -> None:
    async def setup() -> str:
        config = aws_config(settings, settings.aws_endpoint_url, emulated=False, region=region(settings))
        async with open_aws(config) as aws:
            return await ensure_delivery(aws)

    try:
        url = asyncio.run(setup())
    except AwsError as error:
        if error.code not in NO_CREDENTIALS:
            raise
        raise StartupError(
            "AWS credentials are missing; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the "
            "environment or in .env.",
            CONFIGURATION,
        ) from error
    _say(f"EVENTS_QUEUE_URL={url}")


def _simulate_live(settings: Settings, chosen: argparse.Namespace) -> None:
    # Not a number compares as false.
    if chosen.viewers < 0 or not 0 < chosen.minutes <= LONGEST_MINUTES:
        raise StartupError(
            "--viewers must not be negative, and --minutes must be a number above 0, at most 2880.", CONFIGURATION
        )
    running = DataDirectory(settings.data_dir).running()
    emulator_url = settings.aws_endpoint_url or (running.emulator_url if running else None)
    if emulator_url is None:
        raise nothing_runs(settings)

    # Of a server elsewhere nothing is known that viewers could ask.
    audience = Audience(f"{running.url}/graphql", chosen.username, chosen.viewers, _say).watch if running else nobody
    asyncio.run(
        broadcast(
            emulator_url,
            chosen.username,
            region=region(settings),
            say=_say,
            viewers=chosen.viewers,
            minutes=chosen.minutes,
            audience=audience,
        )
    )
