"""The message review function against the 200 ms after which Amazon stops waiting: cold start, and the worst message.

Cold start: a new process imports the function and answers its first message, in turn with a process that does nothing.
Worst message: the hardest of those below and of many made by chance, each of 500 code points, in turn with one pass of
`re` over the same text with the same words and none of their disguises. Wall-clock time, one core.
"""

import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deploy.chat_review import handler

BUDGET_MS = 200.0
LONGEST = 500
ROUNDS = 20
TRIES = 300
FOLDER = Path(handler.__file__).parent
# Nearly words, over and over; many letters or meanings per code point; and what people write.
HARD = (
    *("s$", "@s", "5a", "s*", "f!u!c!i!", "f.u.c.i.", "nnniiiggga"),
    *("fuci", "vVI1", "\ufdfa", "\ufb03", "각", "a ", "shit "),
)
PLAIN = "What a fine day to watch somebody play, is it not? "

NOTHING = "pass"
FIRST = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import handler; handler.handler({{'Content': {PLAIN!r}}})"


async def main() -> None:
    assert handler.REVIEWER is not None
    pairs = [(_process_ms(FIRST), _process_ms(NOTHING)) for _ in range(ROUNDS)]
    starts = sorted(function - nothing for function, nothing in pairs)
    nothing = statistics.median(column for _, column in pairs)
    print(f"cold start         {statistics.median(starts):8.2f} ms   worst {starts[-1]:8.2f} ms", end="   ")
    print(f"on top of {nothing:.2f} ms of a Python that does nothing: {_share(starts[-1])}")

    worst = max((_full(unit) for unit in HARD), key=_review_ms)
    chance = random.Random(1)  # noqa: S311 - no secret
    for _ in range(TRIES):
        made = _full("".join(chance.choices("fuckngiabdsthpe!1|$5@.* ", k=chance.randint(1, 8))))
        if _review_ms(made, 1) > _review_ms(worst) and _review_ms(made) > _review_ms(worst):
            worst = made
    words = re.compile(r"\b(?:" + "|".join(sorted(_words())) + r")\b", re.IGNORECASE)
    for name, text in (("worst message", worst), ("plain message", _full(PLAIN))):
        _compare(name, text, words)


def _compare(name: str, text: str, words: re.Pattern[str]) -> None:
    pairs = [(_review_ms(text, 1), _ms(lambda: words.sub("*", text))) for _ in range(ROUNDS)]
    ours, simple = (sorted(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    print(f"{name}      {statistics.median(ours):8.2f} ms   worst {ours[-1]:8.2f} ms", end="   ")
    print(f"{ratio:.0f} times {statistics.median(simple):.3f} ms of `re`: {_share(ours[-1])}   {text[:12]!r}...")


def request(text: str) -> dict[str, object]:
    return {"Content": text, "MessageId": "AYk6xKitV4On", "Attributes": {}, "Sender": {"UserId": "0", "Attributes": {}}}


def _share(milliseconds: float) -> str:
    return f"{milliseconds / BUDGET_MS:.1%} of {BUDGET_MS:.0f} ms"


def _full(unit: str) -> str:
    return (unit * LONGEST)[:LONGEST]


def _words() -> set[str]:
    lines = (FOLDER / "words.txt").read_text("utf-8").splitlines()
    return {re.escape(entry.strip("*")) for line in lines if (entry := line.partition("#")[0].strip())}


def _review_ms(text: str, times: int = 3) -> float:
    return min(_ms(lambda: handler.handler(request(text))) for _ in range(times))


def _ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def _process_ms(program: str) -> float:
    command = [sys.executable, "-I", "-S", "-c", program]
    return _ms(lambda: subprocess.run(command, check=True, stdin=subprocess.DEVNULL))
