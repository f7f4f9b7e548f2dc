"""The making of an embedded database's directory: all of it, or none."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.embedded import binaries
from server.embedded.binaries import Binaries
from server.embedded.spawn import Account, spawn
from server.errors import CANNOT_CREATE, CONFIGURATION, UNAVAILABLE, StartupError, reason

DATA: Final = "data"
PASSWORD: Final = "password"  # noqa: S105 (a file's name)
ROLE: Final = "streamcat"  # of the owner and of its database

_SECRET_BYTES: Final = 24
_SECRET: Final = re.compile(f"[0-9a-f]{{{_SECRET_BYTES * 2}}}")
_ACCESS = f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n"


def ensure(directory: Path, account: Account | None, programs: Binaries) -> None:
    """Makes a database cluster with one role and one database, unless it is there.

    It is made under another name and renamed when it is complete, so that what is found under the right name was
    complete once.

    Args:
        directory: Where the cluster and its password belong.
        account: The user it is to be run by.
        programs: PostgreSQL's.

    Raises:
        StartupError: The directory cannot be written, holds something else, or belongs to another major version.
    """
    try:
        if _holds_something(directory):
            _check(directory, programs)
            return
        for leftover in directory.parent.glob(f"{directory.name}.unfinished-*"):
            # A killed initdb may still be writing there, so the name is not used again.
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}.unfinished-", dir=directory.parent))
        (unfinished / DATA).mkdir(mode=0o700)
        _make(unfinished, account, programs)
        for path, _, _ in os.walk(directory, topdown=False):
            Path(path).rmdir()
        unfinished.rename(directory)
    except OSError as error:
        raise _unusable(directory, error) from error


def password(directory: Path) -> str:
    """The password of the cluster's role.

    Raises:
        StartupError: We may not read it, or somebody changed it.
    """
    file = directory / PASSWORD
    try:
        found = file.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise _unusable(directory, error) from error
    if not _SECRET.fullmatch(found):
        raise StartupError(
            f"The password in {file} is damaged; put the whole password back, since nothing else opens the "
            "embedded database.",
            CONFIGURATION,
        )
    return found


def _unusable(directory: Path, error: OSError) -> StartupError:
    return StartupError(
        f"The embedded database cannot be kept in {directory}: {reason(error)}; "
        "make it a directory that can be written, or set DATA_DIR to another.",
        CANNOT_CREATE,
    )


def _holds_something(directory: Path) -> bool:
    """Whether there is a file; empty directories are what a failed clean-up leaves. Unreadable ones are an error."""

    def refuse(error: OSError) -> None:
        raise error

    if not directory.is_dir():
        return directory.exists()
    return any(names for _, _, names in os.walk(directory, onerror=refuse))


def _check(directory: Path, programs: Binaries) -> None:
    version = directory / DATA / "PG_VERSION"
    made_by = version.read_bytes().decode("ascii", "replace").strip() if version.is_file() else ""
    if not (made_by.isdecimal() and (directory / PASSWORD).is_file()):
        raise StartupError(
            f"{directory} holds something that is not a complete embedded database; "
            "move it away, or set DATA_DIR to another directory.",
            CONFIGURATION,
        )
    if made_by != programs.major:
        raise StartupError(
            f"{directory} was made by PostgreSQL {made_by}, and this is PostgreSQL {programs.major}; "
            "move it away, or set DATA_DIR to another directory.",
            CONFIGURATION,
        )


def _make(directory: Path, account: Account | None, programs: Binaries) -> None:
    data, secret = directory / DATA, secrets.token_hex(_SECRET_BYTES)
    if account:
        os.chown(data, *account)
    here = str(binaries.here(data, account))
    # C.UTF-8 of PostgreSQL itself sorts and folds case alike on every machine.
    initdb: list[str | Path] = [programs.directory / "initdb", "--pgdata", here, "--username", "postgres"]
    initdb += ["--auth", "reject", "--encoding", "UTF8", "--locale", "C"]
    initdb += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    _run(initdb, data, account)
    _run(
        [programs.directory / "postgres", "--single", "-D", here, "-c", "exit_on_error=true", "template1"],
        data,
        account,
        f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{secret}'\nCREATE DATABASE {ROLE} OWNER {ROLE}\n",
    )
    # initdb cannot ask for passwords without giving the superuser one; ours has none and cannot log in.
    (data / "pg_hba.conf").write_text(_ACCESS, "ascii")
    descriptor = os.open(directory / PASSWORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secret)
        stream.flush()
        os.fsync(descriptor)


def _run(command: Sequence[str | Path], data: Path, account: Account | None, text: str = "") -> None:
    process = spawn(
        command,
        cwd=data,
        env=binaries.environment(),
        account=account,
        stdin=subprocess.PIPE,
        output=subprocess.PIPE,
        death_signal=signal.SIGKILL,
    )
    answer, _ = process.communicate(text.encode())
    if process.returncode:
        lines = answer.decode(errors="replace").strip().splitlines() or ["no message"]
        raise StartupError(f"The embedded database could not be made: {lines[-1]}", UNAVAILABLE)
