"""The main job: everything in one process, from an empty folder to a printed address."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

import uvloop

from ivs.client import open_aws
from resolvers import channels, users
from resolvers.context import Context
from resolvers.errors import Refused, UsernameTaken
from schema.base import global_id
from server import counters
from server.embedded.datadir import DataDirectory, Running
from server.embedded.spawn import spawn
from server.errors import StartupError
from server.listen import listen
from server.processes import READY, Processes
from server.runtime import Runtime, inherited, open_runtime
from server.serving import Server
from server.settings import Settings
from server.stack import ROOT, Stack, open_stack
from server.web import Web
from subscriptions.lost import renew_lost

logger = logging.getLogger(__name__)

DEMO_USER: Final = "demo"
# Printed in the banner; the user exists only where both the database and AWS are stand-ins.
DEMO_PASSWORD: Final = "streamcat-demo"  # noqa: S105


def serve(settings: Settings, *, processes: int = 1) -> int:
    """Serve until SIGINT or SIGTERM, in this process or in so many others behind the same socket.

    Returns:
        The exit code.

    Raises:
        StartupError: Something that a person has to change first.
    """
    # Taken before anything else is started: a busy port must not cost ten seconds to find out.
    with _listen(settings) as listener, open_stack(settings) as stack:
        if processes > 1:
            return asyncio.run(_lead(settings, stack, listener, processes))
        uvloop.run(_serve(settings, stack, listener))
        return 0


def serve_for(settings: Settings, descriptor: int, example_channel_id: str | None) -> None:
    """Serve as one of several processes, on the listening socket that was inherited, until SIGINT or SIGTERM.

    Raises:
        StartupError: Something that a person has to change first.
    """
    with socket.socket(fileno=descriptor) as listener, open_stack(settings) as stack:
        uvloop.run(_serve_for(settings, stack, listener, example_channel_id))


def work(settings: Settings) -> None:
    """Run the jobs alone until SIGINT or SIGTERM, for WORKERS=external.

    Raises:
        StartupError: Something that a person has to change first.
    """
    with open_stack(settings) as stack:
        uvloop.run(_work(settings, stack))


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except StartupError:
        # Most often the port is in use by ourselves, and another port is not what to ask for then.
        DataDirectory(settings.data_dir).refuse_second()
        raise


async def _serve(settings: Settings, stack: Stack, listener: socket.socket) -> None:
    await stack.prepare()
    async with open_runtime(settings, await stack.resolve()) as runtime:
        if stack.toy:
            await _renew_lost(runtime)
        if settings.workers == "embedded":
            runtime.worker.start()
        example = await _seed_demo_user(runtime) if stack.toy else None
        server = Server(Web(runtime, example_channel_id=example), settings, lambda: _announce(stack, listener))
        async with stack.watched(server.stop):
            await server.serve(sockets=[listener])


async def _serve_for(settings: Settings, stack: Stack, listener: socket.socket, example: str | None) -> None:
    await stack.prepare()
    async with open_runtime(settings, await stack.resolve()) as runtime:
        if settings.workers == "embedded":
            runtime.worker.start()
        server = Server(Web(runtime, example_channel_id=example), settings, lambda: _say(READY.decode()))
        await server.serve(sockets=[listener])


async def _lead(settings: Settings, stack: Stack, listener: socket.socket, count: int) -> int:
    """Do once what all processes need, then start and keep them; return the exit code."""
    await stack.prepare()
    resolved = await stack.resolve()
    example = None
    if stack.toy:
        async with open_runtime(settings, resolved) as runtime:
            await _renew_lost(runtime)
            example = await _seed_demo_user(runtime)

    with counters.shared() as counted:
        environment = {**os.environ, **inherited(resolved), **counted}
        processes = Processes(
            count,
            lambda number: _start(listener.fileno(), environment, example, jobs=number == 0),
            lambda pid: counters.forget(counted, pid),
        )
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, processes.stop)
        # A terminal says by this that its window was closed.
        loop.add_signal_handler(signal.SIGHUP, processes.stop if os.isatty(0) else processes.replace)
        async with stack.watched(processes.stop):
            return await processes.run(lambda: _announce(stack, listener))


def _start(
    descriptor: int, environment: Mapping[str, str], example: str | None, *, jobs: bool
) -> "subprocess.Popen[bytes]":
    shown = ["--example-channel", example] if example else []
    return spawn(
        [sys.executable, str(ROOT / "app.py"), "serve", "--inherited", str(descriptor), *shown],
        env={**environment, **({} if jobs else {"WORKERS": "external"})},
        output=subprocess.PIPE,
        errors=sys.stderr.fileno(),
        descriptors=[descriptor],
    )


async def _work(settings: Settings, stack: Stack) -> None:
    await stack.prepare()
    async with open_runtime(settings, await stack.resolve()) as runtime:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        runtime.worker.start()
        _say("worker ready\n")
        async with stack.watched(stopped.set):
            await stopped.wait()


async def _renew_lost(runtime: Runtime) -> None:
    # Without the pace of Amazon's quotas, which nobody waits for at a start.
    async with open_aws(runtime.resolved.aws) as aws:
        lost = await renew_lost(runtime.services.sessions, aws)
    if lost:
        logger.warning("the emulated AWS has lost %d resources of the database; they are made anew", lost)


async def _seed_demo_user(runtime: Runtime) -> str | None:
    """Register the demo user by the ordinary way, or find it from an earlier run; return its channel's global id."""
    ctx = Context(runtime.services, None, "127.0.0.1")
    try:
        await users.register(ctx, DEMO_USER, DEMO_PASSWORD, published=True)
    except Refused as refused:
        if not any(isinstance(problem, UsernameTaken) for problem in refused.problems):
            raise
    channel = await ctx.reads.row(channels.BY_NAME, DEMO_USER)
    return global_id(channel) if channel is not None else None


def _announce(stack: Stack, listener: socket.socket) -> None:
    url = _address(listener)
    if stack.data is not None:
        stack.data.announce(Running(os.getpid(), url, stack.database_url, stack.endpoint_url))
    _say(_banner(url, stack))


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _banner(url: str, stack: Stack) -> str:
    python = os.path.relpath(sys.executable) if sys.prefix != sys.base_prefix else "python"
    lines = ["", f"  StreamCat GraphQL   {url}/graphql"]
    if stack.toy:
        lines.append(f"  demo user           {DEMO_USER}, password {DEMO_PASSWORD}")
    if stack.emulated:
        lines.append(f"  go live             {python} -m app simulate live {DEMO_USER if stack.toy else 'USERNAME'}")
    return "\n".join([*lines, "  stop                Ctrl-C", "", ""])
