"""Follows the README's tour: does what each marked block says, and holds what comes back against what is shown."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import pytest
import websockets.sync.client
from websockets.typing import Subprotocol

from tests.javascript import NODE
from tests.program import ROOT, Served
from tests.waiting import until

EVENT_SECONDS = 30.0
_BLOCK = re.compile(r"<!-- tour: (\S+) -->(?:\n```(\w+)\n(.*?)\n```)?", re.DOTALL)


class Step(NamedTuple):
    """A marked block: what to do with it, its language and its text."""

    action: str
    language: str
    text: str


def steps(readme: str) -> list[Step]:
    return [Step(action, language or "", text or "") for action, language, text in _BLOCK.findall(readme)]


def fits(shown: Any, given: Any) -> bool:
    """Whether an answer is as shown; a text that is shown with `…` at its end may go on in any way."""
    if isinstance(shown, dict) and isinstance(given, dict):
        return list(shown) == list(given) and all(fits(shown[name], given[name]) for name in shown)
    if isinstance(shown, list) and isinstance(given, list):
        return len(shown) == len(given) and all(map(fits, shown, given))
    if isinstance(shown, str) and isinstance(given, str) and shown.endswith("…"):
        return given.startswith(shown[:-1])
    return type(shown) is type(given) and bool(shown == given)


class Tour:
    """One walk. The browser is a client that keeps cookies, the second terminal a shell beside the server."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._served = served
        self._folder = folder
        self._url = served.ready()
        self._ends = ExitStack()
        self._browser = self._ends.enter_context(httpx.Client(base_url=self._url, timeout=30))
        self._document = ""
        self._answer: Any = None
        self._ids: list[str] = []
        self._output = ""
        self._shells: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for shell in self._shells:
            if shell.poll() is None:
                shell.send_signal(signal.SIGINT)
                shell.wait(30)
        self._ends.close()

    def take(self, step: Step) -> None:
        """Do one step."""
        getattr(self, f"do_{step.action.replace('-', '_')}")(step.text)

    def do_banner(self, text: str) -> None:
        python = os.path.relpath(sys.executable, self._served.folder)
        shown = text.replace("http://127.0.0.1:8000", self._url).replace(".venv/bin/python", python)
        assert f"{shown}\n" == self._served.out

    def do_query(self, document: str, variables: dict[str, str] | None = None) -> None:
        self._document = document
        self._answer = self._browser.post("/graphql", json={"query": document, "variables": variables}).json()
        self._ids += re.findall(r'"id": "([^"]+)"', json.dumps(self._answer))

    def do_answer(self, shown: str) -> None:
        assert fits(json.loads(shown), self._answer), json.dumps(self._answer, indent=2)

    def do_next(self, shown: str) -> None:
        (cursor,) = re.findall(r'"endCursor": "([^"]+)"', json.dumps(self._answer))
        self.do_query(self._document, {"after": cursor})
        self.do_answer(shown)

    def do_subscribe(self, document: str) -> None:
        address = re.sub("^http", "ws", self._url) + "/graphql"
        cookies = "; ".join(f"{name}={value}" for name, value in self._browser.cookies.items())
        self._socket = self._ends.enter_context(
            websockets.sync.client.connect(
                address,
                subprotocols=[Subprotocol("graphql-transport-ws")],
                additional_headers={"cookie": cookies} if cookies else None,
            )
        )
        self._socket.send('{"type": "connection_init"}')
        assert json.loads(self._socket.recv(10)) == {"type": "connection_ack"}
        payload = {"query": document, "variables": {"channelId": self._ids[-1]}}
        self._socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))

    def do_event(self, text: str) -> None:
        shown, seen = json.loads(text), []
        # Changes that the page does not show, such as the encoder's connection, come as events too.
        while not seen or not fits(shown, seen[-1]):
            message = json.loads(self._socket.recv(EVENT_SECONDS))
            assert message["type"] == "next", message
            seen.append(message["payload"])

    def _shell(self, text: str) -> str:
        return text.replace("http://127.0.0.1:8000", self._url).replace(".venv/bin/python", shlex.quote(sys.executable))

    @property
    def _environment(self) -> dict[str, str]:
        folder = self._folder / "bin"
        if shutil.which("curl") is None and not folder.exists():
            folder.mkdir()
            (folder / "curl").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/curl.py"} "$@"\n', "utf-8")
            (folder / "curl").chmod(0o755)
        return {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(self._served.data),
            "HOME": str(self._folder),
        }

    def _open(self, command: list[str], name: str) -> Path:
        output = self._folder / name
        with output.open("wb") as stream:
            self._shells.append(
                subprocess.Popen(
                    command, cwd=self._folder, env=self._environment, stdout=stream, stderr=subprocess.STDOUT
                )
            )
        return output

    def do_start(self, text: str) -> None:
        self._simulate = f"exec {self._shell(text)}"
        self._open(["sh", "-c", self._simulate], "simulate.log")

    def do_ctrl_c(self, _text: str) -> None:
        self._shells[-1].send_signal(signal.SIGINT)
        assert self._shells[-1].wait(30) == 130

    def do_run(self, text: str) -> None:
        done = subprocess.run(
            ["sh", "-eu", "-c", self._shell(text)],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        self._output = done.stdout

    def do_output(self, shown: str) -> None:
        # curl adds no line break to an answer; a terminal's prompt does not mind.
        assert self._output.replace("}{", "}\n{").strip() == shown

    def do_script(self, text: str) -> None:
        modules = ROOT / "web" / "node_modules"
        if not (modules / "graphql-ws").is_dir():
            pytest.fail("the JavaScript clients are not installed: run `make install`")
        web = self._folder / "web"
        web.mkdir()
        (web / "node_modules").symlink_to(modules)
        (web / "watch.mjs").write_text(text.replace("127.0.0.1:8000", self._url.removeprefix("http://")), "utf-8")

    def do_watch(self, text: str) -> None:
        program, *arguments = shlex.split(text)
        assert program == ".venv/bin/node"
        output = self._open([str(NODE), *arguments], "watch.log")
        until(lambda: output.read_text("utf-8") == "demo is offline\n", "the script has printed the present state")
        self._open(["sh", "-c", self._simulate], "simulate.log")
        until(lambda: output.read_text("utf-8").endswith("demo is live\n"), "the script has printed the change")
        assert set(output.read_text("utf-8").splitlines()) == {"demo is offline", "demo is live"}
        self.do_ctrl_c("")
        until(lambda: output.read_text("utf-8").endswith("live\ndemo is offline\n"), "the script has printed the end")
