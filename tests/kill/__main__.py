"""``python -m tests.kill``: signals at random moments of translate, export, train and build, and what is left.

    python -m tests.kill --moments 3 --json out/kill.json
    python -m tests.kill --works translate,train --seed 7

Clean: every output is the old file or a whole one, nothing is left behind after the next run, and that run succeeds (or
says that there is nothing left to do). The status is 0, 1, 130, or the signal itself where it comes before the program
handles it; a traceback or a crash is a fault. Ctrl-C within the first milliseconds, in which Python starts and has not
called the program yet, prints Python's own traceback: such cases are counted apart, as early.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.kill.works import SIGNALS, WORKS, kill, make_rows, time_of


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", default=",".join(work.name for work in WORKS))
    parser.add_argument("--moments", type=int, default=3, help="for each signal and command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the result")
    options = parser.parse_args()
    works = [work for work in WORKS if work.name in options.works.split(",")]
    rows: list[dict[str, Any]] = []
    print(f"{'command':<11}" + "".join(f"{number.name:>10}" for number in SIGNALS))
    for index, work in enumerate(works):
        with tempfile.TemporaryDirectory() as home:
            os.environ["GANLENS_CACHE"] = f"{home}/cache"
            (Path(home) / "first").mkdir()
            whole = time_of(work, Path(home) / "first")
            good: dict[str, list[bool]] = {number.name: [] for number in SIGNALS}
            for case, (number, fraction) in enumerate(make_rows(options.seed + index, options.moments)):
                folder = Path(home) / str(case)
                folder.mkdir()
                outcome = kill(work, folder, number, fraction, whole)
                good[number.name].append(not outcome.problems and not outcome.early)
                rows.append({"command": work.name, "signal": number.name, "seconds": round(outcome.after, 2)})
                rows[-1] |= {"status": outcome.status, "problems": outcome.problems, "early": outcome.early}
        line = "".join(f"{f'{sum(each)} of {len(each)}':>10}" for each in good.values())
        print(f"{work.name:<11}{line}", flush=True)
    for row in rows:
        for problem in row["problems"]:
            print(f"{row['command']} {row['signal']} after {row['seconds']} s: {problem}")
    early = sum(row["early"] and not row["problems"] for row in rows)
    clean = sum(not row["problems"] for row in rows) - early
    print(f"{clean} of {len(rows)} clean, {early} early")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"seed": options.seed, "cases": len(rows), "clean": clean, "early": early, "rows": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if clean + early == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
