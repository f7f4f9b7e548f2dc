"""Whether the three servers answer the same: a comparison of servers that do not has no result.

Left out is what legitimately differs: cursors are each server's own, times are compared as moments, and the statements
cannot unseal stream keys.
"""

import json
from datetime import datetime
from typing import Any

from bench.reads.load import Target, ask

CURSORS = {"cursor", "endCursor"}
SEALED = {"streamKey"}
# What is said of a live stream's audience changes with the minute.
TRIES = 3


async def compare(page: str, targets: dict[str, Target]) -> None:
    """Raise AssertionError unless all answer the same.

    Raises:
        AssertionError: With the first place where two answers differ.
    """
    difference: str | None = None
    for _ in range(TRIES):
        answers = {kind: json.loads(await ask(target)) for kind, target in targets.items()}
        ours = answers["ours"]
        assert ours.keys() == {"data"}, (page, ours)
        assert any(ours["data"].values()), page
        difference = next(
            (
                f"{page}: {kind} {found}"
                for kind in ("plain", "statement")
                if (found := _difference(_comparable(ours, kind), _comparable(answers[kind], kind)))
            ),
            None,
        )
        if difference is None:
            return
    raise AssertionError(difference)


def _comparable(value: Any, kind: str, key: str = "") -> Any:
    if isinstance(value, dict):
        left_out = CURSORS | SEALED if kind == "statement" else CURSORS
        return {name: _comparable(each, kind, name) for name, each in value.items() if name not in left_out}
    if isinstance(value, list):
        return [_comparable(each, kind) for each in value]
    return datetime.fromisoformat(value) if isinstance(value, str) and key.endswith("At") else value


def _difference(ours: Any, theirs: Any, place: str = "") -> str | None:
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return next((found for key in ours if (found := _difference(ours[key], theirs[key], f"{place}.{key}"))), None)
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return next((found for index, pair in pairs if (found := _difference(*pair, f"{place}[{index}]"))), None)
    return None if ours == theirs else f"answers at {place[1:]} with {theirs!r}, ours with {ours!r}"
