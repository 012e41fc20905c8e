"""``python -m tests.torture``: the n-th call of each kind fails, for every n of one short clip.

    python -m tests.torture --json out/torture.json
    python -m tests.torture --kinds write,mux --most 5

A fault is a traceback, a broken file under the final name, a file that is left behind, an old file that was damaged, or
frames that are missing without a word.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.torture.faults import KINDS, Bench


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--most", type=int, help="calls of each kind that fail, spread evenly; default: all")
    parser.add_argument("--json", type=Path, help="file for the result")
    options = parser.parse_args()
    rows: dict[str, Counter[str]] = {}
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        print(f"{'kind':<10}{'calls':>8}{'refused':>9}{'finished':>10}{'faults':>8}")
        for kind in options.kinds.split(","):
            calls = bench.count(kind)
            row = rows[kind] = Counter(calls=calls)
            for number in chosen(calls, options.most):
                outcome, problems = bench.fail(kind, number)
                row[outcome] += 1
                row["faults"] += len(problems)
                row["bad"] += bool(problems)
                findings += [f"{kind} {number} of {calls}: {problem}" for problem in problems]
            print(f"{kind:<10}{calls:>8}{row['refused']:>9}{row['finished']:>10}{row['faults']:>8}", flush=True)
    for finding in findings:
        print(finding)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"kinds": {kind: dict(row) for kind, row in rows.items()}, "findings": findings}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if findings else 0


def chosen(calls: int, most: int | None) -> list[int]:
    """Numbers of the calls that fail, from 1."""
    if most is None or calls <= most:
        return list(range(1, calls + 1))
    return sorted({1 + round(index * (calls - 1) / max(most - 1, 1)) for index in range(most)})


if __name__ == "__main__":
    sys.exit(main())
