"""Follows the operator's page: the commands of production, on settings of its own, beside the stand-ins of a server."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text as sql
from sqlalchemy.engine import make_url

from models.engine import create_engine
from server.embedded.binaries import find
from server.settings import Settings
from tests.pages import Page
from tests.program import Served
from tests.waiting import until

SHOWN_QUEUE = "https://sqs.eu-central-1.amazonaws.com"
READY = {"serve": "Ctrl-C", "worker": "worker ready"}
READY_SECONDS = 60.0
POSTGRES = find(None).directory


class Operations(Page):
    """One walk. The page's `.env` is real but for the addresses, which are those of the server's database and AWS."""

    def __init__(self, served: Served, folder: Path) -> None:
        super().__init__(served, folder)
        self._emulator = str(served.running["emulator_url"])
        self._settings: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        served_url = make_url(served.running["database_url"])
        self._database = served_url.set(database=f"operations_{uuid4().hex}")
        self._execute(served_url.render_as_string(hide_password=False), f"CREATE DATABASE {self._database.database}")

    @staticmethod
    def _execute(database_url: str, statement: str) -> None:
        async def execute() -> None:
            engine = create_engine(database_url, pool_size=1, statement_timeout_ms=10_000, name="tests", pooled=False)
            async with engine.connect() as connection:
                await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(sql(statement))
            await engine.dispose()

        asyncio.run(execute())

    def __exit__(self, *error: object) -> None:
        for name in list(self._processes):
            self.do_stop(name)
        super().__exit__(*error)

    def _shell(self, text: str) -> str:
        return super()._shell(text).replace("python -m app", f"{sys.executable} -m app")

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in super()._environment.items() if name != "DATA_DIR"}
        path = f"{POSTGRES}:{inherited['PATH']}"
        # In an installation, the operator's own region and credentials.
        amazon = {"AWS_ENDPOINT_URL": self._emulator, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        return {**inherited, **amazon, "PATH": path, "PORT": "0"}

    def do_env(self, text: str) -> None:
        """Lines of `.env`; each takes the place of an earlier one of the same name."""
        shown = dict(line.split("=", 1) for line in text.splitlines())
        Settings.from_env(shown)
        self._settings |= shown
        real = self._settings | {
            "DATABASE_URL": self._database.render_as_string(hide_password=False),
            "EVENTS_QUEUE_URL": self._settings["EVENTS_QUEUE_URL"].replace(SHOWN_QUEUE, self._emulator),
        }
        (self._folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in real.items()), "utf-8")

    def do_sql(self, text: str) -> None:
        """A statement for psql."""
        self._execute(self._database.render_as_string(hide_password=False), text)

    def do_run(self, text: str) -> None:
        super().do_run(text)
        self._output = self._output.replace(self._emulator, SHOWN_QUEUE)

    def do_serve(self, text: str) -> None:
        self._begin("serve", text)
        found = re.search(r"http://[\d.:]+", self._output)
        assert found, self._output
        self._browser.base_url = self._url = found[0]
        self._output = self._output.replace(found[0], "http://127.0.0.1:8000")

    def do_worker(self, text: str) -> None:
        self._begin("worker", text)

    def _begin(self, name: str, text: str) -> None:
        output, log = self._folder / f"{name}.out", self._folder / f"{name}.log"
        with output.open("wb") as out, log.open("ab") as err:
            process = self._processes[name] = subprocess.Popen(
                ["sh", "-c", f"exec env {self._shell(text)}"],
                cwd=self._folder,
                env=self._environment,
                stdout=out,
                stderr=err,
            )
        said = lambda: READY[name] in output.read_text("utf-8")  # noqa: E731
        until(lambda: said() or process.poll() is not None, f"{name} is ready", READY_SECONDS)
        assert said(), log.read_text("utf-8")
        self._output = output.read_text("utf-8")

    def do_stop(self, name: str, _text: str = "") -> None:
        process = self._processes.pop(name)
        process.terminate()
        assert process.wait(30) == 0
