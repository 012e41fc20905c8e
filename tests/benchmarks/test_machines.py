"""The page of machines, from result files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import machines

from ..engine.benchmark.test_runner import Machine, measure


def test_the_faster_machine_is_first_and_each_links_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ms in (("slow", 20.0), ("fast", 5.0)):
        result = measure(Machine(ms=ms))
        described = result.machine.model_copy(update={"cpu": f"the {name} one"})
        (tmp_path / f"{name}.json").write_text(result.model_copy(update={"machine": described}).to_json())
    monkeypatch.setattr("sys.argv", ["machines", "--folder", str(tmp_path)])
    machines.main()
    text = (tmp_path / "README.md").read_text()
    assert text.index("[the fast one") < text.index("[the slow one")
    assert "(fast.json) | cpu |" in text and "## psc 64x64 fp32" in text
    monkeypatch.setattr("sys.argv", ["machines", "--folder", str(tmp_path), "--check"])
    machines.main()
    (tmp_path / "slow.json").unlink()
    with pytest.raises(SystemExit, match="differs from its result files"):
        machines.main()


def test_the_page_in_the_repository_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["machines", "--check"])
    machines.main()
