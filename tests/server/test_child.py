import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from server.embedded.child import Child
from server.errors import StartupError
from tests.server.parents import Parent
from tests.waiting import until

READY = "import os, signal; print('emulator ready http://127.0.0.1:1', os.getpid(), flush=True); signal.pause()"
OWNER = """
    import pathlib, signal, sys
    from server.embedded.child import Child
    print(Child("emulator", [sys.executable, "-c", sys.argv[2]], pathlib.Path(sys.argv[1]), "emulator ready ").start())
    sys.stdout.flush()
    signal.pause()
"""


def child(tmp_path: Path, code: str) -> Child:
    return Child("AWS emulator", [sys.executable, "-c", code], tmp_path / "child.log", "emulator ready ")


def test_start_gives_the_address_and_stop_ends_it(tmp_path: Path) -> None:
    emulator = child(tmp_path, READY)
    assert not emulator.alive()
    address, pid = emulator.start().split()
    assert address == "http://127.0.0.1:1"
    assert emulator.alive()
    emulator.stop()
    assert not emulator.alive()
    assert not psutil.pid_exists(int(pid))


def test_earlier_runs_line_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("emulator ready http://127.0.0.1:9\n")
    emulator = child(tmp_path, READY)
    assert emulator.start().split()[0] == "http://127.0.0.1:1"
    emulator.stop()


def test_end_before_ready_gives_its_last_words(tmp_path: Path) -> None:
    emulator = child(tmp_path, "import sys; print('so'); sys.exit('port 1 is in use')")
    with pytest.raises(StartupError) as caught:
        emulator.start()
    assert (caught.value.message, caught.value.exit_code) == (
        f"The AWS emulator ended with exit code 1: port 1 is in use; the whole story is in {tmp_path}/child.log.",
        69,
    )
    assert not emulator.alive()


def test_dead_parent_takes_it_along(parent: Callable[..., Parent], tmp_path: Path) -> None:
    owner = parent(OWNER, tmp_path / "child.log", READY)
    pid = int(owner.line().split()[1])
    assert psutil.pid_exists(pid)
    owner.kill()
    until(lambda: not psutil.pid_exists(pid), "the child ends with its parent")
