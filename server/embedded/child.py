"""A program of our own that runs beside us and prints one line when it is ready."""

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.embedded.logfile import LogFile
from server.embedded.spawn import spawn, stop
from server.errors import UNAVAILABLE, StartupError

_PATIENCE: Final = 30.0  # seconds from start to ready
_POLL: Final = 0.02  # seconds


class Child:
    """The life of one process; its output goes to a log, so that it never waits for a reader.

    Attributes:
        name: What messages call it, as in `AWS emulator`.
        log: The file it prints to.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, ready: str, *, cwd: Path | None = None
    ) -> None:
        """Prepares; nothing is started before `start`.

        Args:
            name: What messages call it.
            command: The program's absolute path, and its arguments.
            log: Made if missing, inside a directory that exists.
            ready: How the line begins that says it is ready; the rest of that line is its address.
            cwd: Its working directory; None for ours.
        """
        self.name = name
        self.log = log
        self._command = command
        self._ready = ready
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts it and waits.

        Returns:
            Its address.

        Raises:
            StartupError: It ended, or said nothing in time; the message has its last words and names the log.
        """
        log = LogFile(self.log)
        process = self._process = spawn(self._command, cwd=self._cwd, output=log.stream)
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while True:
            ended = process.poll()
            lines = log.lines()
            for line in lines:
                if line.startswith(self._ready):
                    return line.removeprefix(self._ready).strip()
            if ended is not None:
                self._process = None
                last_words = lines[-1] if lines else "no message"
                raise StartupError(
                    f"The {self.name} ended with exit code {ended}: {last_words}; the whole story is in {self.log}.",
                    UNAVAILABLE,
                )
            if time.monotonic() > deadline:
                self.stop()
                raise StartupError(
                    f"The {self.name} was not ready after {_PATIENCE:g} seconds; its messages are in {self.log}.",
                    UNAVAILABLE,
                )
            time.sleep(_POLL)

    def stop(self) -> None:
        """Ends it, politely at first. Does nothing if it does not run."""
        if self._process:
            stop(self._process, (signal.SIGTERM, 10.0))
            self._process = None

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None
