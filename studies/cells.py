"""A study of many training runs: one cell for each setting and seed, kept in a file as it comes.

Stopped and started again with the same settings, a study goes on with the cells that are missing.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ganlens.engine.files import replace_file

Cell = dict[str, Any]


class Cells:
    """Finished cells by name, in a JSON file.

    Args:
        path: the file; made if missing.
        settings: what all cells have in common. A file with other settings is refused.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.cells: dict[str, Cell] = {}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["settings"] != self.settings:
                changed = sorted(
                    key
                    for key in {*found["settings"], *self.settings}
                    if found["settings"].get(key) != self.settings.get(key)
                )
                raise SystemExit(
                    f"{path} holds cells with other settings ({', '.join(changed)}). Give another --work folder, or "
                    "delete that file."
                )
            self.cells = found["cells"]

    def run(self, name: str, measure: Callable[[], Cell]) -> Cell:
        """The cell of that name: from the file, or measured now and written to it."""
        if name not in self.cells:
            print(f"{time.strftime('%H:%M:%S')} {name} …", flush=True)
            started = time.monotonic()
            found = measure()
            self.cells[name] = {**found, "cell_seconds": round(time.monotonic() - started, 1)}
            self._write()
        return self.cells[name]

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = {"settings": self.settings, "cells": self.cells}
        replace_file(self.path, json.dumps(record, indent=1) + "\n", durable=True)


def mean_and_spread(values: Iterable[float], digits: int = 1) -> str:
    """``mean ± standard deviation`` of the seeds; without the second for a single one."""
    given = list(values)
    mean = f"{statistics.mean(given):.{digits}f}"
    return mean if len(given) < 2 else f"{mean} ± {statistics.stdev(given):.{digits}f}"
