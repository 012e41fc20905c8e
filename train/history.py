"""The figures of a run over its steps, in ``history.csv``: one row for each figure at each logged step."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from ganlens.engine.files import read_file

HISTORY_NAME = "history.csv"
HEADER = ("step", "seconds", "name", "value")


class Point(NamedTuple):
    """One figure at one step."""

    step: int
    seconds: float
    """Seconds of training so far."""
    name: str
    value: float


class History:
    """The file of a run, written row by row.

    Args:
        folder: the run folder.
        step: from which the run goes on; later rows, of a killed process, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        points = [point for point in read_history(folder) if point.step <= step] if step else []
        self._file = (folder / HISTORY_NAME).open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(HEADER)
        self._writer.writerows(points)
        self._file.flush()

    def add(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Write the figures of a step."""
        self._writer.writerows((step, round(seconds, 2), name, f"{value:.6g}") for name, value in values.items())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_history(folder: Path) -> list[Point]:
    """The rows of a run folder, in their order; none if there is no file. A row that was cut off is left out."""
    try:
        lines = read_file(folder / HISTORY_NAME).decode().splitlines()
    except OSError:
        return []
    points = []
    for row in csv.reader(lines[1:]):
        try:
            step, seconds, name, value = row
            points.append(Point(int(step), float(seconds), name, float(value)))
        except ValueError:
            continue
    return points
