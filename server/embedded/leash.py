"""The first program of every process we start: ties its life to ours, then becomes the real one.

Run as a script by `spawn`, with the standard library alone. It exists because the alternative, code between fork and
exec (`preexec_fn`), can deadlock in a process with threads, and Python 3.12 warns of it.

Arguments: our process number, the signal for when we die, `uid:gid` to run as or an empty string, and the command.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, account: str, command: list[str]) -> None:
    """Becomes the command, or ends when the parent is gone already."""
    if account:
        uid, gid = map(int, account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("parent is gone")
    try:
        os.execv(command[0], command)  # noqa: S606 (no shell is the intention)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
