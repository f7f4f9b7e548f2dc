import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from server.embedded.postgres import EmbeddedPostgres
from server.errors import StartupError
from tests.server.parents import Parent
from tests.waiting import until

OWNER = """
    import pathlib, signal, sys
    from server.embedded.postgres import EmbeddedPostgres
    server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
    print(server.start(), flush=True)
    signal.pause()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "postgres"


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(directory)
    yield server
    server.stop()


async def fetch(url: str, *statements: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            answer = await connection.fetchval(statement)
        return answer
    finally:
        await connection.close()


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def refusal(server: EmbeddedPostgres) -> tuple[str, int]:
    with pytest.raises(StartupError) as caught:
        server.start()
    assert not server.alive()
    return caught.value.message, caught.value.exit_code


async def test_first_start_makes_a_database_that_only_its_password_opens(
    server: EmbeddedPostgres, directory: Path
) -> None:
    url = server.start()
    assert re.fullmatch(r"postgresql://streamcat:[0-9a-f]{48}@127\.0\.0\.1:\d+/streamcat", url)
    assert server.alive()
    assert await fetch(url, "SELECT current_user || ' ' || current_database()") == "streamcat streamcat"
    assert await fetch(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert await fetch(url, "SELECT lower('ÄÖ')") == "äö"
    assert await fetch(url, "SHOW fsync") == "on"
    assert (directory / "password").stat().st_mode & 0o777 == 0o600
    assert (directory / "data").stat().st_mode & 0o777 == 0o700
    with pytest.raises(asyncpg.InvalidPasswordError):
        await fetch(url.replace("streamcat:", "streamcat:x"), "SELECT 1")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await fetch(re.sub("//streamcat:[^@]+", "//postgres", url), "SELECT 1")
    pid = postmaster(directory)
    server.stop()
    assert not server.alive()
    assert not psutil.pid_exists(pid)


async def test_second_start_has_the_data_of_the_first(server: EmbeddedPostgres, directory: Path) -> None:
    await fetch(server.start(), "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    second = EmbeddedPostgres(directory)
    assert await fetch(second.start(), "SELECT n FROM kept") == 7
    second.stop()


async def test_killed_server_is_noticed_and_starts_again_with_its_data(
    server: EmbeddedPostgres, directory: Path
) -> None:
    await fetch(server.start(), "CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(postmaster(directory), signal.SIGKILL)
    until(lambda: not server.alive(), "the server is known to be dead")
    assert (directory / "data" / "postmaster.pid").exists()
    assert await fetch(server.start(), "SELECT n FROM kept") == 7


async def test_server_left_running_is_stopped_first(server: EmbeddedPostgres, directory: Path) -> None:
    leftover = EmbeddedPostgres(directory)
    await fetch(leftover.start(), "CREATE TABLE kept AS SELECT 7 AS n")
    assert await fetch(server.start(), "SELECT n FROM kept") == 7
    assert not leftover.alive()


def test_process_that_took_over_a_dead_servers_number_is_spared(server: EmbeddedPostgres, directory: Path) -> None:
    server.start()
    server.stop()
    (directory / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{directory}\n1\n1\n\n127.0.0.1\n\nready\n")
    server.start()
    assert server.alive()


def test_server_outlives_the_thread_that_asked_for_it(server: EmbeddedPostgres) -> None:
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert server.alive()
    # The kernel's signal for a dead parent would have been delivered before join() returned.
    assert server.log.read_text().count("received fast shutdown request") == 0


def test_dead_parent_leaves_no_server_behind(parent: Callable[..., Parent], directory: Path) -> None:
    owner = parent(OWNER, directory)
    assert owner.line().startswith("postgresql://")
    pid = postmaster(directory)
    assert psutil.pid_exists(pid)
    owner.kill()
    until(lambda: not psutil.pid_exists(pid), "PostgreSQL ends with its parent")


async def test_first_start_that_was_killed_half_way_is_begun_anew(
    parent: Callable[..., Parent], server: EmbeddedPostgres, directory: Path
) -> None:
    owner = parent(OWNER, directory)
    until(lambda: bool(list(directory.parent.glob("postgres.unfinished-*/data/PG_VERSION"))), "initdb has begun")
    owner.kill()
    assert not directory.exists()
    assert await fetch(server.start(), "SELECT 1") == 1
    server.stop()
    assert sorted(path.name for path in directory.parent.iterdir()) == ["postgres"]


async def test_empty_directories_are_no_obstacle(server: EmbeddedPostgres, directory: Path) -> None:
    (directory / "data" / "base").mkdir(parents=True)
    assert await fetch(server.start(), "SELECT 1") == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff"], ids=["empty", "blank", "not text"])
def test_unreadable_version_is_no_version(server: EmbeddedPostgres, directory: Path, content: bytes) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / "password").touch()
    (directory / "data" / "PG_VERSION").write_bytes(content)
    assert refusal(server) == (
        (
            f"{directory} holds something that is not a complete embedded database; "
            "move it away, or set DATA_DIR to another directory."
        ),
        78,
    )


@pytest.mark.parametrize("content", [b"", b"\xff" * 48, b"a" * 47], ids=["empty", "not text", "short"])
def test_damaged_password_is_refused(server: EmbeddedPostgres, directory: Path, content: bytes) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "PG_VERSION").write_text("18\n")
    (directory / "password").write_bytes(content)
    assert refusal(server) == (
        (
            f"The password in {directory}/password is damaged; put the whole password back, since nothing else opens "
            "the embedded database."
        ),
        78,
    )


@pytest.mark.parametrize("name", ["data/holiday.jpg", "holiday.jpg", "data/PG_VERSION"])
def test_unknown_content_is_refused(server: EmbeddedPostgres, directory: Path, name: str) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / name).write_text("18\n")
    assert refusal(server) == (
        (
            f"{directory} holds something that is not a complete embedded database; "
            "move it away, or set DATA_DIR to another directory."
        ),
        78,
    )
    assert (directory / name).read_text() == "18\n"


def test_other_major_version_is_refused(server: EmbeddedPostgres, directory: Path) -> None:
    server.start()
    server.stop()
    (directory / "data" / "PG_VERSION").write_text("17\n")
    assert refusal(server) == (
        (
            f"{directory} was made by PostgreSQL 17, and this is PostgreSQL 18; "
            "move it away, or set DATA_DIR to another directory."
        ),
        78,
    )


def test_place_that_cannot_hold_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "postgres"
    assert refusal(EmbeddedPostgres(directory)) == (
        (
            f"The embedded database cannot be kept in {directory}: not a directory; "
            "make it a directory that can be written, or set DATA_DIR to another."
        ),
        73,
    )


def test_damaged_database_is_told_in_postgresqls_words(server: EmbeddedPostgres, directory: Path) -> None:
    server.start()
    server.stop()
    (directory / "data" / "global" / "pg_control").unlink()
    here = "/proc/self/cwd" if os.geteuid() == 0 and sys.platform == "linux" else directory / "data"
    assert refusal(server) == (
        (
            "The embedded PostgreSQL did not start: postgres: could not find the database system "
            f'Expected to find it in the directory "{here}", but could not open file "{here}/global/pg_control": '
            f"No such file or directory; the whole story is in {directory}/server.log."
        ),
        69,
    )


def test_setting_of_a_test_reaches_the_server(directory: Path) -> None:
    server = EmbeddedPostgres(directory, {"work_mem": "nonsense"})
    assert refusal(server) == (
        (
            'The embedded PostgreSQL did not start: invalid value for parameter "work_mem": "nonsense"; '
            f"the whole story is in {directory}/server.log."
        ),
        69,
    )
