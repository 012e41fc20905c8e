"""A method is two files and a row: command, resume, refusals, samples and export follow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import ganlens.train
from ganlens.engine.errors import TrainingError
from ganlens.export.run import load_run
from ganlens.train.checkpoint import load_state
from ganlens.train.cli import add_commands
from ganlens.train.config import load_config
from ganlens.train.methods import METHODS, MethodEntry
from ganlens.train.methods.base import Method
from tests.kit.toy_config import ToyConfig

TRAIN = Path(ganlens.train.__file__).parent


def test_a_toy_method_is_two_files_and_a_row(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "toy", MethodEntry(ToyConfig, "tests.kit.toy_method:Toy", "translation"))
    app = typer.Typer()
    add_commands(app)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["toy", "--out", str(tmp_path / "run"), *words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output

    assert "--brightness" in run("--help") and "How much brighter" in run("--help")
    data = ["--photos", str(folders[0]), "--paintings", str(folders[1])]
    small = ["--tier", "nano", "--size", "32", "--steps", "2", "--sample-every", "2", "--samples", "1"]
    assert "Next: engine export" in run(*data, *small)
    assert "--colour cannot change" in run("--resume", "--colour", "red")
    run("--resume", "--steps", "3", "--brightness", "0.5")
    config = load_config(tmp_path / "run")
    assert isinstance(config, ToyConfig) and config.brightness == 0.5
    assert load_state(tmp_path / "run")["step"] == 3
    with Image.open(tmp_path / "run" / "samples" / "step-0000002.png") as grid:
        assert grid.size == (64, 32)
    assert load_run(tmp_path / "run").spec.tier == "nano"


@pytest.mark.parametrize("name", METHODS)
def test_every_row_loads_its_class(name: str) -> None:
    assert issubclass(METHODS[name].load(), Method)
    assert METHODS[name].config.model_fields["method"].default == name


class Dataless(Method):
    """A method that names no data."""

    def __init__(self, config: ToyConfig) -> None:
        self.config = config


def test_a_method_without_data_is_refused() -> None:
    with pytest.raises(TypeError, match="make_dataset"):
        Dataless(ToyConfig.model_construct())  # type: ignore[abstract]
    with pytest.raises(TrainingError, match="define make_dataset"):
        MethodEntry(ToyConfig, f"{__name__}:Dataless", "translation").load()


def test_the_table_is_made_without_torch() -> None:
    code = "import sys, ganlens.train.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nobody_outside_a_method_asks_which_configuration_it_is() -> None:
    asked = []
    for file in TRAIN.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                kinds = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                if any(kind.endswith("Config") and kind != "TrainConfig" for kind in kinds):
                    asked.append(file.relative_to(TRAIN).as_posix())
    assert asked == ["methods/psc_gan.py"]  # of the run that --stage1 names


def test_what_may_change_is_a_mark_on_the_field() -> None:
    changeable = {name: entry.config.changeable() for name, entry in METHODS.items()}
    for names in changeable.values():
        assert {"out", "steps", "learning_rate", "threads", "note"} <= names
        assert not names & {"seed", "batch", "tier", "norm", "method", "ema"}
    assert "noise" in changeable["paired"] and "noise" not in changeable["dcgan"]
    assert "lambda_att" in changeable["acl-gan"] and "attributes" not in changeable["acl-gan"]
