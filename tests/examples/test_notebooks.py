"""The notebooks run from top to bottom, on tiny data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"


@pytest.mark.skipif("GANLENS_TEST_DOCS" not in os.environ, reason="minutes long: make test-docs")
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["styles", "train"])
def test_notebook(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat and nbclient are not installed: make test-docs")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: make test-docs")
    monkeypatch.setenv("WORK", str(tmp_path))
    monkeypatch.setenv("STEPS", "4")
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
