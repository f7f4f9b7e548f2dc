"""`serve --processes N`: several processes behind one address, and the one that looks after them."""

import asyncio
import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from server import commands
from server.runtime import Resolved
from server.settings import Settings
from tests.client import PASSWORD, REGISTER, unique
from tests.event_stream import EVENT_STREAM
from tests.killing import environment_of, serve
from tests.program import Program, Served, ask
from tests.waiting import until

TWO = ("--processes", "2")
WATCH = "subscription ($id: ID!) { channelChanged(channelId: $id) { channel { title } } }"
RETITLE = """
mutation ($input: ChannelUpdateInput!) { channelUpdate(input: $input) { channel { title } errors { __typename } } }
"""
SECONDS = 20.0


def serving(program: Program) -> list[psutil.Process]:
    """The processes that serve, or are about to."""
    children = psutil.Process(program.process.pid).children()
    return [child for child in children if "--inherited" in " ".join(child.cmdline())]


def pids(program: Program) -> set[int]:
    return {process.pid for process in serving(program)}


class Kept:
    """A connection that is kept, and so leads to one process."""

    def __init__(self, url: str, program: Program) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
        self._connection.request("GET", "/healthz")
        assert json.load(self._connection.getresponse()) == {"status": "ok"}
        port = self._connection.sock.getsockname()[1]
        self.pid = next(
            process.pid
            for process in serving(program)
            if any(end.raddr and end.raddr.port == port for end in process.net_connections())
        )

    def get(self, path: str, **headers: str) -> str:
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse().read().decode()

    def post(self, document: str, variables: dict[str, Any], **headers: str) -> http.client.HTTPResponse:
        body = json.dumps({"query": document, "variables": variables})
        self._connection.request("POST", "/graphql", body, {"content-type": "application/json", **headers})
        return self._connection.getresponse()

    def data(self, document: str, variables: dict[str, Any], token: str) -> Any:
        return json.load(self.post(document, variables, authorization=f"Bearer {token}"))["data"]

    def titles(self, channel_id: str) -> Iterator[str]:
        """Watch the channel; the connection is good for nothing else any more."""
        response = self.post(WATCH, {"id": channel_id}, accept=EVENT_STREAM)
        while line := response.readline():
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))["data"]["channelChanged"]["channel"]["title"]

    def close(self) -> None:
        self._connection.close()


@contextmanager
def connected(url: str, program: Program) -> Iterator[Callable[[int], Kept]]:
    """The way to a new connection to the process of that number."""
    kept: list[Kept] = []

    def to(pid: int) -> Kept:
        def reached() -> bool:
            kept.append(Kept(url, program))
            return kept[-1].pid == pid

        until(reached, f"a connection to process {pid}")
        return kept[-1]

    yield to
    for each in kept:
        each.close()


def registered(url: str) -> tuple[str, str, str]:
    """Return name, token and channel of a new user."""
    name = unique("many")
    payload = ask(url, REGISTER, {"input": {"username": name, "password": PASSWORD}})["userRegister"]
    assert payload["errors"] == []
    return name, payload["token"], payload["user"]["channel"]["id"]


def renamed(door: Kept, token: str, channel_id: str, title: str) -> None:
    payload = door.data(RETITLE, {"input": {"channelId": channel_id, "title": title}}, token)["channelUpdate"]
    assert payload == {"channel": {"title": title}, "errors": []}


def metric(url: str, sample: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)


async def test_what_one_process_writes_the_other_s_subscribers_hear(tmp_path: Path, resolved: Resolved) -> None:
    async with serve(tmp_path, resolved, *TWO) as (url, program):
        one, two = sorted(pids(program))
        name, token, channel_id = registered(url)
        with connected(url, program) as to:
            doors = {pid: to(pid) for pid in (one, two)}
            heard = {pid: to(pid).titles(channel_id) for pid in (one, two)}
            assert [next(titles) for titles in heard.values()] == [f"{name}'s channel"] * 2
            for writer in (one, two):
                renamed(doors[writer], token, channel_id, f"from {writer}")
                assert [next(titles) for titles in heard.values()] == [f"from {writer}"] * 2
            # Whichever is asked tells of both.
            for door in doors.values():
                text = door.get("/metrics")
                assert "\nstreamcat_sockets 2.0\n" in text
                assert "\nstreamcat_subscription_runs 2.0\n" in text
        assert await asyncio.to_thread(program.stop, signal.SIGTERM) == 0
        assert (program.survivors(), program.complaints) == ([], [])
        with pytest.raises(ConnectionRefusedError):
            Kept(url, program)


async def test_a_process_that_is_killed_comes_back(tmp_path: Path, resolved: Resolved) -> None:
    async with serve(tmp_path, resolved, *TWO) as (url, program):
        lost, left = sorted(pids(program))
        _, _, channel_id = registered(url)
        with connected(url, program) as to:
            titles = to(lost).titles(channel_id)
            next(titles)
            assert metric(url, "streamcat_sockets") == 1
            os.kill(lost, signal.SIGKILL)
            assert list(titles) == []
            until(lambda: len(pids(program) - {lost}) == 2, "there are two again")
            (fresh,) = pids(program) - {lost, left}
            next(to(fresh).titles(channel_id))
        # What the lost one had in hand is not counted any more.
        until(lambda: metric(url, "streamcat_sockets") == 0, "no socket is counted")
        assert f"process {lost} has ended with -9; another begins in " in program.err
        assert await asyncio.to_thread(program.stop, signal.SIGTERM) == 0
        assert program.survivors() == []


@pytest.mark.soak
async def test_hang_up_replaces_them_and_no_request_is_lost(tmp_path: Path, resolved: Resolved) -> None:
    async with serve(tmp_path, resolved, *TWO) as (url, program):
        old = pids(program)
        program.send(signal.SIGHUP)

        def replaced() -> bool:
            assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
            now = pids(program)
            assert len(now) >= 2
            return len(now) == 2 and not now & old

        until(replaced, "both are others", 60)
        assert "WARNING server.processes" not in program.err
        assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
        assert (program.survivors(), program.complaints) == ([], [])


async def test_processes_that_cannot_start_end_all_with_their_code(tmp_path: Path, resolved: Resolved) -> None:
    environment = environment_of(resolved, bus_url="redis://127.0.0.1:1")
    with Program(tmp_path, "serve", *TWO, **environment) as program:
        assert await asyncio.to_thread(program.wait, 60) == 69
        (sentence,) = set(program.complaints)
        assert sentence.endswith("; correct BUS_URL, or unset it to use the database.")
        assert program.out == ""


@pytest.mark.soak
async def test_who_looks_after_them_takes_them_along(tmp_path: Path, resolved: Resolved) -> None:
    async with serve(tmp_path, resolved, *TWO) as (_, program):
        program.send(signal.SIGKILL)
        assert await asyncio.to_thread(program.wait) == -signal.SIGKILL
        until(lambda: program.survivors() == [], "every process has ended")


@pytest.mark.parametrize("count", ["0", "65", "two"])
def test_numbers_that_are_none(capsys: pytest.CaptureFixture[str], count: str) -> None:
    with pytest.raises(SystemExit):
        commands.main(Settings(), ["serve", "--processes", count])
    assert "argument --processes: " in capsys.readouterr().err


@pytest.mark.soak
def test_the_stand_ins_are_started_once(tmp_path: Path) -> None:
    with Served(tmp_path, *TWO) as served:
        url = served.ready()
        assert len(serving(served)) == 2
        assert served.running["pid"] == served.process.pid
        served.child("postgres")
        served.child("ivs.emulator")
        # Either knows the demo user, whom the page's examples are about; and one of them runs the jobs.
        _, token, channel_id = registered(url)
        demo = ask(url, '{ channel(by: { name: "demo" }) { id } }')["channel"]["id"]
        with connected(url, served) as to:
            for pid in pids(served):
                door = to(pid)
                assert demo in door.get("/graphql", accept="text/html")
                renamed(door, token, channel_id, f"by {pid}")
        with Program(tmp_path, "simulate", "live", "demo", DATA_DIR=str(served.data)) as encoder:
            encoder.says("Live for 5 minutes")
            live = '{ channel(by: { name: "demo" }) { isLive } }'
            until(lambda: ask(url, live)["channel"]["isLive"], "the channel is live")
        assert served.stop(signal.SIGTERM) == 0
        assert (served.survivors(), served.complaints) == ([], [])
        assert not (served.data / "run.json").exists()
