"""Counters for operators: of this process, or of all that serve together, which count in files beside each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

# Read by the library when it is imported.
_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared() -> Iterator[dict[str, str]]:
    """Yield the environment in which processes count together, for as long as the block runs."""
    with TemporaryDirectory(prefix="streamcat-counters-") as folder:
        yield {_VARIABLE: folder}


def forget(environment: dict[str, str], pid: int) -> None:
    """Take what a process had in hand when it ended out of the gauges. What it has counted stays."""
    mark_process_dead(pid, environment[_VARIABLE])  # type: ignore[no-untyped-call]


def shown() -> bytes:
    """Return all counters, in the form that Prometheus reads."""
    if _VARIABLE not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
