"""`python -m app serve` from its banner to its last process, as a process of its own."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
import websockets.sync.client
from websockets.typing import Subprotocol

from tests.cases import few
from tests.client import PASSWORD, REGISTER
from tests.program import ROOT, Outcome, Program, Served, ask, copy_of_sources, run
from tests.waiting import until

SIGN_IN = """
mutation ($input: SessionCreateInput!) {
  sessionCreate(input: $input) { token errors { __typename } }
}
"""
MINE = "{ viewer { channel { id provisioning isLive broadcast { streamKey } } } }"
IS_LIVE = "query ($name: String!) { channel(by: { name: $name }) { isLive } }"
WATCH = "subscription ($id: ID!) { channelChanged(channelId: $id) { channel { isLive } } }"


def credentials(username: str) -> dict[str, Any]:
    return {"input": {"username": username, "password": PASSWORD}}


def gone(family: Callable[[], list[psutil.Process]]) -> None:
    until(lambda: family() == [], "every process it started has ended")


@contextmanager
def watching(url: str, token: str, channel_id: str) -> Iterator[None]:
    """A subscriber that has got the present state."""
    address = f"{url.replace('http', 'ws')}/graphql"
    with websockets.sync.client.connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as watch:
        watch.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}))
        assert json.loads(watch.recv(10)) == {"type": "connection_ack"}
        payload = {"query": WATCH, "variables": {"id": channel_id}}
        watch.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        assert json.loads(watch.recv(10))["payload"] == {"data": {"channelChanged": {"channel": {"isLive": False}}}}
        yield


@contextmanager
def stuck(url: str, database: str) -> Iterator[None]:
    """A client whose question PostgreSQL has in hand, since somebody holds what it needs."""

    def wait_for_ever() -> None:
        with suppress(httpx.TransportError, AssertionError):
            ask(url, SIGN_IN, credentials("nobody"))

    client = threading.Thread(target=wait_for_ever)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with asyncio.Runner() as runner:
        holder = runner.run(asyncpg.connect(database))
        try:
            runner.run(holder.execute("BEGIN; LOCK TABLE users"))
            client.start()
            until(lambda: runner.run(holder.fetchval(waiting)) > 0, "the question waits")
            yield
        finally:
            holder.terminate()
    client.join()


def test_banner_and_a_clean_end(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        url = served.ready()
        assert url == f"http://127.0.0.1:{url.rpartition(':')[2]}"
        assert served.out == (
            f"\n  StreamCat GraphQL   {url}/graphql\n"
            "  demo user           demo, password streamcat-demo\n"
            f"  go live             {os.path.relpath(sys.executable, tmp_path)} -m app simulate live demo\n"
            "  stop                Ctrl-C\n\n"
        )
        assert [line.partition("INFO    ")[2] for line in served.err.splitlines()] == [
            f"server.stack: DATABASE_URL is unset: running a PostgreSQL of our own under {served.data}/postgres",
            f"server.stack: SECRET_KEY is unset: using the generated one in {served.data}",
            "server.stack: EVENTS_QUEUE_URL is unset: emulating AWS, nothing is created on Amazon",
        ]
        running = served.running
        assert (running["pid"], running["url"]) == (served.process.pid, url)
        assert httpx.get(f"{url}/readyz").json() == {"database": "ok", "bus": "ok", "queue": "ok"}
        assert served.stop() == 0
        assert served.survivors() == []
        assert served.complaints == []
        assert not (served.data / "run.json").exists()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")


@pytest.mark.soak
def test_collector_has_little_to_do_while_it_serves(tmp_path: Path) -> None:
    def rounds() -> int:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(int(float(line.split()[1])) for line in lines if line.startswith("python_gc_collections_total"))

    with Served(tmp_path) as served:
        url = served.ready()
        before = rounds()
        for _ in range(5):
            assert ask(url, "{ __schema { types { fields { name args { name } type { name } } } } }")["__schema"][
                "types"
            ]
        # Python's own thresholds take dozens.
        assert rounds() - before <= 3
        assert served.stop() == 0


def test_second_run_has_the_data_of_the_first(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        url = first.ready()
        registered = ask(url, REGISTER, credentials("Keeper"))["userRegister"]
        assert registered["errors"] == []
        before = ask(url, MINE, token=registered["token"])["viewer"]["channel"]
        assert (before["provisioning"], before["isLive"]) == ("READY", False)
        assert before["broadcast"]["streamKey"].startswith("sk_")
        # As an orchestrator ends it; with Ctrl-C above.
        assert first.stop(signal.SIGTERM) == 0
        assert (first.survivors(), first.complaints) == ([], [])
        assert not (first.data / "run.json").exists()
    with Served(tmp_path) as second:
        url = second.ready()
        token = ask(url, SIGN_IN, credentials("keeper"))["sessionCreate"]["token"]
        assert ask(url, MINE, token=token)["viewer"]["channel"] == before
        assert ask(url, MINE, token=registered["token"])["viewer"]["channel"] == before
        with Program(tmp_path, "simulate", "live", "keeper", DATA_DIR=str(second.data)) as encoder:
            encoder.says("Live for 5 minutes")
            until(lambda: ask(url, IS_LIVE, {"name": "keeper"})["channel"]["isLive"], "the channel is live")
        until(lambda: not ask(url, IS_LIVE, {"name": "keeper"})["channel"]["isLive"], "the channel is offline")


@pytest.mark.soak
def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.logs("running a PostgreSQL of our own")
        until(lambda: bool(psutil.Process(served.process.pid).children()), "something was started")
        assert served.stop() == 130
        gone(served.survivors)
        assert (served.out, served.complaints) == ("", [])
    with Served(tmp_path) as again:
        again.ready()


@pytest.mark.parametrize(
    "moment", few(["server/settings.py"], ["ivs/__init__.py", "models/__init__.py", "server/web.py"])
)
def test_ctrl_c_while_it_is_loaded_is_no_error(tmp_path: Path, moment: str) -> None:
    source = copy_of_sources(tmp_path / "source")
    with (source / moment).open("a", encoding="utf-8") as module:
        module.write("\nimport os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    assert run(tmp_path / "run", "serve", source=source) == Outcome(130, "", "", [])
    assert not (tmp_path / "run" / ".data").exists()


def test_ctrl_c_in_the_moment_of_the_first_process_does_not_hang() -> None:
    code = """
        import subprocess, threading
        from server.embedded.spawn import spawn
        started = threading.Thread.start
        def start(self):
            started(self)
            raise KeyboardInterrupt
        threading.Thread.start = start
        try:
            spawn(["/bin/true"], output=subprocess.DEVNULL)
        except KeyboardInterrupt:
            print("interrupted")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout == "interrupted\n"


@pytest.mark.parametrize("moment", ["making the database", "serving"])
@pytest.mark.soak
def test_killed_server_starts_again(tmp_path: Path, moment: str) -> None:
    with Served(tmp_path) as killed:
        if moment == "serving":
            url = killed.ready()
            ask(url, REGISTER, credentials("keeper"))
        else:
            until(lambda: any(killed.data.glob("postgres.unfinished-*/data/*")), "initdb writes")
        killed.send(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        gone(killed.survivors)
        assert (killed.data / "run.json").exists() is (moment == "serving")
    with Served(tmp_path) as again:
        url = again.ready()
        assert again.complaints == []
        if moment == "serving":
            assert ask(url, SIGN_IN, credentials("keeper"))["sessionCreate"]["errors"] == []


@pytest.mark.parametrize(
    ("part", "name", "log"),
    [("postgres", "embedded PostgreSQL", "postgres/server.log"), ("emulator", "AWS emulator", "emulator.log")],
)
@pytest.mark.soak
def test_killed_part_ends_the_server_with_one_sentence(tmp_path: Path, part: str, name: str, log: str) -> None:
    with Served(tmp_path) as served:
        url = served.ready()
        token = ask(url, REGISTER, credentials("keeper"))["userRegister"]["token"]
        channel = ask(url, MINE, token=token)["viewer"]["channel"]
        with watching(url, token, channel["id"]):
            served.remember()
            served.child(part).kill()
            assert served.wait() == 69
        assert served.complaints == [
            f"The {name} has ended, and StreamCat with it; start again, or see {served.data}/{log}."
        ]
        assert "Traceback" not in served.err
        gone(served.survivors)
        assert not (served.data / "run.json").exists()
    with Served(tmp_path) as again:
        assert ask(again.ready(), MINE, token=token)["viewer"]["channel"] == channel


@pytest.mark.soak
def test_what_is_in_hand_when_postgres_is_killed_is_logged_in_one_line(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        url = served.ready()
        with stuck(url, served.running["database_url"]):
            served.child("postgres").kill()
            assert served.wait() == 69
        assert len(served.complaints) == 1
        assert "database unavailable at ['sessionCreate']: " in served.err
        assert not re.search(r"Traceback|\[SQL|sqlalche|switch to state", served.err)


def refusal(folder: Path, **environment: str) -> tuple[list[str], int]:
    """What `serve` says instead of serving; its standard output must be empty."""
    with Served(folder, **environment) as served:
        code = served.wait(60)
        assert served.out == ""
        assert "Traceback" not in served.err
        return served.complaints, code


def test_second_server_is_refused(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        url = first.ready()
        port = url.rpartition(":")[2]
        sentence = (
            f"StreamCat already runs on {first.data} (process {first.process.pid}, {url}); "
            "stop it, or set DATA_DIR to another directory."
        )
        # Like a second `make run`, which wants the same port, and like one that was given another.
        for wanted in (port, "0"):
            assert refusal(tmp_path, PORT=wanted) == ([sentence], 75)
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
        assert refusal(tmp_path / "elsewhere", PORT=port) == (
            [f"Port {port} on 127.0.0.1 is in use; stop the program that uses it, or set PORT to another number."],
            69,
        )


def test_busy_port_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        assert refusal(tmp_path, PORT=str(port)) == (
            [f"Port {port} on 127.0.0.1 is in use; stop the program that uses it, or set PORT to another number."],
            69,
        )
    assert not (tmp_path / "data").exists()


def test_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROT=8000\n", "utf-8")
    assert refusal(tmp_path) == ([".env sets PROT, which is no setting; did you mean PORT?"], 78)


def test_unacceptable_value_is_refused_without_showing_it(tmp_path: Path) -> None:
    sentence = "SECRET_KEY is not acceptable: expected at least 32 random characters in each key."
    assert refusal(tmp_path, SECRET_KEY="hunter2") == ([sentence], 78)


@pytest.mark.soak
@pytest.mark.parametrize("lost", ["deleted", "another", "set"])
def test_secret_key_that_does_not_fit_the_database_is_refused(tmp_path: Path, lost: str) -> None:
    with Served(tmp_path) as first:
        ask(first.ready(), REGISTER, credentials("keeper"))
        assert first.stop() == 0
        file = first.data / "secret_key"
        key = file.read_text("ascii")
    wrong = {"SECRET_KEY": "k" * 64} if lost == "set" else {}
    sentence = (
        f"The secret key in {file} is missing or is not the one that the stream keys in the database were encrypted "
        "with; put that one back."
    )
    if lost == "set":
        sentence = (
            "SECRET_KEY has not the key that the stream keys in the database were encrypted with; add that one, "
            "behind a comma."
        )
    elif lost == "another":
        file.write_text("k" * 64, "ascii")
    else:
        file.unlink()
    assert refusal(tmp_path, **wrong) == ([sentence], 78)
    # What was not there is not made up.
    assert file.exists() is (lost != "deleted")
    file.write_text(key, "ascii")
    with Served(tmp_path) as again:
        token = ask(again.ready(), SIGN_IN, credentials("keeper"))["sessionCreate"]["token"]
        assert ask(again.ready(), MINE, token=token)["viewer"]["channel"]["broadcast"]["streamKey"].startswith("sk_")


@pytest.mark.soak
def test_secret_key_may_be_replaced_beside_the_old_one(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        first.ready()
        assert first.stop() == 0
        key = (first.data / "secret_key").read_text("ascii")
    with Served(tmp_path, SECRET_KEY=f"{'k' * 64},{key}") as second:
        second.ready()


@pytest.mark.soak
def test_what_the_emulated_aws_has_lost_is_made_anew(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        url = first.ready()
        token = ask(url, REGISTER, credentials("keeper"))["userRegister"]["token"]
        before = ask(url, MINE, token=token)["viewer"]["channel"]
        with Program(tmp_path, "simulate", "live", "keeper", DATA_DIR=str(first.data)) as encoder:
            until(lambda: ask(url, MINE, token=token)["viewer"]["channel"]["isLive"], "the channel is live")
            assert first.stop() == 0
            encoder.wait()
    for file in first.data.glob("emulator.json*"):
        file.unlink()
    with Served(tmp_path) as second:
        url = second.ready()
        second.logs("the emulated AWS has lost 6 resources of the database; they are made anew")

        def channel() -> dict[str, Any]:
            mine: dict[str, Any] = ask(url, MINE, token=token)["viewer"]["channel"]
            return mine

        until(lambda: channel()["provisioning"] == "READY", "the channel is made anew")
        assert (channel()["id"], channel()["isLive"]) == (before["id"], False)
        assert channel()["broadcast"] != before["broadcast"]
        with Program(tmp_path, "simulate", "live", "keeper", DATA_DIR=str(second.data)) as encoder:
            encoder.says("Live for 5 minutes")
            until(lambda: channel()["isLive"], "the channel is live")
        assert second.stop() == 0
    with Served(tmp_path) as third:
        third.ready()
        assert third.complaints == []
        assert "has lost" not in third.err


@pytest.mark.soak
def test_demo_user_is_never_made_on_amazon(tmp_path: Path) -> None:
    with Served(tmp_path / "other", WORKERS="external") as other:
        other.ready()
        emulator = other.running["emulator_url"]
        amazon = {
            "EVENTS_QUEUE_URL": f"{emulator}/123456789012/streamcat-events",
            "AWS_ENDPOINT_URL": emulator,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        with Served(tmp_path, **amazon) as served:
            url = served.ready()
            assert served.out == f"\n  StreamCat GraphQL   {url}/graphql\n  stop                Ctrl-C\n\n"
            assert ask(url, IS_LIVE, {"name": "demo"}) == {"channel": None}


@pytest.mark.soak
def test_embedded_database_with_another_password_says_where_it_is(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        first.ready()
        assert first.stop() == 0
    postgres = first.data / "postgres"
    (postgres / "password").write_text("0" * 48, "ascii")
    assert refusal(tmp_path) == (
        [
            (
                'The embedded database does not answer: password authentication failed for user "streamcat"; '
                f"its log is {postgres}/server.log, and {postgres}/password must be the file that it was made with."
            )
        ],
        69,
    )


def test_half_initialised_data_is_refused(tmp_path: Path) -> None:
    postgres = tmp_path / "data" / "postgres"
    (postgres / "data" / "base").mkdir(parents=True)
    (postgres / "data" / "postgresql.conf").touch()
    assert refusal(tmp_path) == (
        [
            (
                f"{postgres} holds something that is not a complete embedded database; "
                "move it away, or set DATA_DIR to another directory."
            )
        ],
        78,
    )


@pytest.mark.soak
def test_server_without_graphiql_says_how_to_get_it(tmp_path: Path) -> None:
    with Served(tmp_path / "run", source=copy_of_sources(tmp_path / "source")) as served:
        url = served.ready()
        page = httpx.get(f"{url}/graphql", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<code>make install</code>" in page.text
        assert "<li><code>web/node_modules/graphiql/graphiql.min.js</code></li>" in page.text
        assert ask(url, "{ __typename }") == {"__typename": "Query"}
