"""What keeps the program from starting, in words for the person who started it."""

import os
from typing import Final

USAGE: Final = 64
UNAVAILABLE: Final = 69
CANNOT_CREATE: Final = 73
ALREADY_RUNNING: Final = 75
CONFIGURATION: Final = 78


class StartupError(Exception):
    """A reason not to start that a person can act on; shown as one sentence, without a traceback.

    Attributes:
        message: One sentence that says what is wrong and what to change.
        exit_code: The exit code of the process, one of this module's (BSD's sysexits.h).
    """

    def __init__(self, message: str, exit_code: int = UNAVAILABLE) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def reason(error: OSError) -> str:
    """The operating system's words for an error, without number and path.

    Args:
        error: Any error of the operating system.

    Returns:
        Lower case words, as in `permission denied`.
    """
    return os.strerror(error.errno).lower() if error.errno else str(error)
