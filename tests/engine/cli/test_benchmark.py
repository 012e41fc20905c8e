"""``engine benchmark``: what is typed, printed and written. Measured on an artificial machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganlens.engine.benchmark import runner
from ganlens.engine.benchmark.result import read_result

from ..benchmark.test_runner import Machine

COMMAND = ("benchmark", "psc", "--backend", "cpu", "--scenario", "latency,throughput", "--seconds", "2")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(runner, "run_worker", machine)
    return machine


def test_it_prints_a_table_and_a_sentence(engine, machine: Machine) -> None:
    status, out, err = engine(*COMMAND)
    assert status == 0
    assert out.splitlines()[-1].startswith("psc runs at")
    assert "models and pictures" in err
    assert engine(*COMMAND, "-q")[2] == ""


def test_it_writes_under_names_of_their_own(engine, machine: Machine, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for _ in range(2):
        status, _, err = engine(*COMMAND, "-o", "results")
        assert status == 0
    files = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert len(files) == 8 and len({name.removesuffix(".json") for name in files if name.endswith(".json")}) == 2
    page = next((tmp_path / "results").glob("*.md")).read_text()
    assert "| latency | cpu |" in page and "-quality.png)" in page
    assert "wrote results" in err


def test_json_goes_to_standard_output(engine, machine: Machine) -> None:
    status, out, _ = engine(*COMMAND, "--json")
    assert status == 0
    values = json.loads(out)
    assert values["schema"] == "ganlens-benchmark/1"
    assert values["command"].startswith("engine benchmark psc --backend cpu")


def compared(engine, machine: Machine, tmp_path: Path, ms: float, *more: str) -> tuple[int, str, str]:
    engine(*COMMAND, "-o", "old")
    machine.ms = ms
    return engine(*COMMAND, "--compare", next((tmp_path / "old").glob("*.json")), *more)


def test_equal_results_are_no_difference(engine, machine: Machine, tmp_path: Path) -> None:
    status, out, _ = compared(engine, machine, tmp_path, 8.0, "--fail-above", "10%")
    assert status == 0
    assert out.count("no difference") == 2


def test_a_slow_down_fails_where_asked_to(engine, machine: Machine, tmp_path: Path) -> None:
    status, out, err = compared(engine, machine, tmp_path, 9.6, "--fail-above", "10%")
    assert status == 1
    assert "slower" in out
    assert "more than 10 %" in err
    assert compared(engine, machine, tmp_path, 9.6)[0] == 0


def test_a_backend_that_is_absent_is_said_and_no_row_is_a_failure(engine, machine: Machine) -> None:
    machine.broken = {"cpu": "onnxruntime is not installed"}
    status, out, _ = engine(*COMMAND)
    assert status == 1
    assert "onnxruntime is not installed. pip install 'ganlens[cpu]'" in " ".join(out.split())


def test_an_interrupt_writes_what_is_done(engine, machine: Machine, tmp_path: Path) -> None:
    def stop(job: object) -> bool:
        if sum(done.kind == "run" for done in machine.jobs) == 3:
            raise KeyboardInterrupt
        return False

    machine.crash = stop
    status, out, _ = engine(*COMMAND, "-o", "results")
    assert status == 130
    assert "stopped early" in out
    result = read_result(next((tmp_path / "results").glob("*.json")))
    assert result.interrupted and len(result.results[0].runs) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail-above", "10%"], "--fail-above needs --compare"),
        (["--compare", "old.json"], "old.json cannot be read"),
        (["--compare", "other.json"], "other.json: schema 'x', expected 'ganlens-benchmark/1'"),
        (["--fail-above", "much", "--compare", "old.json"], "--fail-above much: expected a percentage"),
        (["--scenario", "speed"], "No scenario is called 'speed'"),
        (["--size", "big"], "--size big: expected N or WIDTHxHEIGHT"),
        (["--size", "100"], "psc takes 64x64"),
        (["--batch", "many"], "--batch many: expected whole numbers"),
        (["-o", "file.txt"], "file.txt is a file; expected a folder"),
        (["-o", "/proc/nowhere"], "/proc/nowhere cannot be written"),
        (["--images", "empty"], "empty"),
    ],
)
def test_what_cannot_be_done_is_said_before_measuring(
    engine, machine: Machine, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"schema": "x"}')
    model = ["starry"] if "--images" in arguments else []
    status, _, err = engine(*COMMAND, *model, *arguments)
    assert status == 1
    assert message in err
    assert not machine.jobs
