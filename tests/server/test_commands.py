"""The commands beside `serve`: what they print, what they answer to mistakes, and that they work together."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from models.engine import create_engine
from schema.build import sdl
from server import commands
from server.settings import Settings, table
from tests.program import Outcome, Program, Served, ask, copy_of_sources, run
from tests.waiting import until

DEMO = '{ channel(by: { name: "demo" }) { isLive provisioning currentStream { state } } }'
VERSIONS = Path(__file__).parents[2] / "models" / "migrations" / "versions"
BEFORE, HEAD = sorted(file.name[:4] for file in VERSIONS.glob("[0-9]*.py"))[-2:]
NUMBERS = "--viewers must not be negative, and --minutes must be a number above 0, at most 2880."
KEY = "tests-only-tests-only-tests-only-tests-only"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that leaves the jobs to `worker`."""
    with Served(tmp_path_factory.mktemp("stack"), WORKERS="external") as served:
        served.ready()
        yield served


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[str]:
    """An empty database."""
    name = f"commands_{uuid4().hex}"
    await execute(database_url, f"CREATE DATABASE {name}")
    yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
    await execute(database_url, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(database_url: str, statement: str) -> None:
    engine = create_engine(database_url, pool_size=1, statement_timeout_ms=10_000, name="tests", pooled=False)
    async with engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text(statement))
    await engine.dispose()


class Here:
    """Runs commands in this process, as `app.py` does once it has the settings."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *command: str, **settings: Any) -> Outcome:
        self._capsys.readouterr()
        code = await asyncio.to_thread(commands.main, Settings(**settings), command)
        said = self._capsys.readouterr()
        return Outcome(code, said.out, said.err, said.err.splitlines())


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


async def test_settings_prints_the_table(here: Here) -> None:
    assert await here("settings") == Outcome(0, table() + "\n", "", [])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        commands.main(Settings(), ["--help"])
    assert left.value.code == 0
    named = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert named == [
        "serve",
        "worker",
        "schema",
        "settings",
        "doctor",
        "janitor",
        "emulator",
        "db",
        "events",
        "simulate",
        "seed",
    ]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["nothing"], "argument command: invalid choice: 'nothing'"),
        ([], "the following arguments are required: command"),
        (["emulator", "--port", "65536"], "argument --port: expected a whole number from 0 to 65535"),
        (["seed", "--users", "0"], "argument --users: expected a whole number from 1 to 10000"),
        (["simulate", "live"], "the following arguments are required: username"),
    ],
)
def test_command_line_that_is_wrong_is_explained(
    capsys: pytest.CaptureFixture[str], command: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as left:
        commands.main(Settings(), command)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.soak
def test_schema_is_written_and_compared(tmp_path: Path) -> None:
    source = copy_of_sources(tmp_path / "source")
    file = source / "schema.graphql"
    file.write_text(sdl, "utf-8")
    assert run(tmp_path / "run", "schema", "--check", source=source).code == 0
    file.write_text(sdl.replace("  isPartner: Boolean!\n", "  partner: Boolean!\n"), "utf-8")
    differs = run(tmp_path / "run", "schema", "--check", source=source)
    assert differs.code == 1
    assert differs.out == ""
    shown = differs.err.splitlines()
    assert [line for line in shown if re.match(r"[-+] ", line)] == ["-  partner: Boolean!", "+  isPartner: Boolean!"]
    assert shown[-1] == "schema.graphql is not what the code says: run `make schema`."
    assert run(tmp_path / "run", "schema", source=source) == Outcome(0, "", "", [])
    assert file.read_text("utf-8") == sdl


async def test_database_goes_up_and_down_and_is_compared(here: Here, database: str) -> None:
    async def db(*command: str) -> tuple[int, str]:
        outcome = await here("db", *command, database_url=database)
        return outcome.code, outcome.out + outcome.err

    fits, newest = "The database is what the code expects.\n", f"The database is at migration {HEAD}, the newest.\n"
    behind = f"the database is at migration none, the code expects {HEAD}: run `python -m app db upgrade`\n"
    assert await db("check") == (78, behind)
    assert await db("upgrade") == (0, newest)
    assert await db("check") == (0, fits)
    await execute(database, "ALTER TABLE users ADD COLUMN shoe_size integer")
    code, complaint = await db("check")
    assert code == 78
    assert complaint.startswith("the tables differ from the migrations: ")
    assert "shoe_size" in complaint
    await execute(database, "ALTER TABLE users DROP COLUMN shoe_size")
    assert await db("check") == (0, fits)
    assert await db("revision", "nothing") == (
        0,
        "The database is what the code expects: there is nothing to write.\n",
    )
    assert await db("downgrade", "0000") == (78, "Can't locate revision identified by '0000'\n")
    assert await db("downgrade", "-1") == (0, f"The database is at migration {BEFORE}.\n")
    assert await db("downgrade", "base") == (0, "The database is at no migration: it is empty.\n")
    assert await db("check") == (78, behind)
    assert await db("upgrade") == (0, newest)
    assert await db("check") == (0, fits)


async def test_check_without_a_database_makes_one_for_it(here: Here, tmp_path: Path) -> None:
    outcome = await here("db", "check", data_dir=tmp_path / "data")
    assert (outcome.code, outcome.out) == (
        0,
        (
            "The migrations build what the code expects, and can be taken back: tried on an empty database, since "
            "DATABASE_URL is not set.\n"
        ),
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.soak
def test_revision_is_written_from_a_difference(tmp_path: Path) -> None:
    source = copy_of_sources(tmp_path / "source")
    user = source / "models" / "user.py"
    user.write_text(
        user.read_text("utf-8").replace("    username: ", "    shoe_size: Mapped[int | None]\n    username: ")
    )
    assert run(tmp_path / "run", "db", "upgrade", source=source).code == 0
    before = set(source.glob("models/migrations/versions/*.py"))
    outcome = run(tmp_path / "run", "db", "revision", "shoes", source=source)
    (written,) = set(source.glob("models/migrations/versions/*.py")) - before
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, f"Written: {written}")
    assert "shoe_size" in written.read_text("utf-8")


async def test_downgrade_is_refused_beside_a_server(here: Here, served: Served) -> None:
    sentence = (
        f"StreamCat already runs on {served.data} (process {served.process.pid}, {served.running['url']}); "
        "stop it, or set DATA_DIR to another directory."
    )
    assert await here("db", "downgrade", "base", data_dir=served.data) == Outcome(75, "", f"{sentence}\n", [sentence])
    assert ask(served.running["url"], DEMO)["channel"]["provisioning"] == "READY"


@pytest.mark.parametrize("command", [["upgrade"], ["check"], ["downgrade", "base"]])
async def test_database_that_does_not_answer_is_one_sentence(here: Here, database: str, command: list[str]) -> None:
    wrong = make_url(database).set(password="hunter2")
    sentence = (
        f"The database at {wrong.host}:{wrong.port} does not answer: "
        'password authentication failed for user "streamcat"; correct DATABASE_URL, or that server.'
    )
    given = wrong.render_as_string(hide_password=False)
    assert await here("db", *command, database_url=given) == Outcome(69, "", f"{sentence}\n", [sentence])


async def test_server_refuses_a_database_that_is_not_ready_for_it(tmp_path: Path, database: str) -> None:
    """Production: everything is set, so nothing is started or kept here."""
    production = {"SECRET_KEY": KEY, "EVENTS_QUEUE_URL": "http://127.0.0.1:1/queue", "AWS_REGION": "us-east-1"}
    unmigrated, absent = await asyncio.gather(
        asyncio.to_thread(run, tmp_path / "a", "serve", DATABASE_URL=database, PORT="0", **production),
        asyncio.to_thread(
            run, tmp_path / "b", "serve", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x", PORT="0", **production
        ),
    )
    sentence = f"The database is at migration none, the code expects {HEAD}: run `python -m app db upgrade`."
    assert unmigrated == Outcome(78, "", f"{sentence}\n", [sentence])
    sentence = (
        "The database at 127.0.0.1:1 does not answer: [Errno 111] Connection refused; "
        "correct DATABASE_URL, or that server."
    )
    assert absent == Outcome(69, "", f"{sentence}\n", [sentence])
    assert not (tmp_path / "a" / ".data").exists()


async def test_doctor_without_a_server(here: Here, tmp_path: Path) -> None:
    outcome = await here("doctor", data_dir=tmp_path)
    assert (outcome.code, outcome.out.splitlines()) == (
        0,
        [
            "database     ok       embedded, not running",
            "migrations   ok       run at the next start",
            f"secret key   ok       none in {tmp_path} yet; the next start makes one",
            "Amazon IVS   ok       emulated, not running",
            "event queue  ok       the emulator's",
            "chat log     ok       the emulator's",
        ],
    )


async def test_doctor_beside_a_server(here: Here, served: Served) -> None:
    outcome = await here("doctor", data_dir=served.data)
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert re.fullmatch(r"database     ok       PostgreSQL 18\.\d+", lines[0])
    assert lines[1:] == [
        "migrations   ok       the database is what the code expects",
        f"secret key   ok       generated, in {served.data}; set SECRET_KEY where several machines serve",
        "Amazon IVS   ok       answers in us-east-1 (emulated)",
        "event queue  ok       the emulator's",
        "chat log     ok       the emulator's",
    ]


@pytest.mark.soak
def test_doctor_tries_the_secret_key(tmp_path: Path, served: Served) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret_key").write_text("k" * 64, "ascii")
    database = {"DATABASE_URL": served.running["database_url"], "DATA_DIR": str(tmp_path / "data")}
    line = "secret key   PROBLEM  the stream keys in the database were encrypted with another one"
    for wrong in ({}, {"SECRET_KEY": KEY}):
        outcome = run(tmp_path, "doctor", **database, **wrong)
        assert (outcome.code, outcome.out.splitlines()[2]) == (1, line)
    right = f"{KEY},{(served.data / 'secret_key').read_text('ascii')}"
    outcome = run(tmp_path, "doctor", **database, SECRET_KEY=right)
    assert (outcome.code, outcome.out.splitlines()[2]) == (0, "secret key   ok       2 set")


def test_doctor_of_a_broken_installation(tmp_path: Path, served: Served) -> None:
    emulator = served.running["emulator_url"]
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    queue = f"{emulator}/123456789012/streamcat-events-dead"
    outcome = run(
        tmp_path,
        "doctor",
        DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x",
        SECRET_KEY=f"{KEY},{KEY}",
        EVENTS_QUEUE_URL=queue,
        AWS_ENDPOINT_URL=emulator,
        CHAT_LOGGING_CONFIGURATION_ARN="arn:aws:ivschat:us-east-1:123456789012:logging-configuration/none",
        **keys,
    )
    assert (outcome.code, outcome.err) == (1, "")
    assert [line.replace("Connect call failed ('127.0.0.1', 1)", "refused") for line in outcome.out.splitlines()] == [
        (
            "database     PROBLEM  The database at 127.0.0.1:1 does not answer: [Errno 111] refused; "
            "correct DATABASE_URL, or that server."
        ),
        (
            "migrations   PROBLEM  The database at 127.0.0.1:1 does not answer: [Errno 111] refused; "
            "correct DATABASE_URL, or that server."
        ),
        "secret key   ok       2 set",
        "Amazon IVS   ok       answers in us-east-1",
        "event queue  PROBLEM  the queue has no dead-letter queue: run `python -m app events setup`",
        (
            "chat log     PROBLEM  ivschat.get_logging_configuration: ResourceNotFoundException: Resource: "
            "arn:aws:ivschat:us-east-1:123456789012:logging-configuration/none not found"
        ),
    ]


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        (["nobody"], 69, "The emulated AWS has no channel of a user nobody."),
        *((["demo", "--minutes", minutes], 78, NUMBERS) for minutes in ("0", "-1", "nan", "inf", "2881")),
        (["demo", "--viewers", "-1"], 78, NUMBERS),
    ],
)
async def test_simulate_refuses(here: Here, served: Served, command: list[str], code: int, sentence: str) -> None:
    assert await here("simulate", "live", *command, data_dir=served.data) == Outcome(
        code, "", f"{sentence}\n", [sentence]
    )


async def test_setup_without_credentials_says_what_to_set(tmp_path: Path) -> None:
    sentence = (
        "AWS credentials are missing; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the "
        "environment or in .env."
    )
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    assert run(tmp_path, "events", "setup", **nowhere) == Outcome(78, "", f"{sentence}\n", [sentence])


async def test_simulate_needs_a_running_stack(here: Here, tmp_path: Path) -> None:
    sentence = f"No StreamCat with an emulated AWS runs on {tmp_path}: start it with `make run`."
    assert await here("simulate", "live", "demo", data_dir=tmp_path) == Outcome(69, "", f"{sentence}\n", [sentence])


@pytest.mark.soak
async def test_simulate_ends_the_stream_at_ctrl_c(here: Here, served: Served, tmp_path: Path) -> None:
    for _ in range(2):
        with Program(tmp_path, "simulate", "live", "Demo", "--viewers", "3", DATA_DIR=str(served.data)) as encoder:
            encoder.says("Live for 5 minutes, with up to 3 viewers. Ctrl-C ends it.\n")
            second = await here("simulate", "live", "demo", data_dir=served.data)
            assert second == Outcome(69, "", "demo is already live.\n", ["demo is already live."])
            assert encoder.stop() == 130
            assert encoder.out.splitlines()[-1] == "Demo's stream was interrupted and has ended."
            assert encoder.err == ""


@pytest.mark.soak
def test_worker_beside_the_server_delivers_events(served: Served, tmp_path: Path) -> None:
    """Two processes as in production: one serves, one consumes the queue that `events setup` names."""
    running = served.running
    dotenv = f"AWS_ENDPOINT_URL={running['emulator_url']}\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n"
    (tmp_path / ".env").write_text(dotenv, "utf-8")
    setups = [run(tmp_path, "events", "setup") for _ in range(2)]
    queue = f"EVENTS_QUEUE_URL={running['emulator_url']}/123456789012/streamcat-events"
    assert setups == [Outcome(0, f"{queue}\n", "", [])] * 2

    environment = {
        "DATABASE_URL": running["database_url"],
        "SECRET_KEY": (served.data / "secret_key").read_text("ascii"),
        "EVENTS_QUEUE_URL": queue.partition("=")[2],
    }
    with Program(tmp_path, "simulate", "live", "demo", DATA_DIR=str(served.data)) as encoder:
        encoder.says("Live for 5 minutes")
        waiting = re.search(r"event queue  ok       (\d+) events waiting", run(tmp_path, "doctor", **environment).out)
        assert waiting
        assert int(waiting[1]) >= 2
        assert ask(running["url"], DEMO)["channel"] == {
            "isLive": False,
            "provisioning": "READY",
            "currentStream": None,
        }
        with Program(tmp_path, "worker", **environment) as worker:
            worker.says("worker ready\n")
            until(lambda: ask(running["url"], DEMO)["channel"]["isLive"], "the channel is live")
            assert ask(running["url"], DEMO)["channel"]["currentStream"] == {"state": "LIVE"}
            assert encoder.stop() == 130
            until(lambda: not ask(running["url"], DEMO)["channel"]["isLive"], "the channel is offline")
            assert worker.stop(signal.SIGTERM) == 0
            assert (worker.out, worker.complaints) == ("worker ready\n", [])


@pytest.mark.soak
def test_worker_of_an_embedded_installation_is_the_server_itself(served: Served, tmp_path: Path) -> None:
    sentence = (
        f"StreamCat already runs on {served.data} (process {served.process.pid}, {served.running['url']}); "
        "stop it, or set DATA_DIR to another directory."
    )
    assert run(tmp_path, "worker", DATA_DIR=str(served.data)) == Outcome(75, "", f"{sentence}\n", [sentence])
