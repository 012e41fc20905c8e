"""engine train evaluate for every method: what it prints, and what it says is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ganlens.engine.errors import ModelFileError, OptionError, TrainingError
from ganlens.train.checkpoint import load_generator
from ganlens.train.cli import app
from ganlens.train.config import AttributeConfig, CycleGANConfig, make_config
from ganlens.train.evaluate.command import evaluate_run
from ganlens.train.loop import train
from ganlens.train.methods import METHODS
from ganlens.train.options import EvaluateOptions
from tests.kit.vgg import save_vgg


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vgg(tmp_path_factory.mktemp("vgg") / "vgg16.safetensors")


def evaluate(*words: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *(str(word) for word in words)], terminal_width=200)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.output


def test_generators_from_noise(faces: Path, tmp_path: Path, weights: Path) -> None:
    values: dict[str, Any] = {"data": str(faces), "out": str(tmp_path / "run"), "size": 32, "width": 2, "batch": 4}
    values |= {"steps": 2, "holdout": 3, "sample_every": 0, "loss": "cgan", "attributes": "Smiling,Young"}
    train(make_config(METHODS["dcgan"].config, values))
    assert "--weights or --inception is needed" in evaluate(tmp_path / "run")
    result = tmp_path / "result.json"
    text = evaluate(tmp_path / "run", "--weights", weights, "--json", result, "--count", 9, "--record")
    assert "FD-VGG" in text and "9 generated / 4 real; 32x32" in text and "held out" in text
    figure = json.loads(result.read_text())["frechet"]
    recorded = load_generator(tmp_path / "run")[1].metrics
    assert figure["value"] in recorded.values() and len(recorded) == 2
    assert "FD-VGG" in evaluate(tmp_path / "run" / "generator.safetensors", "--weights", weights)


@pytest.mark.parametrize("method", ["acl-gan", "stargan"])
def test_editors_need_a_judge_whatever_else_is_given(
    edit_config: Callable[..., AttributeConfig], folders: tuple[Path, Path], tmp_path: Path, weights: Path, method: str
) -> None:
    train(edit_config(method, steps=1))
    pictures = ["--photos", folders[0], "--paintings", folders[1], "--weights", weights]
    assert "give --classifier" in evaluate(tmp_path / "run", *pictures)
    (tmp_path / "alone").mkdir()
    file = tmp_path / "alone" / "generator.safetensors"
    file.write_bytes((tmp_path / "run" / "generator.safetensors").read_bytes())
    assert "give --classifier" in evaluate(file, *pictures)  # of a checkpoint alone its record says what it is


def test_the_classifier_itself(edit_config: Callable[..., AttributeConfig], tmp_path: Path) -> None:
    config = edit_config("classifier", steps=2)
    train(config)
    METHODS["classifier"].load().finish(config)
    text = evaluate(tmp_path / "run")
    assert "4 faces of people never seen" in text and "Smiling" in text and "Young" in text


@pytest.mark.parametrize("method", ["cyclegan"])
def test_translators(
    make_config: Callable[..., CycleGANConfig], folders: tuple[Path, Path], tmp_path: Path, weights: Path, method: str
) -> None:
    train(make_config(steps=1))
    assert "--photos, --paintings and --weights" in evaluate(tmp_path / "run")
    text = evaluate(tmp_path / "run", "--photos", folders[0], "--weights", weights, "--size", 32)
    assert "colour transfer" in text and "5 photos, 3 paintings" in text  # the paintings are the run's own


@pytest.mark.parametrize("option", ["grid", "clip_grid"])
def test_pictures_that_exist_are_replaced_only_when_asked(option: str, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(TrainingError, match=r"mine.png exists; pass -y to overwrite it"):
        evaluate_run(EvaluateOptions(tmp_path / "run", **{option: tmp_path / "mine.png"}))
    with pytest.raises(OptionError, match=r"mine.jpg: grids of pictures are written as .png"):
        evaluate_run(EvaluateOptions(tmp_path / "run", **{option: tmp_path / "mine.jpg"}, overwrite=True))
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_a_shipped_model_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="--classifier"):  # it was found, and edits attributes
        evaluate_run(EvaluateOptions(Path("face")))
    (tmp_path / "face").mkdir()  # a run folder of that name goes before it
    with pytest.raises(ModelFileError, match="There is no checkpoint face"):
        evaluate_run(EvaluateOptions(Path("face")))
