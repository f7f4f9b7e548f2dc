"""Pages of a list, with an opaque and signed mark for the next one."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any

from ivs.emulator.errors import constraint
from ivs.emulator.store import Doc
from ivs.emulator.world import Call, World

DEFAULT_SIZE = 100


def page(
    world: World,
    call: Call,
    member: str,
    rows: Iterable[tuple[int, Doc]],
    shown: Callable[[Doc], Doc],
    *,
    newest_first: bool = False,
    size: int = DEFAULT_SIZE,
) -> dict[str, Any]:
    """One page of `rows` under the name `member`, with `nextToken` when more follow.

    A mark belongs to one operation with one set of filters, as with AWS. Its place is a sequence number, so rows that
    appear or vanish between two calls neither repeat nor hide others.

    Raises:
        AwsError: ValidationException for a mark that is damaged or of another list.
    """
    ordered = list(rows)
    if newest_first:
        ordered.reverse()
    if "nextToken" in call.params:
        start = _place(world, call)
        ordered = [row for row in ordered if (row[0] < start if newest_first else row[0] > start)]
    limit = int(call.params.get("maxResults", size))
    answer: dict[str, Any] = {member: [shown(doc) for _, doc in ordered[:limit]]}
    if len(ordered) > limit:
        answer["nextToken"] = _mark(world, call, ordered[limit - 1][0])
    return answer


def _mark(world: World, call: Call, place: int) -> str:
    return base64.urlsafe_b64encode(f"{place}.{_seal(world, call, place)}".encode()).decode()


def _place(world: World, call: Call) -> int:
    try:
        text = base64.urlsafe_b64decode(call.params["nextToken"]).decode()
        number, _, seal = text.partition(".")
        place = int(number)
    except ValueError:
        place, seal = 0, ""
    if not hmac.compare_digest(seal.encode(), _seal(world, call, place).encode()):
        raise constraint("nextToken", "Member must be a token of this operation with the same filters")
    return place


def _seal(world: World, call: Call, place: int) -> str:
    filters = {name: value for name, value in call.params.items() if name not in ("nextToken", "maxResults")}
    text = json.dumps([call.service, call.operation, call.region, place, filters], sort_keys=True)
    return hmac.new(world.secret(), text.encode(), hashlib.sha256).hexdigest()[:32]
