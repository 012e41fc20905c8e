"""Result files: what was measured, on what, and the table that the documentation shows of it."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganlens.engine import processor
from ganlens.engine.benchmark import machine
from ganlens.engine.benchmark.processes import cores

FOLDER = Path(__file__).parent / "results"
BENCH = Path(__file__).parents[1] / "out" / "bench"
"""For clips and quick results; not in the repository."""
Cell = str | float | int


def write(
    path: Path,
    benchmark: str,
    *,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    settings: Mapping[str, object],
    details: Mapping[str, object],
) -> None:
    """Write one result as JSON.

    Args:
        benchmark: its name; a newer result of the same name takes its place in the documentation.
        title, columns, rows: the table; a cell is text or a number.
        settings: all that was chosen and that another run would have to choose alike.
        details: the figures of every round.

    Raises:
        ValueError: a row is not as long as the columns.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"got a row of {len(row)} cells, expected {len(columns)}: {list(columns)}")
    record = {
        "benchmark": benchmark,
        "machine": describe(),
        "settings": dict(settings),
        "table": {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]},
        "details": dict(details),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(record), encoding="utf-8")
    print(markdown(title, columns, rows))


def describe() -> dict[str, object]:
    """Processor, memory, system, versions, git commit and date, as values that JSON can hold."""
    packages = machine.software()
    return {
        "cpu": processor.name(),
        "cores": cores(),
        "flags": [flag for flag in machine.FLAGS if flag in processor.flags()],
        "memory_gib": machine.memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": packages.pop("python"),
        "commit": packages.pop("commit", "") or machine.commit(FOLDER.parents[1]),
        "packages": packages,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def one_line(described: Mapping[str, object]) -> str:
    """The description as the sentence under a table."""
    packages, flags = described["packages"], described["flags"]
    assert isinstance(packages, dict) and isinstance(flags, list)
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return (
        f"{described['cpu']}, {described['cores']} cores ({', '.join(flags)}), {described['memory_gib']} GiB, "
        f"{described['system']}, Python {described['python']}; {versions}; commit {described['commit']}, "
        f"{described['date']}."
    )


def to_json(record: Mapping[str, object]) -> str:
    """As JSON, the details on one line: nobody reads curves of thousands of numbers line by line."""
    parts = {name: json.dumps(part, indent=1) for name, part in record.items() if name != "details"}
    parts["details"] = json.dumps(record["details"])
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {part}" for name, part in parts.items()) + "\n}\n"


def markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The table in Markdown: text to the left, numbers to the right."""
    right = [bool(rows) and all(not isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---:" if is_number else "---" for is_number in right) + "|",
        *("| " + " | ".join(cell if isinstance(cell, str) else f"{cell:g}" for cell in row) + " |" for row in rows),
    ]
    return f"**{title}**\n\n" + "\n".join(lines) + "\n"
