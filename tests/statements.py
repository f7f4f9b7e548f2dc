"""Counting SQL: exactly, and without what the background does meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from server.runtime import Runtime


@contextmanager
def captured(runtime: Runtime) -> Iterator[list[str]]:
    """Collect the statements that the server's engines execute while the block runs.

    The server must have been started with `worker=False` and a long bus heartbeat, or theirs are among them.
    """
    services = runtime.services
    engines = [sessions.kw["bind"].sync_engine for sessions in (services.sessions, services.read_sessions)]
    statements: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", record)
