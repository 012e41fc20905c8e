"""A study goes on where it stopped, and never mixes settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.cells import Cells, mean_and_spread


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "work" / "cells.json"
    first = Cells(path, {"images": 10}).run("a, seed 0", lambda: {"distance": 1.5})
    assert first["distance"] == 1.5

    def fail() -> dict[str, float]:
        raise AssertionError("run again")

    again = Cells(path, {"images": 10})
    assert again.run("a, seed 0", fail) == first
    with pytest.raises(AssertionError):
        again.run("a, seed 1", fail)
    assert list(Cells(path, {"images": 10}).cells) == ["a, seed 0"]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    Cells(path, {"images": 10, "batch": 2}).run("a", dict)
    with pytest.raises(SystemExit, match=r"other settings \(images\)"):
        Cells(path, {"images": 20, "batch": 2})


def test_mean_and_spread() -> None:
    assert mean_and_spread([1.0, 3.0]) == "2.0 ± 1.4"
    assert mean_and_spread([2.375], 2) == "2.38"
