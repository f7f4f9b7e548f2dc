"""Follows a page of `docs/` as `tests.tour` follows the README, with what only those pages do: many scripts at once."""

import json
import shlex
import signal
import subprocess
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.javascript import NODE
from tests.program import ROOT, Served
from tests.tour import Step, Tour, fits, steps
from tests.waiting import until

MARKED_FILE = "file:"
PRINTS_SECONDS = 60.0


def walk(page: str) -> list[Step]:
    """The steps of a page. Several marks above one block all mean that block."""
    found: list[Step] = []
    for step in reversed(steps(page)):
        shared = found[-1].text if found and step.action.startswith("prints:") and not step.text else step.text
        found.append(Step(step.action, step.language, shared))
    return found[::-1]


def scripts(page: str) -> dict[str, str]:
    """The page's files by name."""
    found = {
        step.action.removeprefix(MARKED_FILE): step.text for step in walk(page) if step.action.startswith(MARKED_FILE)
    }
    for name, text in found.items():
        assert text.startswith(f"// web/{name}\n"), name
    return found


def write_scripts(folder: Path, files: dict[str, str], address: str) -> None:
    """Save the files below the folder as a reader saves them below the checkout."""
    modules = ROOT / "web" / "node_modules"
    if not (modules / "@apollo").is_dir():
        pytest.fail("the JavaScript clients are not installed: run `make install`")
    web = folder / "web"
    if not web.exists():
        web.mkdir()
        (web / "node_modules").symlink_to(modules)
        (folder / "schema.graphql").symlink_to(ROOT / "schema.graphql")
    for name, text in files.items():
        (web / name).write_text(text.replace("127.0.0.1:8000", address), "utf-8")


def _told(lines: list[str]) -> list[str]:
    """What a script has told: who subscribes anew, as after a restart, hears the present state again."""
    return [line for line, _ in groupby(lines)]


class Page(Tour):
    """One walk along a page. Actions may have an argument, as in `file:NAME`."""

    def __init__(self, served: Served, folder: Path) -> None:
        super().__init__(served, folder)
        self._variables: dict[str, str] | None = None
        self._sent: dict[str, str] | None = None
        self._outputs: dict[str, Path] = {}
        self._wanted: dict[str, list[str]] = {}
        self._watches: dict[str, subprocess.Popen[bytes]] = {}

    def take(self, step: Step) -> None:
        action, _, argument = step.action.partition(":")
        if argument:
            getattr(self, f"do_{action}")(argument, step.text)
        else:
            super().take(step)

    def finish(self) -> None:
        """No script has printed more than the page shows."""
        for name, wanted in self._wanted.items():
            assert _told(self._lines(name)) == _told(wanted), name

    def _shell(self, text: str) -> str:
        return super()._shell(text).replace(".venv/bin/node", shlex.quote(str(NODE)))

    def _lines(self, name: str) -> list[str]:
        return self._outputs[name].read_text("utf-8").splitlines()

    def do_variables(self, text: str) -> None:
        """Variables of the next query; each `…` is one of the last ids that were answered, in their order."""
        count = text.count("…")
        for known in self._ids[-count:]:
            text = text.replace("…", known, 1)
        self._variables = json.loads(text)

    def do_query(self, document: str, variables: dict[str, str] | None = None) -> None:
        self._sent = variables or self._variables
        super().do_query(document, self._sent)
        self._variables = None

    def do_becomes(self, shown: str) -> None:
        """The answer, when the query is sent again and again."""
        document, wanted = self._document, json.loads(shown)
        variables = self._sent

        def comes() -> bool:
            self.do_query(document, variables)
            return fits(wanted, self._answer)

        until(comes, f"{document} becomes {shown}", PRINTS_SECONDS)

    def do_file(self, name: str, text: str) -> None:
        write_scripts(self._folder, {name: text}, self._url.removeprefix("http://"))

    def do_saved(self, page: str, _text: str = "") -> None:
        """The scripts of another page."""
        files = scripts((ROOT / "docs" / f"{page}.md").read_text("utf-8"))
        write_scripts(self._folder, files, self._url.removeprefix("http://"))

    def do_output(self, shown: str) -> None:
        wanted, given = shown.splitlines(), self._output.strip("\n").splitlines()
        assert len(wanted) == len(given), self._output
        assert all(map(fits, wanted, given)), self._output

    def do_watch(self, name: str, text: str = "") -> None:
        self._outputs[name] = self._open(["sh", "-c", f"exec {self._shell(text)}"], f"{name}.log")
        self._wanted[name] = []
        self._watches[name] = self._shells[-1]

    def do_stop(self, name: str, _text: str = "") -> None:
        """Ctrl-C in the terminal of a script."""
        process = self._watches.pop(name)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        self._shells.remove(process)

    def do_prints(self, name: str, shown: str) -> None:
        """These lines come, and no others have come before."""
        wanted = self._wanted[name] = self._wanted[name] + shown.splitlines()
        until(
            lambda: len(self._lines(name)) >= len(wanted) and _told(self._lines(name)) == _told(wanted),
            f"{name} has printed {wanted}; see {self._outputs[name]}",
            PRINTS_SECONDS,
        )

    def do_restart(self, text: str) -> None:
        assert text == "make run"
        assert self._served.stop() == 0
        port = str(urlsplit(self._url).port)
        self._served = self._ends.enter_context(Served(self._served.folder, PORT=port))
        assert self._served.ready() == self._url
