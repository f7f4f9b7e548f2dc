"""StreamCat GraphQL: the composition root. Reads the environment once and hands it down; nothing imports this file."""

import os
import signal
import sys
from pathlib import Path

DOTENV = Path(".env")
INTERRUPTED = 130


def main() -> int:
    """Run the command of the command line with the settings of the environment; return the exit code."""
    # An interrupt that becomes an exception in the middle of an import ends in anything but its own traceback. Until
    # all is imported there is nothing to clean up. Where the shell had interrupts ignored, they stay so.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(INTERRUPTED))
    from server import commands  # noqa: PLC0415
    from server.errors import StartupError  # noqa: PLC0415
    from server.settings import Settings, sdk_variables  # noqa: PLC0415

    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        settings = Settings.from_env(os.environ, DOTENV)
        for name, value in sdk_variables(DOTENV).items():
            os.environ.setdefault(name, value)
        return commands.main(settings, sys.argv[1:])
    except StartupError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
