"""Puts the newest result of every benchmark into the README, between two marks.

python -m benchmarks.report                     # all of benchmarks/results/*.json into README.md
python -m benchmarks.report --check             # exit status 1 if the README differs from the results
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import machine, results

BEGIN, END = "<!-- measured:begin (written by `make bench`) -->", "<!-- measured:end -->"
README = Path(__file__).parents[1] / "README.md"


def newest(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The newest record of each benchmark, by name.

    Raises:
        ValueError: a file is not a result.
    """
    latest: dict[str, dict[str, Any]] = {}
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = {"benchmark", "machine", "table"} - set(record)
        if missing:
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; write results with benchmarks.results.write")
        name = record["benchmark"]
        if name not in latest or record["machine"]["date"] > latest[name]["machine"]["date"]:
            latest[name] = record
    return [latest[name] for name in sorted(latest)]


def render(records: Iterable[dict[str, Any]]) -> str:
    """The tables; the machine is said once after the tables that share it."""
    parts: list[str] = []
    said = ""
    for record in records:
        where = machine.one_line(record["machine"])
        if said and where != said:
            parts.append(f"<sub>{said}</sub>\n")
        said = where
        parts.append(results.markdown(**record["table"]))
    return "\n".join([*parts, f"<sub>{said}</sub>\n"]) if said else ""


def insert(text: str, tables: str) -> str:
    """``text`` with what stands between the marks replaced.

    Raises:
        ValueError: the marks are missing, or not once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected one line {BEGIN!r} and after it one line {END!r}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables}\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="folder of the JSON files")
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the README is out of date")
    options = parser.parse_args()
    old = options.readme.read_text(encoding="utf-8")
    new = insert(old, render(newest(sorted(options.results.glob("*.json")))))
    if options.check:
        if new != old:
            sys.exit(f"{options.readme} differs from {options.results}; run: python -m benchmarks.report")
    else:
        options.readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
