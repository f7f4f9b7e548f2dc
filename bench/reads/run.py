"""The documents of real clients (`tests/documents/`) over HTTP at 1 and 32 connections, each against two other servers.

(a) `plain` is a plain Strawberry schema with DataLoaders that runs the same document with the same variables over the
same rows; (b) `statement` is the limit: one hand-written SQL statement per document that returns the page's JSON, which
bare uvicorn passes on. All in one run, in turns, each server a process of its own, the load from this one.

What favours the other two: both are told who the viewer is, where ours looks the session up; neither checks limits,
origins or what a client may send; the statements read no stream key, which only code can unseal. First all three must
answer the same.

`DOCUMENTS="home stage" make bench ARGS=reads` runs those alone; with `PLAIN_CACHES=1`, (a) remembers documents that it
has parsed and validated, as ours does.
"""

import json
import os
import statistics
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.reads.answers import compare
from bench.reads.load import Figures, Target, ask, measure, median
from bench.reads.world import PASSWORD, SECRET_KEY, Asked, populate
from bench.served import ROOT, SERVE, free_port, served
from models import migrate
from server.embedded.postgres import EmbeddedPostgres

DOCUMENTS = {file.stem: file.read_text() for file in sorted((ROOT / "tests" / "documents").glob("*.graphql"))}
SIGNED_IN = {"category", "dashboard", "settings", "stage"}
KINDS = ("ours", "plain", "statement")
CONNECTIONS = (1, 32)
ROUNDS = 3
SECONDS = 1.0

SIGN_IN = "mutation ($input: SessionCreateInput!) { sessionCreate(input: $input) { token } }"
HEADINGS = ("document", "at", "server", "req/s", "server ms", "postgres ms", "p50 ms", "p99 ms")
LINE = "{:10} {:>4} {:10} {:>8} {:>10} {:>12} {:>8} {:>8}"

Rounds = Mapping[str, list[Figures]]


async def main() -> None:
    chosen = os.environ.get("DOCUMENTS", "").split() or list(DOCUMENTS)
    assert DOCUMENTS.keys() >= set(chosen), f"DOCUMENTS may name {', '.join(DOCUMENTS)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamcat-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        stack.callback(postgres.stop)
        database_url = postgres.start()
        await migrate.upgrade(database_url)
        asked = await populate(database_url)
        servers = {kind: stack.enter_context(_server(kind, database_url)) for kind in KINDS}
        token = await _sign_in(servers["ours"], asked.username)
        targets = {page: _targets(page, servers, asked, token) for page in chosen}
        for page in chosen:
            await compare(page, targets[page])
        print(f"Medians of {ROUNDS} rounds of {SECONDS:g} s, per number of connections and per request.")
        print(LINE.format(*HEADINGS))
        ratios = []
        for page in chosen:
            for connections in CONNECTIONS:
                rounds = await _rounds(targets[page], connections)
                _print(page, connections, rounds)
                ratios.append(_ratios(page, connections, rounds))
        print(
            "Ours against plain, medians of the rounds' ratios: times the requests per second, times less server CPU."
        )
        print("\n".join(ratios))
        print(f"What ours counted: {_counters(servers['ours'])}")


async def _rounds(targets: Mapping[str, Target], connections: int) -> Rounds:
    found: dict[str, list[Figures]] = {kind: [] for kind in targets}
    for _ in range(ROUNDS):
        for kind, target in targets.items():
            found[kind].append(await measure(target, connections, SECONDS))
    return found


def _targets(page: str, servers: Mapping[str, tuple[int, int]], asked: Asked, token: str) -> dict[str, Target]:
    body = json.dumps({"query": DOCUMENTS[page], "variables": asked.variables[page]}).encode()
    viewer = f"x-viewer: {asked.viewer_id}\r\n"
    headers = {"ours": f"authorization: Bearer {token}\r\n", "plain": viewer, "statement": viewer}
    paths = {"ours": "/graphql", "plain": "/graphql", "statement": f"/{page}"}
    return {
        kind: Target(*servers[kind], paths[kind], headers[kind] if page in SIGNED_IN else "", body) for kind in KINDS
    }


def _counters(server: tuple[int, int]) -> str:
    """Return whether documents were remembered and operations planned, and what the garbage collector did."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server[1]}/metrics") as answer:
        samples = [line.decode().split() for line in answer if not line.startswith(b"#")]
    names = ("streamcat_documents_total", "streamcat_operations_total", "python_gc_collections_total")
    return ", ".join(f"{name} {float(value):.0f}" for name, value in samples if name.startswith(names))


async def _sign_in(server: tuple[int, int], username: str) -> str:
    body = json.dumps({"query": SIGN_IN, "variables": {"input": {"username": username, "password": PASSWORD}}})
    answer = json.loads(await ask(Target(*server, "/graphql", "", body.encode())))
    token: str = answer["data"]["sessionCreate"]["token"]
    return token


@contextmanager
def _server(kind: str, database_url: str) -> Iterator[tuple[int, int]]:
    """Run a server; give its process and port."""
    port = free_port()
    environ = {
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        # Nothing listens there; reads never ask AWS.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "EVENTS_QUEUE_URL": "http://127.0.0.1:9/queue",
        "RECORDINGS_CDN_URL": "https://recordings.example.invalid",
        "WORKERS": "external",
        "LOG_LEVEL": "error",
    }
    arguments = SERVE if kind == "ours" else ("-m", "bench.reads.servers", kind, str(port))
    with served(port, environ, arguments) as process:
        yield process, port


def _print(page: str, connections: int, rounds: Rounds) -> None:
    for kind, figures in rounds.items():
        one = median(figures)
        print(
            LINE.format(
                page,
                connections,
                kind,
                f"{one.requests_per_second:.1f}",
                f"{one.server_ms:.2f}",
                f"{one.postgres_ms:.2f}",
                f"{one.p50_ms:.1f}",
                f"{one.p99_ms:.1f}",
            ),
            flush=True,
        )


def _ratios(page: str, connections: int, rounds: Rounds) -> str:
    pairs = list(zip(rounds["ours"], rounds["plain"], strict=True))
    faster = statistics.median(ours.requests_per_second / plain.requests_per_second for ours, plain in pairs)
    lighter = statistics.median(plain.server_ms / ours.server_ms for ours, plain in pairs)
    return f"{page:10} {connections:>4} {faster:8.2f}x {lighter:8.2f}x"
