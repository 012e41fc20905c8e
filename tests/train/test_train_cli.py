"""The command line: help that teaches, one step that works, errors in one line, what --resume may change."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ganlens.engine.errors import TrainingError
from ganlens.train import cli
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.cli import app, merge
from ganlens.train.config import CycleGANConfig, load_config, make_config, save_config

runner = CliRunner()


def options(folders: tuple[Path, Path], out: Path) -> list[str]:
    values = {"photos": folders[0], "paintings": folders[1], "out": out, "tier": "nano", "size": 32, "steps": 1}
    values |= {"discriminator-width": 8, "samples": 1}
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def test_help_shows_defaults() -> None:
    text = runner.invoke(app, ["cyclegan", "--help"], terminal_width=120).output
    assert "--lambda-cyc" in text
    assert "Weight of the cycle loss." in text
    assert "[default: 10.0]" in text
    assert "--no-flip" in text


def test_a_line_of_the_help_fits_80_columns_and_is_not_cut() -> None:
    text = runner.invoke(app, ["--help"], terminal_width=80).output
    assert "cyclegan" in text and "..." not in text.replace("[ARGS]...", "")
    assert max(map(len, text.splitlines())) <= 80


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    result = runner.invoke(app, ["cyclgan"])
    assert result.exit_code == 2
    assert "Did you mean cyclegan" in result.output


def test_help_does_not_load_torch() -> None:
    code = "import sys, ganlens.train.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_step(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = runner.invoke(app, ["cyclegan", *options(folders, tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert load_generator(tmp_path / "run")[1].training.steps == 1
    assert "Next: engine export" in result.output


def test_errors_take_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["cyclegan", *options(folders, tmp_path / "run"), "--photos", str(tmp_path / "nowhere")]
    result = runner.invoke(app, words)
    assert result.exit_code == 1
    assert result.output.startswith("error: There is no folder")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "kind"),
    [("DefaultCPUAllocator: can't allocate memory: 9 bytes\nat alloc.cpp", MemoryError), ("no kernel", RuntimeError)],
)
def test_memory_that_pytorch_lacks(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, kind: type
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("ganlens.train.loop.train", fail)
    error = runner.invoke(app, ["cyclegan", *options(folders, tmp_path / "run")]).exception
    assert type(error) is kind and str(error) == words.split("\n")[0]


def test_unknown_option_is_wrong_usage(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert runner.invoke(app, ["cyclegan", *options(folders, tmp_path / "run"), "--lamda", "1"]).exit_code == 2


def test_config_file_then_command_line(make_config: Callable[..., CycleGANConfig], tmp_path: Path) -> None:
    saved = make_config(lambda_cyc=3, steps=7)
    path = save_config(saved, tmp_path)
    merged = merge(CycleGANConfig, {"steps": 9}, config_file=path)
    assert merged == saved.model_copy(update={"steps": 9})


def test_resume_takes_the_saved_options(folders: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert runner.invoke(app, ["cyclegan", *options(folders, run), "--lambda-cyc", "3"]).exit_code == 0
    result = runner.invoke(app, ["cyclegan", "--out", str(run), "--resume", "--steps", "2"])
    assert result.exit_code == 0, result.output
    config = load_config(run)
    assert isinstance(config, CycleGANConfig)
    assert (config.lambda_cyc, config.steps, load_state(run)["step"]) == (3, 2, 2)


def test_resume_refuses_to_become_another_run(make_config: Callable[..., CycleGANConfig], tmp_path: Path) -> None:
    save_config(make_config(), tmp_path)
    explicit = {"out": str(tmp_path), "seed": 5, "batch": 2}
    with pytest.raises(TrainingError, match="--batch, --seed cannot change when a run is resumed"):
        merge(CycleGANConfig, explicit, resume=True)
    with pytest.raises(TrainingError, match="--resume needs --out"):
        merge(CycleGANConfig, {}, resume=True)


def test_a_file_of_another_method_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"method": "distill"}')
    with pytest.raises(TrainingError, match="Use: engine train distill"):
        merge(CycleGANConfig, {}, config_file=tmp_path)


def test_demo(tmp_path: Path) -> None:
    result = runner.invoke(app, ["demo", "--out", str(tmp_path), "--steps", "2"])
    assert result.exit_code == 0, result.output
    assert load_generator(tmp_path / "run")[1].name == "demo"
    assert list((tmp_path / "run" / "samples").glob("*.png"))
    assert "holds a run" in runner.invoke(app, ["demo", "--out", str(tmp_path)]).output


def test_evaluate_says_what_is_missing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["evaluate", str(tmp_path), "--photos", str(folders[0]), "--paintings", str(folders[1])]
    result = runner.invoke(app, [*words, "--weights", str(tmp_path / "vgg.safetensors")])
    assert result.exit_code == 1
    assert "There is no checkpoint" in result.output


def test_the_next_command_can_be_copied_whatever_the_folder_is_called(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "_console", Console())
    config = make_config(CycleGANConfig, {"photos": "a", "paintings": "b", "out": "my runs [x]"})
    cli._tell_end(False, config)
    cli._tell_end(True, config)
    stopped, finished = capsys.readouterr().out.splitlines()
    assert shlex.split(stopped)[-3:] == ["--out", "my runs [x]", "--resume"]
    assert shlex.split(finished)[4:] == ["my runs [x]", "-o", "my runs [x].onnx"]
