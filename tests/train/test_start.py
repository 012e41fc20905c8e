"""Runs that start from an exported file: its weights in the form that trains, and files that cannot be a start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.engine.model import FOLDER
from ganlens.engine.model.description import read_spec
from ganlens.train.checkpoint import load_generator
from ganlens.train.config import PairedConfig
from ganlens.train.loop import Trainer
from ganlens.train.networks import make_generator
from ganlens.train.networks.layers import Foldable, fold, unfold
from ganlens.train.start import load_exported

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

Make = Callable[..., PairedConfig]


@pytest.fixture
def config(paired_config: Make) -> Make:
    """A run of starry's kind of network, with answers; options can be changed."""
    return lambda **changes: paired_config(**{"tier": "mobile", "shape": "balanced", "varied": 0, **changes})


@pytest.mark.parametrize("name", ["starry", "comic"])
def test_the_generator_of_a_shipped_style_paints_what_the_file_paints(name: str) -> None:
    generator, spec = load_exported(name)
    assert any(isinstance(layer, Foldable) for layer in generator.modules()), "the form that trains"
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    session = ort.InferenceSession(str(FOLDER / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: picture.numpy()})
    with torch.no_grad():
        found = generator(picture).numpy()
    assert np.abs(found - expected).max() < 5e-3
    assert spec.name == name


def test_unfolding_is_the_inverse_of_folding() -> None:
    torch.manual_seed(0)
    for name in ("starry", "comic"):
        spec = read_spec(FOLDER / f"{name}.onnx")
        first, second = make_generator(spec), make_generator(spec)
        unfold(second, fold(first))
        for key, value in first.state_dict().items():
            torch.testing.assert_close(second.state_dict()[key], value, atol=1e-5, rtol=1e-4)


def test_a_run_starts_from_a_model_by_its_name(config: Make) -> None:
    trainer = Trainer(config(start_from="starry"))
    expected = load_exported("starry")[0].state_dict()
    found: dict[str, Tensor] = trainer.method.networks["generator"].state_dict()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], atol=1e-6, rtol=1e-4)


def test_a_run_of_that_name_wins(config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = Trainer(config(out="starry"))
    first.save()
    second = Trainer(config(start_from="starry"))
    own = load_generator(tmp_path / "starry")[0].state_dict()
    assert all(torch.equal(value, own[key]) for key, value in second.method.networks["generator"].state_dict().items())


@pytest.mark.parametrize(("start", "padding"), [("starry", "replicate"), ("cafe", "zeros"), ("cafe", "replicate")])
def test_another_padding_than_that_of_the_start_is_told(
    config: Make, caplog: pytest.LogCaptureFixture, start: str, padding: str
) -> None:
    caplog.set_level(logging.WARNING, logger="ganlens.train.start")
    Trainer(config(start_from=start, padding=padding))
    before = "replicate" if start == "cafe" else "zeros"
    told = f"{start} was trained with --padding {before}, this run has {padding}"
    assert (told in caplog.text) == (padding != before)


@pytest.mark.parametrize(
    ("start", "changes", "error", "message"),
    [
        ("starry", {"tier": "nano"}, TrainingError, "is a mobile network .*is nano"),
        ("starry", {"shape": "joined"}, TrainingError, "Give the same --tier, --shape"),
        ("nowhere", {}, ModelFileError, "takes a run folder, an ONNX file or a model's name.*No model is called"),
        ("face", {}, TrainingError, "its generator takes .*no attributes"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    config: Make, start: str, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Trainer(config(start_from=start, **changes))


def test_weights_that_export_merged_are_no_start(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(FOLDER / "starry.onnx"))
    dropped = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("norm1.weight"))
    dropped.name += "_folded"
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ModelFileError, match="weights are stored as they were trained"):
        load_exported(str(tmp_path / "other.onnx"))
