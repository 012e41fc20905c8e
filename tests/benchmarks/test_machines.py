"""The page of machines, from result files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import machines
from benchmarks.report import END

from ..engine.benchmark.test_runner import Machine, measure


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results go, beside an empty page of Jetson's."""
    (tmp_path / "jetson.md").write_text(f"# Jetson\n{machines.JETSON_BEGIN}\n{END}\nThe end.\n")
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setattr("sys.argv", ["machines", "--folder", str(results)])
    return results


def test_the_faster_machine_is_first_and_each_links_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ms in (("slow", 20.0), ("fast", 5.0)):
        result = measure(Machine(ms=ms))
        described = result.machine.model_copy(update={"cpu": f"the {name} one"})
        (folder / f"{name}.json").write_text(result.model_copy(update={"machine": described}).to_json())
    machines.main()
    text = (folder / "README.md").read_text()
    assert text.index("[the fast one") < text.index("[the slow one")
    assert "(fast.json) | cpu |" in text and "## psc 64x64 fp32" in text
    assert "| none yet |" in (folder.parent / "jetson.md").read_text()
    monkeypatch.setattr("sys.argv", ["machines", "--folder", str(folder), "--check"])
    machines.main()
    (folder / "slow.json").unlink()
    with pytest.raises(SystemExit, match="differs from its result files"):
        machines.main()


def test_a_jetson_has_a_row_for_each_model_on_its_page(folder: Path) -> None:
    result = measure(Machine(ms=20.0))
    described = result.machine.model_copy(update={"cpu": "NVIDIA Jetson Orin Nano", "system": "Linux 5.15"})
    rows = tuple(row.model_copy(update={"energy_j": 0.2}) for row in result.results)
    (folder / "nano.json").write_text(result.model_copy(update={"machine": described, "results": rows}).to_json())
    machines.main()
    first = next(row for row in rows if row.scenario == "latency")
    assert first.ms is not None
    assert (folder.parent / "jetson.md").read_text().splitlines()[4:] == [
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| NVIDIA Jetson Orin Nano | Linux 5.15 | psc 64x64 | fp32 | cpu | "
        f"{first.ms.p50:.1f} | {0.2 * first.per_second:.1f} | [nano.json](results/nano.json) |",
        "",
        END,
        "The end.",
    ]


def test_the_page_in_the_repository_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["machines", "--check"])
    machines.main()
