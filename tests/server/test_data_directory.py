import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.embedded.datadir import DataDirectory, Running, generate_secret_key
from server.errors import StartupError
from tests.server.parents import Parent

HOLDER = """
    import os, pathlib, signal, sys
    from server.embedded.datadir import DataDirectory, Running
    data = DataDirectory(pathlib.Path(sys.argv[1]))
    with data.locked():
        if sys.argv[2] == "ready":
            data.announce(Running(os.getpid(), "http://127.0.0.1:8000/graphql", "postgresql://x", None))
        print("held", flush=True)
        signal.pause()
"""


def running(pid: int) -> Running:
    return Running(pid, "http://127.0.0.1:8000/graphql", "postgresql://x", None)


def refusal(data: DataDirectory) -> tuple[str, int]:
    with pytest.raises(StartupError) as caught, data.locked():
        pass
    return caught.value.message, caught.value.exit_code


def test_lock_makes_a_private_directory_and_leaves_no_announcement(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "new" / ".data")
    assert data.running() is None
    with data.locked():
        assert data.path.stat().st_mode & 0o777 == 0o700
        assert data.running() is None
        data.announce(running(os.getpid()))
        assert data.running() == running(os.getpid())
        assert (data.path / "run.json").stat().st_mode & 0o777 == 0o600
        assert (data.path / "run.json").read_text() == (
            f'{{"pid":{os.getpid()},"url":"http://127.0.0.1:8000/graphql",'
            '"database_url":"postgresql://x","emulator_url":null}'
        )
    assert sorted(path.name for path in data.path.iterdir()) == ["lock"]


@pytest.mark.parametrize(("state", "where"), [("ready", ", http://127.0.0.1:8000/graphql"), ("starting", "")])
def test_second_process_is_told_of_the_first(
    parent: Callable[..., Parent], tmp_path: Path, state: str, where: str
) -> None:
    holder = parent(HOLDER, tmp_path, state)
    assert holder.line() == "held"
    assert refusal(DataDirectory(tmp_path)) == (
        (
            f"StreamCat already runs on {tmp_path} (process {holder.pid}{where}); "
            "stop it, or set DATA_DIR to another directory."
        ),
        75,
    )


def test_killed_process_holds_nothing_and_is_not_believed(parent: Callable[..., Parent], tmp_path: Path) -> None:
    holder = parent(HOLDER, tmp_path, "ready")
    assert holder.line() == "held"
    data = DataDirectory(tmp_path)
    assert data.running() == running(holder.pid)
    holder.kill()
    assert (tmp_path / "run.json").exists()
    assert data.running() is None
    with data.locked():
        assert data.running() is None
        assert not (tmp_path / "run.json").exists()


def test_announcement_is_taken_back_after_a_failure(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    failing = ExitStack()
    failing.enter_context(data.locked())
    data.announce(running(1))
    failing.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert not (tmp_path / "run.json").exists()


def test_secret_key_is_private_and_stays(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    key = generate_secret_key()
    assert len(key) == 64
    with data.locked():
        assert data.secret_key() is None
        data.keep_secret_key(key)
        assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    with data.locked():
        data.keep_secret_key(generate_secret_key())
        assert data.secret_key() == key


@pytest.mark.parametrize("content", [b"", b"\xff" * 64], ids=["empty", "not text"])
def test_damaged_secret_key_is_refused(tmp_path: Path, content: bytes) -> None:
    data = DataDirectory(tmp_path)
    (tmp_path / "secret_key").write_bytes(content)
    with pytest.raises(StartupError) as caught, data.locked():
        data.secret_key()
    assert (caught.value.message, caught.value.exit_code) == (
        (
            f"The secret key in {tmp_path}/secret_key is damaged; put the whole key back, since nothing else can read "
            "the stream keys in the database."
        ),
        78,
    )


@pytest.mark.parametrize(("place", "why"), [("file", "file exists"), ("file/data", "not a directory")])
def test_place_that_cannot_be_the_directory_is_refused(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").touch()
    sentence = (
        f"Nothing can be kept in {tmp_path}/{place}: {why}; "
        "make it a directory that can be written, or set DATA_DIR to another."
    )
    assert refusal(DataDirectory(tmp_path / place)) == (sentence, 73)
