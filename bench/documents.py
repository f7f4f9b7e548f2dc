"""What remembering parsed and validated documents saves: the same operation with and without the cache, in turn."""

import statistics
import time
from pathlib import Path

from schema.build import core_schema
from schema.execution import Executor
from schema.limits import DocumentLimits

ROUNDS = 30
REPEATS = 20
DOCUMENTS = Path(__file__).parent.parent / "tests" / "documents"


async def main() -> None:
    for file in sorted(DOCUMENTS.glob("*.graphql")):
        text = file.read_text()
        kept = Executor(core_schema, DocumentLimits(), cache_characters=100_000)
        forgetful = Executor(core_schema, DocumentLimits(), cache_characters=0)
        assert not kept.prepare(text).errors
        pairs = [(_microseconds(kept, text), _microseconds(forgetful, text)) for _ in range(ROUNDS)]
        ratio = statistics.median(without / with_cache for with_cache, without in pairs)
        with_cache, without = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{file.stem:10} prepared before {with_cache:8.1f} us   anew {without:8.1f} us   ratio {ratio:6.0f}x")


def _microseconds(executor: Executor, text: str) -> float:
    start = time.perf_counter()
    for _ in range(REPEATS):
        executor.prepare(text)
    return (time.perf_counter() - start) / REPEATS * 1e6
