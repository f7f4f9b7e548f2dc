"""The log files of the processes we start."""

from pathlib import Path
from typing import Final

from server.errors import CANNOT_CREATE, StartupError, reason

LIMIT: Final = 10_000_000  # bytes; a longer log starts anew at the next start
_TAIL: Final = 20_000  # bytes


class LogFile:
    """A file that takes a process's output, and what this run of it has written there.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        """Opens it, at its end.

        Raises:
            StartupError: It cannot be written.
        """
        self.path = path
        try:
            if path.exists() and path.stat().st_size > LIMIT:
                path.unlink()
            self.stream = path.open("ab")
        except OSError as error:
            raise StartupError(
                f"The log {path} cannot be written: {reason(error)}; "
                "correct the permissions, or set DATA_DIR to another directory.",
                CANNOT_CREATE,
            ) from error
        self._start = self.stream.tell()

    def lines(self) -> list[str]:
        """The newest complete lines of this run, the oldest first, without empty ones."""
        with self.path.open("rb") as stream:
            end = stream.seek(0, 2)
            stream.seek(max(self._start, end - _TAIL))
            text = stream.read().decode(errors="replace")
        return [line.strip() for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]

    def close(self) -> None:
        """Leaves the file to the process."""
        self.stream.close()
