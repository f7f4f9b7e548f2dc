"""`python -m bench [NAME ...]`: run the benchmarks, or those named; each prints its own table of ratios.

Some take options: `python -m bench fanout --help`.
"""

import asyncio
import sys
from itertools import takewhile

from bench import analytics, chat_review, documents, viewers
from bench.fanout import run as fanout
from bench.ingest import run as ingest
from bench.metrics import run as metrics
from bench.reads import run as reads
from bench.scale import run as scale

ALL = {
    "analytics": analytics.main,
    "chat_review": chat_review.main,
    "documents": documents.main,
    "ingest": ingest.main,
    "metrics": metrics.main,
    "reads": reads.main,
    "viewers": viewers.main,
}
# Those that take options.
TAKING = {"fanout": fanout.main, "scale": scale.main}


def main() -> int:
    every = sorted([*ALL, *TAKING])
    named = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    options = sys.argv[1 + len(named) :]
    chosen = named or every
    unknown = [name for name in chosen if name not in every]
    if unknown:
        sys.stderr.write(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(every)}.\n")
        return 64
    if options and (len(chosen) > 1 or chosen[0] not in TAKING):
        sys.stderr.write(f"Options may follow one of {', '.join(TAKING)} alone.\n")
        return 64
    for name in chosen:
        print(f"== {name}", flush=True)
        asyncio.run(TAKING[name](*options) if name in TAKING else ALL[name]())
    return 0


sys.exit(main())
