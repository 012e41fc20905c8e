"""``python -m tests.faults``: damaged files, failing calls and signals, and one table: cases, clean, other.

    python -m tests.faults                          minutes
    python -m tests.faults --cases 5000 --json tests/fuzz/results.json
    python -m tests.faults --show tests/fuzz/results.json

Clean: the file was read or refused with a reason, the command failed without damage, nothing was left behind. Early: a
signal that Python got while it was starting, before the program's first line.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def rows_of(record: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """(what, cases, clean ones, early ones) of each part."""
    rows = []
    for name, counts in record["fuzz"]["targets"].items():
        rows.append((f"damaged {name}", sum(counts.values()), counts.get("clean", 0) + counts.get("refused", 0), 0))
    for name, counts in record["torture"]["kinds"].items():
        cases = counts.get("refused", 0) + counts.get("finished", 0)
        rows.append((f"failing {name}", cases, cases - counts.get("bad", 0), 0))
    commands = list(dict.fromkeys(row["command"] for row in record["kill"]["rows"]))
    for name in commands:
        good = [row for row in record["kill"]["rows"] if row["command"] == name and not row["problems"]]
        early = sum(row.get("early", False) for row in good)
        cases = sum(row["command"] == name for row in record["kill"]["rows"])
        rows.append((f"signals to {name}", cases, len(good) - early, early))
    return rows


def show(record: dict[str, Any]) -> int:
    """Print the table; the number of cases that are neither clean nor early."""
    print(f"{'':<24}{'cases':>8}{'clean':>8}{'early':>8}{'other':>8}")
    rows = rows_of(record)
    sums = (sum(column) for column in list(zip(*rows, strict=True))[1:])
    for name, cases, clean, early in [*rows, ("all", *sums)]:
        print(f"{name:<24}{cases:>8}{clean:>8}{early:>8}{cases - clean - early:>8}")
    return sum(cases - clean - early for _, cases, clean, early in rows)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the three, each in a process of its own."""
    record: dict[str, Any] = {"system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in (
            ("fuzz", ["--minutes", options.minutes, "--cases", options.cases, "--seed", options.seed]),
            ("torture", []),
            ("kill", ["--moments", options.moments, "--seed", options.seed]),
        ):
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"tests.{name}", *map(str, arguments), "--json", str(path)]
            subprocess.run(command, cwd=ROOT, check=False)
            record[name] = json.loads(path.read_text())
    return record


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="of damaged files")
    parser.add_argument("--cases", type=int, default=0, help="go on until there are so many damaged files")
    parser.add_argument("--moments", type=int, default=3, help="for each signal and command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--show", type=Path, help="print the table of a result")
    options = parser.parse_args()
    record = json.loads(options.show.read_text()) if options.show else run(options)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if show(record) else 0


if __name__ == "__main__":
    sys.exit(main())
