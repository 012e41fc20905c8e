"""A process that reads damaged files, one per line of its input, and answers a line of JSON for each."""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
import warnings
from pathlib import Path

MEMORY = 1536 * 2**20
"""Bytes that a case may add to the process."""


def main() -> None:
    """Serve the target that the command line names."""
    from tests.fuzz.targets import TARGETS, OldFileLost, outcome

    target = TARGETS[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries may print
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * MEMORY, used + 3 * MEMORY))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        before = set(path.parent.iterdir())
        try:
            answer = {"outcome": outcome(target, path)}
        except OldFileLost as error:
            answer = {"outcome": "old lost", "what": str(error)}
        except BaseException as error:
            trace = traceback.format_exception(error)
            answer = {"outcome": "traceback", "what": "".join(trace)[-3000:], "kind": type(error).__name__}
        left = sorted(file.name for file in set(path.parent.iterdir()) - before if not file.name.startswith("p.plan"))
        if left:
            answer = {"outcome": "file left", "what": ", ".join(left)}
        answer["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
