"""The pages that set machines side by side, from the result files that people send: docs/results/README.md, and for
Jetson the table of docs/jetson.md.

python -m benchmarks.machines             # writes the pages
python -m benchmarks.machines --check     # exit status 1 if one differs from the files

To add a machine: ``engine benchmark -o docs/results`` there, on a quiet machine, then this command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ganlens.engine.benchmark.report import cells, machine_line, quality_text
from ganlens.engine.benchmark.result import Result, Row, read_result

from .report import insert

FOLDER = Path(__file__).parents[1] / "docs" / "results"
HEAD = """# Machines

What `engine benchmark` measured on the machines of those who sent their results; each name links the file behind its
figures. Written by `python -m benchmarks.machines`. To add yours: close other programs, `engine benchmark -o
docs/results`, run the command above, and open a pull request with the new `.json`.
"""
TITLES = (
    "machine", "backend", "fps", "streams of 30 fps", "p50 ms", "p95 ms", "ms at 30 Hz", "720p video fps",
    "30 fps camera on time", "worst PSNR dB", "flags",
)  # fmt: skip


def page(results: Sequence[tuple[str, Result]]) -> str:
    """The page, of (file name, result) pairs: a table for each model and size, the fastest machine first."""
    tables: dict[str, list[tuple[float, list[str]]]] = {}
    for name, result in results:
        groups: dict[tuple[str, str, tuple[int, int], str], dict[str, Row]] = {}
        for row in result.results:
            groups.setdefault((row.model, row.precision, row.size, row.backend), {})[row.scenario] = row
        for (model, precision, size, backend), rows in groups.items():
            heading = f"{model} {size[1]}x{size[0]} {precision}"
            fps = rows["throughput"].per_second if "throughput" in rows else 0.0
            line = _cells(f"[{machine_line(result.machine)}]({name})", backend, rows)
            tables.setdefault(heading, []).append((fps, line))
    parts = [HEAD]
    for heading in sorted(tables):
        parts += [f"\n## {heading}\n", _row(TITLES), _row(["---"] * 2 + ["---:"] * 8 + ["---"])]
        parts += [_row(line) for _, line in sorted(tables[heading], key=lambda entry: -entry[0])]
    if not tables:
        parts.append("\nNo result has been sent yet.")
    return "\n".join(parts) + "\n"


def _cells(machine: str, backend: str, rows: dict[str, Row]) -> list[str]:
    dash = "–"
    throughput, latency, video, live = (rows.get(name) for name in ("throughput", "latency", "video", "live"))
    fast = cells(throughput) if throughput else [dash] * 10
    one = cells(latency) if latency else [dash] * 10
    flags = sorted({flag for row in rows.values() for flag in row.flags})
    return [
        machine,
        backend,
        fast[5],
        fast[6],
        one[2],
        one[3],
        one[7],
        cells(video)[5] if video else dash,
        cells(live)[8] if live else dash,
        quality_text(next(iter(rows.values()))),
        ", ".join(flags),
    ]


JETSON_BEGIN = "<!-- measured:begin (written by `python -m benchmarks.machines`) -->"
JETSON_TITLES = ("chip", "system", "model", "precision", "backend", "ms a frame", "W", "file")


def jetson_table(results: Sequence[tuple[str, Result]]) -> str:
    """The table of docs/jetson.md: a row for each model, precision and backend that was measured on a Jetson.

    W is the whole machine's, and known only where the machine counts energy.
    """
    lines = []
    for name, result in results:
        machine = result.machine
        if "Jetson" not in machine.cpu:
            continue
        for row in result.results:
            if row.scenario == "latency" and row.ms is not None:
                watts = "–" if row.energy_j is None else f"{row.energy_j * row.per_second:.1f}"
                model = f"{row.model} {row.size[1]}x{row.size[0]}"
                frame = "–" if row.ms.p50 is None else f"{row.ms.p50:.1f}"
                link = f"[{name}](results/{name})"
                lines.append([machine.cpu, machine.system, model, row.precision, row.backend, frame, watts, link])
    lines = sorted(lines) or [["none yet", *[""] * 7]]
    return "\n".join([_row(JETSON_TITLES), _row(["---"] * len(JETSON_TITLES)), *map(_row, lines)]) + "\n"


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder",
        type=Path,
        default=FOLDER,
        help="of the result files; the page goes there, and Jetson's in jetson.md beside it",
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page is out of date")
    options = parser.parse_args()
    results = [(path.name, read_result(path)) for path in sorted(options.folder.glob("*.json"))]
    jetson = options.folder.parent / "jetson.md"
    before = jetson.read_text(encoding="utf-8")
    for path, made in (
        (options.folder / "README.md", page(results)),
        (jetson, insert(before, jetson_table(results), JETSON_BEGIN)),
    ):
        if path.exists() and path.read_text(encoding="utf-8") == made:
            continue
        if options.check:
            sys.exit(f"{path} differs from its result files; run: python -m benchmarks.machines")
        path.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
