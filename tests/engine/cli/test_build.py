"""``engine build`` and ``engine cache``, with real plans of TensorRT for RTX."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx (Linux on x86-64)")

from ganlens.engine.backends.build_progress import observer
from ganlens.engine.backends.tensorrt import BuildProgress, PlanCache, load, read_plan
from ganlens.engine.cli import app
from ganlens.engine.cli.build import duration, parse_bytes, parse_duration
from ganlens.engine.cli.progress import plan_progress
from ganlens.engine.errors import MediaError, ModelFileError, OptionError
from tests.kit.models import identity_model, network_model

pytestmark = pytest.mark.skipif(load().flavour != "tensorrt_rtx", reason="TensorRT itself is installed")


def engine(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return network_model(tmp_path / "net.onnx", None)


# --- build


def test_build_into_the_cache(model):
    result = engine("build", model)
    assert result.exit_code == 0, result.output
    first, second, path = result.stdout.splitlines()
    assert first.startswith("tiny: fp32 plan for 1x3x4x4 to 4x3x512x512, fastest at 1x3x16x24, ")
    assert second.startswith("built in ")
    assert "TensorRT for RTX" in second
    assert read_plan(Path(path)).record.model == "net.onnx"
    assert "found in the cache" in engine("build", model).stdout


def test_build_to_a_file(model, tmp_path):
    target = tmp_path / "net.plan"
    result = engine("build", model, "-o", target, "--opt", "4x96x64", "--max", "8x96x64", "--target", "sm_89", "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["path"] == str(target)
    assert values["shapes"]["x"] == {"min": [1, 3, 4, 4], "opt": [4, 3, 64, 96], "max": [8, 3, 64, 96]}
    assert values["key"]["target"] == "sm_89"
    assert "note: --opt is WIDTHxHEIGHT: 96 wide, 64 high." in result.stderr
    assert read_plan(target).record.plan_sha256 == values["sha256"]
    assert PlanCache().entries() == []
    assert isinstance(engine("build", model, "-o", target).exception, MediaError)
    assert engine("build", model, "-o", target, "-y", "-q").exit_code == 0
    shown = engine("info", target)
    assert shown.exit_code == 0
    assert "tiny" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("-o", "net.engine"), MediaError, r"'net.engine'; expected a name that ends in .plan"),
        (("-o", "nowhere/net.plan"), MediaError, "does not exist. Create it first"),
        (("--opt", "64"), OptionError, "--opt: got 64, expected WIDTHxHEIGHT or BATCHxWIDTHxHEIGHT"),
        (("--opt", "65x65"), OptionError, "takes any multiple of 4"),
        (("--target", "ampere"), OptionError, "cannot build for 'ampere'"),
        (("--workspace", "lots"), OptionError, "--workspace: got lots, expected a size as 500MB or 2GiB"),
        (("--workspace", "5KB"), OptionError, "expected 1 MiB or more"),
        (("--version-compatible",), OptionError, "has no version-compatible plans"),
    ],
)
def test_what_build_refuses(model, arguments, error, says):
    result = engine("build", model, *arguments)
    assert type(result.exception) is error
    with pytest.raises(error, match=says):
        raise result.exception


def test_models_of_others(tmp_path):
    path = network_model(tmp_path / "ink.onnx", None, foreign=True)
    assert isinstance(engine("build", path).exception, ModelFileError)
    result = engine("build", path, "--range", "-1..1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["shapes"]["x"]["min"] == [1, 3, 64, 64]


def test_a_plan_is_not_built_of_a_plan(model, tmp_path):
    engine("build", model, "-o", tmp_path / "net.plan")
    assert isinstance(engine("build", tmp_path / "net.plan").exception, ModelFileError)


# --- cache


def test_cache(model, tmp_path, own_cache):
    assert engine("cache", "where").stdout.strip() == str(own_cache / "plans")
    assert json.loads(engine("cache", "where", "--json").stdout) == {"folder": str(own_cache / "plans")}
    assert "No plan is in" in engine("cache", "list").stdout
    engine("build", model)
    engine("build", identity_model(tmp_path / "same.onnx"))
    listed = engine("cache", "list").stdout
    assert "1x24x16" in listed
    assert "4x512x512" in listed
    assert "2 plans, " in listed
    values = json.loads(engine("cache", "list", "--json").stdout)
    assert {Path(plan["path"]).suffix for plan in values["plans"]} == {".plan"}
    assert all(plan["bytes"] > 100_000 and plan["age_s"] < 100 and not plan["problem"] for plan in values["plans"])

    for path in (own_cache / "plans").iterdir():
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    assert "2 plans would be removed" in engine("cache", "prune", "--older-than", "30d", "-n").stdout
    assert len(PlanCache().entries()) == 2
    assert "0 plans removed, 0 bytes" in engine("cache", "prune", "--older-than", "6w").stdout
    total = sum(plan["bytes"] for plan in values["plans"])
    assert "0 plans removed" in engine("cache", "prune", "--max-size", f"{total}B").stdout
    assert "1 plan removed" in engine("cache", "prune", "--max-size", f"{total - 1}B").stdout
    pruned = json.loads(engine("cache", "prune", "--all", "--json").stdout)
    assert (pruned["removed"], len(pruned["plans"])) == (True, 1)
    assert list((own_cache / "plans").iterdir()) == []


def test_a_damaged_plan_is_listed_with_its_problem(model):
    engine("build", model)
    (entry,) = PlanCache().entries()
    Path(f"{entry.path}.json").write_text("{")
    assert "is not valid" in " ".join(engine("cache", "list").stdout.split())
    (plan,) = json.loads(engine("cache", "list", "--json").stdout)["plans"]
    assert "is not valid" in plan["problem"]


def test_prune_needs_to_be_told_what(model):
    assert isinstance(engine("cache", "prune").exception, OptionError)


def test_words_for_times_and_sizes():
    assert parse_duration("--older-than", "1.5h") == 5400
    assert parse_duration("--older-than", "2W") == 14 * 86400
    assert (parse_bytes("--max-size", "2GB"), parse_bytes("--max-size", "2GiB")) == (2 * 10**9, 2 * 2**30)
    assert [duration(seconds) for seconds in (5, 90, 7200, 3 * 86400)] == ["5 s", "2 min", "2 h", "3 d"]
    for text in ("30", "d", "-1d", "30y"):
        with pytest.raises(OptionError, match="--older-than: got .*, expected a time as 30d"):
            parse_duration("--older-than", text)
    for text in ("", "much", "2XB"):
        with pytest.raises(OptionError, match="--max-size: got .*, expected a size as 500MB"):
            parse_bytes("--max-size", text)


# --- progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal, monkeypatch):
    """A bar on a terminal, a line now and then without one."""
    monkeypatch.setattr("ganlens.engine.cli.progress._LINE_S", -1.0)
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with plan_progress(console):
        say, report = observer()
        say("waiting for another process that builds this plan")
        assert report is not None
        for fraction in (0.25, 0.5):
            assert report(BuildProgress(fraction, "Timing graph nodes", 10 * fraction)) is None
    said = text.getvalue()
    assert "waiting for another process" in said
    assert "Timing graph nodes" in said
    assert "50 %" in said
    if not terminal:
        assert "50 % after 5 s, about 5 s left: Timing graph nodes" in said
    assert observer().report is None  # nobody is told afterwards


def test_quiet_says_nothing():
    text = io.StringIO()
    with plan_progress(Console(file=text, force_terminal=True), quiet=True):
        say, report = observer()
        say("something")
        assert report is not None
        report(BuildProgress(0.5, "phase", 1.0))
    assert text.getvalue() == ""
