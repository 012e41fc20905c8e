"""The classifier: learns, is measured on people it never saw, and its file says how good it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.train.cli import app
from ganlens.train.config import AttributeConfig, ClassifierConfig
from ganlens.train.data.attribute_table import Faces
from ganlens.train.evaluate.classifier import (
    CLASSIFIER_NAME,
    METADATA_KEY,
    Classifier,
    ClassifierRecord,
    finish,
    load_classifier,
    measure,
)
from ganlens.train.loop import train

EditConfig = Callable[..., AttributeConfig]
RECORD = ClassifierRecord(
    attributes=("Smiling", "Young"), size=32, width=4, held_out=0, accuracy={}, balanced_accuracy={}
)


class Brightness(nn.Module):
    """Says "smiling" of bright red, and never "young"."""

    def forward(self, x: Tensor) -> Tensor:
        red = x[:, 0].mean(dim=(1, 2)) - (130 / 127.5 - 1)
        return torch.stack([red, torch.full_like(red, -1.0)], dim=1)


def test_it_learns_and_its_file_tells(edit_config: EditConfig, tmp_path: Path) -> None:
    config = edit_config("classifier", steps=60, learning_rate=1e-2, ema=0.8)
    assert isinstance(config, ClassifierConfig)
    assert train(config)
    record = finish(config)
    assert record.held_out == 4
    assert record.accuracy == {"Smiling": 1.0, "Young": 1.0}
    assert record.balanced_accuracy == record.accuracy
    loaded = load_classifier(tmp_path / "run")
    assert loaded.record == record == load_classifier(tmp_path / "run" / CLASSIFIER_NAME).record
    assert not loaded.network.training
    assert loaded(torch.rand(2, 3, 48, 48)).shape == (2, 2)  # resized to what it knows


def test_measures_by_hand(faces: Path) -> None:
    paths = sorted((faces / "images").iterdir())[:4]
    labels = np.array([[0, 0], [1, 1], [0, 0], [0, 0]], dtype=np.float32)  # young, smiling; the last one does smile
    accuracy, balanced = measure(Classifier(Brightness(), RECORD), Faces(paths, labels, None), ("young", "Smiling"))
    assert accuracy == {"young": 0.75, "Smiling": 0.75}
    assert balanced == {"young": pytest.approx((0 + 1) / 2), "Smiling": pytest.approx((1 + 2 / 3) / 2)}


def test_nothing_held_out(edit_config: EditConfig) -> None:
    with pytest.raises(TrainingError, match="No faces were held out"):
        measure(Classifier(Brightness(), RECORD), Faces([], np.zeros((0, 2), np.float32), None), ("Smiling",))


def test_unknown_attributes_are_named() -> None:
    classifier = Classifier(Brightness(), RECORD)
    assert classifier.columns(["YOUNG", "Smiling"]) == [1, 0]
    with pytest.raises(TrainingError, match="was not trained on Male, Bald, only on Smiling, Young"):
        classifier.columns(["Male", "Smiling", "Bald"])


def test_files_that_are_no_classifier(tmp_path: Path) -> None:
    file = tmp_path / CLASSIFIER_NAME
    with pytest.raises(ModelFileError, match="There is no classifier"):
        load_classifier(tmp_path)
    file.write_bytes(b"nonsense")
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_classifier(file)
    save_file({"a": torch.zeros(1)}, str(file))
    with pytest.raises(ModelFileError, match="is not a classifier"):
        load_classifier(file)
    save_file({"a": torch.zeros(1)}, str(file), metadata={METADATA_KEY: RECORD.model_dump_json()})
    with pytest.raises(ModelFileError, match="is damaged"):
        load_classifier(file)


def test_command(faces: Path, tmp_path: Path) -> None:
    words = f"classifier --data {faces} --attributes Smiling,Young --holdout 3 --size 32 --load-size 36 --batch 4"
    result = CliRunner().invoke(app, [*words.split(), "--width", "4", "--steps", "2", "--out", str(tmp_path / "judge")])
    assert result.exit_code == 0, result.output
    assert "4 faces of people never seen" in result.output
    assert (tmp_path / "judge" / CLASSIFIER_NAME).is_file()
