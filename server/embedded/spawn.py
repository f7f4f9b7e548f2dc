"""Starting and stopping processes that do not outlive us."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, NamedTuple

_LEASH = Path(__file__).with_name("leash.py")

_Process = subprocess.Popen[bytes]
_orders: SimpleQueue[tuple[Future[_Process], Callable[[], _Process]]] = SimpleQueue()


def _take_orders() -> None:
    while True:
        future, start = _orders.get()
        try:
            future.set_result(start())
        except Exception as error:  # noqa: BLE001 - whoever ordered gets it
            future.set_exception(error)


# Linux takes the end of the thread that started a process for the end of its parent. This thread ends with the program;
# a caller's may be a short one. It is no executor's: Ctrl-C in the moment when an executor starts its thread makes the
# program wait for that thread for ever.
_starter = threading.Thread(target=_take_orders, name="spawn", daemon=True)
_starting = threading.Lock()


class Account(NamedTuple):
    """The numbers of a user of the operating system."""

    uid: int
    gid: int


def spawn(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    output: int | IO[bytes],
    errors: int | IO[bytes] = subprocess.STDOUT,
    descriptors: Sequence[int] = (),
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, so that Ctrl-C in the terminal does not reach it.

    On Linux it gets `death_signal` when we die, however we die. Elsewhere it may outlive a killed parent.

    Args:
        command: The program's absolute path, and its arguments.
        cwd: The working directory, which `account` need not be able to reach; None for ours.
        env: The whole environment; None for ours.
        account: The user to run as, which only root may choose; None for ours.
        stdin: As for `subprocess.Popen`.
        output: Where standard output goes.
        errors: Where standard error goes; there too unless told otherwise.
        descriptors: Files of ours that the program gets, under the same numbers.
        death_signal: What the program is sent when we die.

    Returns:
        The process, whose number is the program's own.
    """
    who = f"{account.uid}:{account.gid}" if account else ""
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), str(int(death_signal)), who]
    with _starting:
        if not _starter.is_alive():
            _starter.start()
    future: Future[_Process] = Future()

    def start() -> _Process:
        return subprocess.Popen(
            [*leash, *map(str, command)],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=output,
            stderr=errors,
            pass_fds=descriptors,
            start_new_session=True,
        )

    _orders.put((future, start))
    return future.result()


def stop(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Ends a process and waits until it is gone.

    Args:
        process: The process; one that has ended already is left alone.
        steps: Signals from polite to rude, each with the seconds to wait before the next. SIGKILL follows the last.
    """
    for number, seconds in steps:
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
    process.kill()
    process.wait()
