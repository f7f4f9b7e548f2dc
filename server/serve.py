"""The main job: everything in one process, from an empty folder to a printed address."""

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Final

import uvloop

from ivs.client import open_aws
from resolvers import channels, users
from resolvers.context import Context
from resolvers.errors import Refused, UsernameTaken
from schema.base import global_id
from server.embedded.datadir import DataDirectory, Running
from server.errors import StartupError
from server.listen import listen
from server.runtime import Runtime, open_runtime
from server.serving import Server
from server.settings import Settings
from server.stack import Stack, open_stack
from server.web import Web
from subscriptions.lost import renew_lost

logger = logging.getLogger(__name__)

DEMO_USER: Final = "demo"
# Printed in the banner; the user exists only where both the database and AWS are stand-ins.
DEMO_PASSWORD: Final = "streamcat-demo"  # noqa: S105


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        StartupError: Something that a person has to change first.
    """
    # Taken before anything else is started: a busy port must not cost ten seconds to find out.
    with _listen(settings) as listener, open_stack(settings) as stack:
        uvloop.run(_serve(settings, stack, listener))


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
        web = Web(runtime, example_channel_id=example)
        url = _address(listener)

        def ready() -> None:
            if stack.data is not None:
                stack.data.announce(Running(os.getpid(), url, stack.database_url, stack.endpoint_url))
            sys.stdout.write(_banner(url, stack))
            sys.stdout.flush()

        server = Server(web, settings, ready)
        async with stack.watched(server.stop):
            await server.serve(sockets=[listener])


async def _work(settings: Settings, stack: Stack) -> None:
    await stack.prepare()
    async with open_runtime(settings, await stack.resolve()) as runtime:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        runtime.worker.start()
        sys.stdout.write("worker ready\n")
        sys.stdout.flush()
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
