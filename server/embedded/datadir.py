"""The directory for what must survive a restart: one running server at a time, found by the other commands."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from server.errors import ALREADY_RUNNING, CANNOT_CREATE, CONFIGURATION, StartupError, reason

_LOCK_ATTEMPTS: Final = 10
_LOCK_PAUSE: Final = 0.02  # seconds; `running` holds the lock for an instant
_KEY_BYTES: Final = 48


class Running(msgspec.Struct, frozen=True):
    """What a running server tells the other commands.

    Attributes:
        pid: Its process number.
        url: Where GraphQL is served.
        database_url: Its database, with the password.
        emulator_url: Its emulated AWS; None when it talks to the real one.
    """

    pid: int
    url: str
    database_url: str
    emulator_url: str | None


class DataDirectory:
    """The directory that DATA_DIR names.

    Attributes:
        path: Absolute.
        postgres: What the embedded database owns.
        emulator_state: The file that the emulated AWS owns.
        emulator_log: What it prints.
        key: The file with the secret key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgres"
        self.emulator_state = self.path / "emulator.json"
        self.emulator_log = self.path / "emulator.log"
        self._run = self.path / "run.json"
        self._lock = self.path / "lock"
        self.key = self.path / "secret_key"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory if missing and holds it, until the block or the process ends.

        Raises:
            StartupError: Another process holds it, or it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            if not _take(descriptor):
                raise StartupError(self._holder(), ALREADY_RUNNING)
            self._run.unlink(missing_ok=True)  # from one that was killed
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            try:
                yield
            finally:
                self._run.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def announce(self, running: Running) -> None:
        """Tells the other commands where the server is; only who holds the lock may.

        Raises:
            StartupError: The directory cannot be written.
        """
        self._write(self._run, msgspec.json.encode(running))

    def running(self) -> Running | None:
        """What the running server announced; None when none runs, or it is not ready yet."""
        return self._read() if self._held() else None

    def refuse_second(self) -> None:
        """Does nothing unless another process holds the directory.

        Raises:
            StartupError: It does; the message says which and where.
        """
        if self._held():
            raise StartupError(self._holder(), ALREADY_RUNNING)

    def _held(self) -> bool:
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def secret_key(self) -> str | None:
        """The key of this installation; None before there is one.

        Raises:
            StartupError: It cannot be read, or somebody shortened it.
        """
        try:
            key = self.key.read_bytes().decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        if len(key) < _KEY_BYTES or not key.isascii():
            raise StartupError(
                f"The secret key in {self.key} is damaged; put the whole key back, since nothing else can read "
                "the stream keys in the database.",
                CONFIGURATION,
            )
        return key

    def keep_secret_key(self, key: str) -> None:
        """Writes the key of this installation, unless it stands there; only who holds the lock may.

        Raises:
            StartupError: It cannot be written.
        """
        if self.secret_key() is None:
            self._write(self.key, key.encode())

    def _read(self) -> Running | None:
        try:
            return msgspec.json.decode(self._run.read_bytes(), type=Running)
        except FileNotFoundError:
            return None

    def _write(self, path: Path, content: bytes) -> None:
        """Replaces a private file as a whole."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            fresh.replace(path)
        except OSError as error:
            raise self._unusable(error) from error

    def _holder(self) -> str:
        running = self._read()
        pid = running.pid if running else self._lock.read_text("ascii").strip() or "unknown"
        where = f", {running.url}" if running else ""
        return (
            f"StreamCat already runs on {self.path} (process {pid}{where}); "
            "stop it, or set DATA_DIR to another directory."
        )

    def _unusable(self, error: OSError) -> StartupError:
        return StartupError(
            f"Nothing can be kept in {self.path}: {reason(error)}; "
            "make it a directory that can be written, or set DATA_DIR to another.",
            CANNOT_CREATE,
        )


def generate_secret_key() -> str:
    """A new key; nothing is encrypted with it before it is kept."""
    return secrets.token_urlsafe(_KEY_BYTES)


def _take(descriptor: int) -> bool:
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return True
    return False
