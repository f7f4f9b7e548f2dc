"""What a command runs on: what the settings name, and stand-ins of our own for what they leave open."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ivs.client import AwsConfig, open_aws
from ivs.delivery import ensure_delivery, ensure_logging_configuration, ensure_recording_configuration
from ivs.errors import AwsError
from server.database import keys_fit, prepared
from server.embedded.child import Child
from server.embedded.datadir import DataDirectory, generate_secret_key
from server.embedded.postgres import EmbeddedPostgres
from server.errors import CONFIGURATION, UNAVAILABLE, StartupError
from server.runtime import Resolved, aws_config
from server.settings import Settings

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
DEFAULT_REGION = "us-east-1"
EMULATOR_BUCKET = "streamcat-recordings"
EMULATOR_LOG_GROUP = "streamcat-chat"
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Stack:
    """Answers to what the settings left open, and the processes that give them. `data` is null where nothing was."""

    settings: Settings
    database_url: str = field(repr=False)
    secret_keys: tuple[str, ...] = field(repr=False)
    endpoint_url: str | None
    emulated: bool
    data: DataDirectory | None
    processes: Mapping[str, EmbeddedPostgres | Child] = field(default_factory=dict)

    @property
    def embedded_database(self) -> bool:
        """Whether the database is ours to migrate."""
        return self.settings.database_url is None

    @property
    def toy(self) -> bool:
        """Whether both the database and AWS are stand-ins, and everything in them is for trying out."""
        return self.embedded_database and self.emulated

    @property
    def aws(self) -> AwsConfig:
        """How to reach AWS."""
        return aws_config(self.settings, self.endpoint_url, emulated=self.emulated, region=region(self.settings))

    @asynccontextmanager
    async def watched(self, stop: Callable[[], None]) -> AsyncIterator[None]:
        """Call `stop` when one of the processes ends while the block runs, and raise at the block's end.

        A process that was killed is not started again: whoever killed it, or ran out of memory, should hear of it.

        Raises:
            StartupError: A process has ended; the message names its log.
        """
        watcher = asyncio.create_task(self._watch(stop), name="embedded-processes")
        try:
            yield
        finally:
            watcher.cancel()
            (outcome,) = await asyncio.gather(watcher, return_exceptions=True)
        if isinstance(outcome, StartupError):
            raise outcome

    async def _watch(self, stop: Callable[[], None]) -> None:
        while True:
            for name, process in self.processes.items():
                if not process.alive():
                    stop()
                    raise StartupError(
                        f"The {name} has ended, and StreamCat with it; start again, or see {process.log}.", UNAVAILABLE
                    )
            await asyncio.sleep(_LOOK_SECONDS)

    async def prepare(self) -> None:
        """Bring the database of our own up to date, and see that database and secret keys fit each other.

        A generated key is kept only now: beside a database that another one has encrypted it would be taken for that.

        Raises:
            StartupError: The database is not usable, or what it keeps was encrypted with other keys.
        """
        data = self.data
        embedded = data.postgres if self.embedded_database and data is not None else None
        await prepared(self.database_url, embedded=embedded)
        fit = await keys_fit(self.database_url, self.secret_keys)
        if self.settings.secret_key is not None or data is None:
            if not fit:
                raise StartupError(
                    "SECRET_KEY has not the key that the stream keys in the database were encrypted with; add that "
                    "one, behind a comma.",
                    CONFIGURATION,
                )
            return
        if not fit:
            raise StartupError(
                f"The secret key in {data.key} is missing or is not the one that the stream keys in the database were "
                "encrypted with; put that one back.",
                CONFIGURATION,
            )
        data.keep_secret_key(self.secret_keys[0])

    async def resolve(self) -> Resolved:
        """Ask the emulator for what an operator would have set up on AWS.

        Raises:
            StartupError: It does not answer.
        """
        cdn_url = self.settings.recordings_cdn_url
        queue, recording = self.settings.events_queue_url, self.settings.recording_configuration_arn
        logging_arn = self.settings.chat_logging_configuration_arn
        if queue is None:
            try:
                async with open_aws(self.aws) as aws:
                    queue = await ensure_delivery(aws)
                    recording = recording or await ensure_recording_configuration(aws, EMULATOR_BUCKET)
                    logging_arn = logging_arn or await ensure_logging_configuration(aws, EMULATOR_LOG_GROUP)
                cdn_url = cdn_url or f"{self.endpoint_url}/{EMULATOR_BUCKET}"
            except AwsError as error:
                raise StartupError(f"The emulated AWS cannot be set up: {error}.", UNAVAILABLE) from error
        return Resolved(
            database_url=self.database_url,
            bus_url=self.settings.bus_url or self.database_url,
            secret_keys=self.secret_keys,
            aws=self.aws,
            events_queue_url=queue,
            recording_configuration_arn=recording,
            recordings_cdn_url=cdn_url,
            chat_logging_configuration_arn=logging_arn,
        )


def region(settings: Settings) -> str:
    """Return the AWS region: the setting, else the SDK's variable, else the default."""
    return settings.aws_region or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


@contextmanager
def open_stack(settings: Settings, *, with_aws: bool = True) -> Iterator[Stack]:
    """Start what the settings leave open, and stop it at the end; the log tells which default was taken.

    Raises:
        StartupError: The data directory is in use or unusable, or a stand-in does not start.
    """
    with ExitStack() as stack:
        emulate = with_aws and settings.events_queue_url is None and settings.aws_endpoint_url is None
        data: DataDirectory | None = None
        processes: dict[str, EmbeddedPostgres | Child] = {}
        if settings.database_url is None or settings.secret_key is None or emulate:
            data = DataDirectory(settings.data_dir)
            stack.enter_context(data.locked())
        database_url, secret_keys, endpoint_url = settings.database_url, settings.secret_key, settings.aws_endpoint_url
        if database_url is None and data is not None:
            logger.info("DATABASE_URL is unset: running a PostgreSQL of our own under %s", data.postgres)
            postgres = EmbeddedPostgres(data.postgres)
            stack.callback(postgres.stop)
            database_url = postgres.start()
            processes["embedded PostgreSQL"] = postgres
        if secret_keys is None and data is not None:
            logger.info("SECRET_KEY is unset: using the generated one in %s", data.path)
            secret_keys = (data.secret_key() or generate_secret_key(),)
        if emulate and data is not None:
            logger.info("EVENTS_QUEUE_URL is unset: emulating AWS, nothing is created on Amazon")
            emulator = Child(
                "AWS emulator",
                # Not through app.py: the emulator needs none of what that imports, and starts in a third of the time.
                [sys.executable, "-m", "ivs.emulator", "--port", "0", "--state", data.emulator_state],
                data.emulator_log,
                "emulator ready ",
                cwd=ROOT,
            )
            stack.callback(emulator.stop)
            endpoint_url = emulator.start()
            processes[emulator.name] = emulator
        if database_url is None or secret_keys is None:
            raise AssertionError("unreachable: both are set or were made above")
        emulated = settings.events_queue_url is None
        yield Stack(settings, database_url, secret_keys, endpoint_url, emulated, data, processes)


@contextmanager
def open_database(settings: Settings, *, alone: bool = False) -> Iterator[str]:
    """Yield the database that a command about the database means: the configured, the running, or our own, started.

    Raises:
        StartupError: Our own does not start, or a server runs on it and the command has to be `alone` with it.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    data = DataDirectory(settings.data_dir)
    if alone:
        data.refuse_second()
    running = data.running()
    if running is not None:
        yield running.database_url
        return
    with open_stack(settings, with_aws=False) as stack:
        yield stack.database_url
