"""`python -m ivs.emulator --port 0 [--host 127.0.0.1] [--state FILE]`."""

import argparse
import os
import sys
from pathlib import Path

from ivs.emulator.errors import StateError
from ivs.emulator.server import serve

UNAVAILABLE, CANNOT_CREATE = 69, 73


def main() -> int:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(prog="python -m ivs.emulator", description="Emulates Amazon IVS.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--state", type=Path, help="file that keeps the account; memory if left out")
    chosen = parser.parse_args()
    return run(chosen.host, chosen.port, chosen.state)


def run(host: str, port: int, state: Path | None) -> int:
    """Serves until stopped; when it cannot start, one sentence and a code of BSD's sysexits."""
    try:
        serve(host, port, state)
    except StateError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_CREATE
    except OSError as error:
        sys.stderr.write(f"The emulator cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.\n")
        return UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
