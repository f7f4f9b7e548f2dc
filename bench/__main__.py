"""`python -m bench [NAME ...]`: run the benchmarks, or those named; each prints its own table of ratios."""

import asyncio
import sys

from bench import analytics, chat_review, documents, viewers
from bench.ingest import run as ingest
from bench.metrics import run as metrics
from bench.reads import run as reads

ALL = {
    "analytics": analytics.main,
    "chat_review": chat_review.main,
    "documents": documents.main,
    "ingest": ingest.main,
    "metrics": metrics.main,
    "reads": reads.main,
    "viewers": viewers.main,
}


def main() -> int:
    chosen = sys.argv[1:] or list(ALL)
    unknown = [name for name in chosen if name not in ALL]
    if unknown:
        sys.stderr.write(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}.\n")
        return 64
    for name in chosen:
        print(f"== {name}")
        asyncio.run(ALL[name]())
    return 0


sys.exit(main())
