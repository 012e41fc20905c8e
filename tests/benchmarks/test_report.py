"""Results as files, and their tables in the README."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, results

MACHINE = {
    "cpu": "Abacus",
    "cores": 2,
    "flags": ["avx2"],
    "memory_gib": 4.0,
    "system": "Linux 6",
    "python": "3.12.1",
    "packages": {"av": "18.1.0"},
    "commit": "abc1234",
    "date": "2026-01-02T03:04:05+00:00",
}


def record(name: str, date: str, value: float = 1.0, **changes: Any) -> dict[str, Any]:
    table = {"title": name, "columns": ["program", "seconds"], "rows": [["ours", value]]}
    return {"benchmark": name, "machine": {**MACHINE, "date": date, **changes}, "table": table}


def test_table_puts_text_left_and_numbers_right() -> None:
    assert results.markdown("Speed", ["program", "s"], [["ours", 1.5], ["other", 10]]) == (
        "**Speed**\n\n| program | s |\n|---|---:|\n| ours | 1.5 |\n| other | 10 |\n"
    )


def test_result_file_holds_table_machine_settings_and_details(tmp_path: Path) -> None:
    path = tmp_path / "new" / "speed.json"
    results.write(
        path, "speed", title="Speed", columns=["a"], rows=[[1]], settings={"crf": 20}, details={"runs": [1, 2]}
    )
    read = json.loads(path.read_text())
    assert read["table"] == {"title": "Speed", "columns": ["a"], "rows": [[1]]}
    assert read["settings"] == {"crf": 20}
    assert read["details"] == {"runs": [1, 2]}
    assert read["machine"]["cores"] >= 1
    assert report.newest([path]) == {path: read}


def test_row_of_wrong_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got a row of 2 cells, expected 1"):
        results.write(tmp_path / "x.json", "x", title="", columns=["a"], rows=[[1, 2]], settings={}, details={})
    assert not list(tmp_path.iterdir())


def test_newest_result_of_each_benchmark_is_taken(tmp_path: Path) -> None:
    for number, (name, date, value) in enumerate(
        [("b", "2026-01-01", 1.0), ("b", "2026-02-01", 2.0), ("a", "2025", 3.0)]
    ):
        (tmp_path / f"{number}.json").write_text(json.dumps(record(name, date, value)))
    assert [r["table"]["rows"][0][1] for r in report.newest(tmp_path.glob("*.json")).values()] == [3.0, 2.0]


def test_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"benchmark": "x"}')
    with pytest.raises(ValueError, match=r"other\.json lacks machine, table"):
        report.newest([path])


def test_machine_is_said_once_for_the_tables_that_share_it() -> None:
    text = report.render([record("a", "2026"), record("b", "2026"), record("c", "2026", cpu="Analytical Engine")])
    assert text.count("Abacus") == 1
    assert text.index("**b**") < text.index("Abacus") < text.index("**c**") < text.index("Analytical Engine")
    assert "av 18.1.0" in text
    assert report.render([]) == ""


def test_only_what_stands_between_the_marks_changes() -> None:
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.insert(text, "new\n")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.insert(once, "new\n") == once


@pytest.mark.parametrize("text", ["", report.BEGIN, f"{report.END}{report.BEGIN}", f"{report.BEGIN * 2}{report.END}"])
def test_missing_marks_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="expected one line"):
        report.insert(text, "new")


def test_each_result_goes_to_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    measured, studies, readme = (tmp_path / page for page in ("docs/measured.md", "docs/studies.md", "README.md"))
    for page in (measured, studies, readme):
        page.write_text(f"{report.BEGIN}\n{report.END}\n")
    for number, name in enumerate(("video frame", "acl-gan-cost", "losses")):
        (tmp_path / f"{number}.json").write_text(json.dumps(record(name, "2026")))
    arguments = ["report", "--results", str(tmp_path), "--root", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--check"])
    with pytest.raises(SystemExit, match=r"measured\.md differs"):
        report.main()
    monkeypatch.setattr(sys, "argv", arguments)
    report.main()
    assert "**video frame**" in measured.read_text()
    assert "**acl-gan-cost**" in studies.read_text()
    assert "losses" not in measured.read_text() + studies.read_text()
    assert "acl-gan" not in measured.read_text()
    assert "|" not in readme.read_text()
    monkeypatch.setattr(sys, "argv", [*arguments, "--check"])
    report.main()


def video(model: str, **fps: float) -> dict[str, Any]:
    made = record(f"video frame, {model}", "2026")
    rows = [[program, 1.0, value] for program, value in fps.items()]
    return {**made, "table": {"title": model, "columns": ["program", "seconds", "fps"], "rows": rows}}


def test_the_summary_has_a_row_for_each_model_and_links_each_figure() -> None:
    records = {"a.json": video("starry", ours=60.5, loop=30), "b/c.json": video("comic", ours=90)}
    text = report.summary({**records, "d.json": record("kernels", "2026")})
    assert "Abacus, 2 cores" in text
    assert text.splitlines()[2:] == [
        "| model | ours | loop |",
        "|---|---|---|",
        "| starry | [60.5](a.json) | [30](a.json) |",
        "| comic | [90](b/c.json) | – |",
    ]
    assert report.summary({}) == ""


def test_the_summary_mixes_no_machines() -> None:
    other = video("comic", ours=1)
    other["machine"] = {**MACHINE, "cpu": "Analytical Engine"}
    with pytest.raises(ValueError, match="of 2 machines"):
        report.summary({"a": video("starry", ours=1), "b": other})


def test_result_without_a_page_is_an_error() -> None:
    with pytest.raises(ValueError, match="no page takes the results of 'weather'"):
        report.page_of("weather")


def test_the_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["report", "--check"])
    report.main()


def test_machine_description_is_complete() -> None:
    described = results.describe()
    assert set(MACHINE) <= set(described)
    assert described["cpu"]
    packages = described["packages"]
    assert isinstance(packages, dict)
    assert {"numpy", "av"} <= set(packages)
    assert json.loads(json.dumps(described)) == described
    assert str(described["cpu"]) in results.one_line(described)
