"""The control door: JSON over HTTP below `/_emulator/`. The table of paths is in the package's docstring."""

import json
import re
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from ivs.emulator import control_broadcasts, control_bulk, control_chat, control_tests
from ivs.emulator.errors import ControlError
from ivs.emulator.store import Doc
from ivs.emulator.world import World

PREFIX = "/_emulator/"

ACTIONS = {**control_tests.ACTIONS, **control_broadcasts.ACTIONS, **control_bulk.ACTIONS, **control_chat.ACTIONS}


def answer(world: World, reset_moto: Callable[[], None], request: Request) -> Response:
    """Answers one request of the control door: JSON, and for a refusal `{"error": sentence}`."""
    path = request.path.removeprefix(PREFIX)
    try:
        body = {**request.args.to_dict(), **_body(request)}
        if (request.method, path) == ("POST", "reset"):
            # Under the world's lock, so that no event slips onto a bus that is being emptied.
            with world.transaction():
                reset_moto()
                world.reset()
            return _json(200, {})
        action, names = _action(request.method, path)
        with world.transaction():
            return _json(200, action(world, body, *names))
    except ControlError as error:
        return _json(error.status, {"error": error.message})


def _action(method: str, path: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    for (wanted, pattern), action in ACTIONS.items():
        match = re.fullmatch(pattern, path)
        if match and wanted == method:
            return action, match.groups()
    raise ControlError(404, f"The control door has no {method} {path}; see the docstring of ivs.emulator.")


def _body(request: Request) -> Doc:
    body: Any = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(body, dict):
        raise ControlError(400, "The body must be a JSON object.")
    return body


def _json(status: int, body: Any) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
