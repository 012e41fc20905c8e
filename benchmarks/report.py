"""Puts the newest result of every benchmark into the documentation, between two marks.

python -m benchmarks.report             # results/*.json into README.md, docs/measured.md and docs/studies.md
python -m benchmarks.report --check     # exit status 1 if one of them differs from the results
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import results

BEGIN, END = "<!-- measured:begin (written by `make bench`) -->", "<!-- measured:end -->"
ROOT = Path(__file__).parents[1]
FOLDERS = [results.FOLDER, ROOT / "studies" / "results"]

PAGES: dict[str, tuple[str, ...]] = {
    "docs/measured.md": ("kernels", "latency", "network", "video", "faces", "live", "soak", "gpu"),
    "docs/studies.md": ("acl-gan", "cyclegan-variants", "psc-gan", "tiers", "train-speed"),
    "": ("losses", "survey"),  # write docs/losses.md and docs/survey.md themselves
}
"""Page → how the names of its benchmarks begin."""
SUMMARY = "README.md"
"""The page with one table of all models, :func:`summary`."""
LEFT_OUT = ("ganlens --backend openvino",)
"""Programs that stand on the page of all measurements only: the first row of each model says what "auto" took."""
WHOLE_VIDEO = "video frame, "
"""How the names of the summary's benchmarks begin; the model follows."""


def newest(paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """The newest record of each benchmark, by its file, in the order of the benchmarks' names.

    Raises:
        ValueError: a file is not a result.
    """
    latest: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = {"benchmark", "machine", "table"} - set(record)
        if missing:
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; write results with benchmarks.results.write")
        name = record["benchmark"]
        if name not in latest or record["machine"]["date"] > latest[name][1]["machine"]["date"]:
            latest[name] = path, record
    return dict(latest[name] for name in sorted(latest))


def render(records: Iterable[dict[str, Any]]) -> str:
    """The tables; the machine is said once after the tables that share it."""
    parts: list[str] = []
    said = ""
    for record in records:
        where = results.one_line(record["machine"])
        if said and where != said:
            parts.append(f"<sub>{said}</sub>\n")
        said = where
        parts.append(results.markdown(**record["table"]))
    return "\n".join([*parts, f"<sub>{said}</sub>\n"]) if said else ""


def summary(results_by_path: Mapping[str, dict[str, Any]]) -> str:
    """Frames per second of each model (rows) in each program (columns), every figure a link to its result.

    Args:
        results_by_path: the newest records, by the address of their file as the page links it.

    Raises:
        ValueError: the records are of different machines, which one table must not mix.
    """
    wanted = {path: record for path, record in results_by_path.items() if record["benchmark"].startswith(WHOLE_VIDEO)}
    if not wanted:
        return ""
    machines = {(record["machine"]["cpu"], record["machine"]["cores"]) for record in wanted.values()}
    if len(machines) > 1:
        raise ValueError(f"the whole-video results are of {len(machines)} machines; measure all models on one")
    programs: list[str] = []
    for record in wanted.values():
        programs += [row[0] for row in record["table"]["rows"] if row[0] not in (*programs, *LEFT_OUT)]
    rows: list[list[results.Cell]] = []
    for path, record in wanted.items():
        columns = record["table"]["columns"].index("fps")
        fps = {row[0]: row[columns] for row in record["table"]["rows"]}
        cells = [f"[{fps[program]:g}]({path})" if program in fps else "–" for program in programs]
        rows.append([record["benchmark"].removeprefix(WHOLE_VIDEO), *cells])
    (cpu, cores), *_ = machines
    title = f"Frames per second, 720p30 H.264 with sound in and out, whole frame; {cpu}, {cores} cores"
    return results.markdown(title, ["model", *programs], rows)


def insert(text: str, tables: str, begin: str = BEGIN) -> str:
    """``text`` with what stands between the marks replaced.

    Args:
        begin: the first mark; the last one is :data:`END`.

    Raises:
        ValueError: the marks are missing, or not once each and in order.
    """
    if text.count(begin) != 1 or text.count(END) != 1 or text.index(begin) > text.index(END):
        raise ValueError(f"expected one line {begin!r} and after it one line {END!r}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{tables}\n{END}{rest.split(END)[1]}"


def page_of(name: str) -> str:
    """The page on which a benchmark's table stands.

    Raises:
        ValueError: none knows it.
    """
    for page, beginnings in PAGES.items():
        if name.startswith(beginnings):
            return page
    raise ValueError(f"no page takes the results of '{name}'; add it to PAGES in benchmarks/report.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="+", default=FOLDERS, help="folders of the JSON files")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that the pages lie in")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    options = parser.parse_args()
    records = newest(path for folder in options.results for path in sorted(folder.glob("*.json")))
    pages = {page: render(r for r in records.values() if page_of(r["benchmark"]) == page) for page in PAGES if page}
    root = options.root.resolve()
    pages[SUMMARY] = summary({os.path.relpath(path.resolve(), root): record for path, record in records.items()})
    for page, tables in pages.items():
        path = options.root / page
        old = path.read_text(encoding="utf-8")
        new = insert(old, tables)
        if new == old:
            continue
        if options.check:
            sys.exit(f"{path} differs from the results; run: python -m benchmarks.report")
        path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
