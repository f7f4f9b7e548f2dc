"""A real PostgreSQL server for where no DATABASE_URL is set."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from server.embedded import binaries, cluster
from server.embedded.binaries import Binaries
from server.embedded.logfile import LogFile
from server.embedded.spawn import Account, spawn, stop
from server.errors import UNAVAILABLE, StartupError

_PATIENCE: Final = 60.0  # seconds for a start; recovery after a crash is part of it
_ATTEMPTS: Final = 5
_PAUSE: Final = 0.2  # seconds between attempts
# Another program took the free port first, or the processes of a killed server have not all noticed.
_WORTH_REPEATING: Final = re.compile(r"listen on|TCP/IP sockets|pre-existing shared memory")
_POLL: Final = 0.01  # seconds
_STATUS_LINE: Final = 7  # of postmaster.pid; pg_ctl reads it too

# A development machine has one server with a few connections. Data is as safe as in production.
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "io_method": "sync",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """The life of one server. The caller holds the data directory's lock, so that there is only one.

    Attributes:
        directory: Everything it owns: the data, the password, the log.
        log: The file the server writes to.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """Prepares; nothing is touched before `start`.

        Args:
            directory: Made if missing, inside a directory that exists.
            settings: PostgreSQL's settings that differ from ours, such as `{"fsync": "off"}` in tests.
        """
        self.directory = directory.absolute()
        self.log = self.directory / "server.log"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Makes the database if there is none, ends a server that was left over, and starts one.

        Returns:
            The address, `postgresql://streamcat:<password>@127.0.0.1:<port>/streamcat`.

        Raises:
            StartupError: It did not start; the message says why and names the log.
        """
        data = self.directory / cluster.DATA
        account = binaries.account_for(data)
        programs = binaries.find(account)
        cluster.ensure(self.directory, account, programs)
        password = cluster.password(self.directory)
        _stop_leftover(data)
        failure: str | None = "no attempt was made"
        for _ in range(_ATTEMPTS):
            port = _free_port()
            failure = self._launch(programs, account, port)
            if failure is None:
                return f"postgresql://{cluster.ROLE}:{password}@127.0.0.1:{port}/{cluster.ROLE}"
            if not _WORTH_REPEATING.search(failure):
                break
            time.sleep(_PAUSE)
        raise StartupError(
            f"The embedded PostgreSQL did not start: {failure}; the whole story is in {self.log}.", UNAVAILABLE
        )

    def stop(self) -> None:
        """Ends the server; connections are closed, committed data is safe. Does nothing if it does not run."""
        if self._process:
            stop(self._process, (signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))
            self._process = None

    def alive(self) -> bool:
        """Whether the server that `start` started still runs."""
        return self._process is not None and self._process.poll() is None

    def _launch(self, programs: Binaries, account: Account | None, port: int) -> str | None:
        """Starts the server; returns why it ended, or None when it answers."""
        data = self.directory / cluster.DATA
        log = LogFile(self.log)
        settings = {**self._settings, "port": str(port)}
        command: list[str | Path] = [programs.directory / "postgres", "-D", binaries.here(data, account)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        process = self._process = spawn(
            command,
            cwd=data,
            env=binaries.environment(),
            account=account,
            output=log.stream,
            death_signal=signal.SIGINT,
        )
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None:
            if _status(data) == (process.pid, "ready"):
                return None
            if time.monotonic() > deadline:
                self.stop()
                return f"it was not ready after {_PATIENCE:g} seconds"
            time.sleep(_POLL)
        self._process = None
        return _complaint(log.lines()) or f"exit code {process.returncode}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _status(data: Path) -> tuple[int, str] | None:
    """What postmaster.pid says: the server's process number and its state; None while that is not written."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8").splitlines()
        return int(lines[0]), lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else ""
    except (FileNotFoundError, ValueError, IndexError):
        return None


def _stop_leftover(data: Path) -> None:
    """Ends a server whose parent was killed, or forgets the process number of one that was killed itself."""
    status = _status(data)
    if status is None:
        return
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(status[0])
        # A server's working directory is its data; another process may have the number by now, or a zombie keep it.
        if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve():
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(10)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _complaint(lines: list[str]) -> str:
    """The line that says why PostgreSQL gave up, without its time stamp."""
    for line in reversed(lines):
        if found := re.search(r"(?:FATAL|PANIC): +(.+)", line):
            return found[1]
    return " ".join(lines[-3:])  # before the server knows its log format, it writes sentences over lines
