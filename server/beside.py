"""What a command works on that runs beside a server: the stack of the settings, or the embedded one that runs."""

from dataclasses import dataclass, field

from server.embedded.datadir import DataDirectory
from server.errors import UNAVAILABLE, StartupError
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class Beside:
    """Where everything is; `endpoint_url` is null for Amazon itself, `secret_keys` where they are not to be known."""

    database_url: str = field(repr=False)
    endpoint_url: str | None
    emulated: bool
    secret_keys: tuple[str, ...] | None = field(repr=False)


def beside(settings: Settings) -> Beside:
    """Find the database and AWS, or the emulator, that a server on this data directory uses.

    Raises:
        StartupError: The settings leave open what only a running server knows, and none runs.
    """
    data = DataDirectory(settings.data_dir)
    running = data.running()
    database_url = settings.database_url or (running.database_url if running else None)
    endpoint_url = settings.aws_endpoint_url or (running.emulator_url if running else None)
    emulated = settings.events_queue_url is None
    if database_url is None or (emulated and endpoint_url is None):
        raise nothing_runs(settings)
    kept = data.secret_key() if running else None
    return Beside(database_url, endpoint_url, emulated, settings.secret_key or ((kept,) if kept else None))


def nothing_runs(settings: Settings) -> StartupError:
    """Return the refusal of a command that needs a running server."""
    return StartupError(
        f"No StreamCat with an emulated AWS runs on {settings.data_dir}: start it with `make run`.", UNAVAILABLE
    )
