"""VGG16's layout, and the evaluation of a model that changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from ganlens.engine.errors import TrainingError
from ganlens.engine.spec import GeneratorSpec
from ganlens.train.checkpoint import load_generator, save_generator
from ganlens.train.data.pictures import list_pictures
from ganlens.train.evaluate.extractors import open_extractor
from ganlens.train.evaluate.translation import evaluate, evaluate_files, make_grid
from ganlens.train.networks import make_generator
from ganlens.train.networks.vgg16 import LAYERS, MEAN_RGB, VGG16
from tests.kit.vgg import save_vgg


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vgg(tmp_path_factory.mktemp("vgg") / "vgg16.safetensors")


def test_layers_and_keys_are_vgg16s() -> None:
    network = VGG16()
    numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert list(network.state_dict()) == [f"features.{n}.{kind}" for n in numbers for kind in ("weight", "bias")]
    assert sum(p.numel() for p in network.parameters()) == 14_714_688
    assert sum(p.numel() for p in VGG16("relu4_3").parameters()) == 7_635_264
    assert LAYERS[0] == "relu1_1" and LAYERS[-1] == "relu5_3" and len(LAYERS) == 13


def test_activations(weights: Path) -> None:
    network = VGG16.load(weights, "relu2_2")
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    assert network(x).shape == (2, 128, 16, 24)
    assert network(x).min() >= 0
    assert network.pooled(x).shape == (2, 128)
    assert torch.allclose(network.pooled(x), network(x).mean((2, 3)))
    mean = (torch.tensor(MEAN_RGB) / 127.5 - 1).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert network(mean).abs().max() < 1e-3  # the mean picture enters as zero, and there are no biases here


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no file"):
        VGG16.load(tmp_path / "vgg.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(TrainingError, match="not a readable safetensors"):
        VGG16.load(tmp_path / "text.safetensors")
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(TrainingError, match=r"features\.0\.bias is missing"):
        VGG16.load(tmp_path / "part.safetensors")
    with pytest.raises(TrainingError, match="no layer 'relu6_1'"):
        VGG16("relu6_1")


def test_a_model_that_changes_nothing_is_the_identity_row(folders: tuple[Path, Path], weights: Path) -> None:
    photos, paintings = list_pictures(str(folders[0])), list_pictures(str(folders[1]))
    extractor = open_extractor(vgg=weights)
    found = evaluate(nn.Identity(), photos, paintings, extractor, size=32)
    assert found.distances["model"] == found.distances["identity"] > 0
    assert (found.photos, found.paintings, found.size) == (5, 3, 32)
    assert found.kernel["model"] == found.kernel["identity"]
    same = evaluate(nn.Identity(), paintings, paintings, extractor, size=32)
    assert same.distances["model"] == pytest.approx(0, abs=1e-3 * found.distances["model"])
    names = found.metrics()
    assert all("5 photos / 3 paintings, 32 px" in name for name in names)
    assert {name.split()[0] for name in names} == {"FD-VGG", "KD-VGG"} and len(names) == 6


def test_grid_shows_photo_transfer_and_model(folders: tuple[Path, Path]) -> None:
    photos, paintings = list_pictures(str(folders[0])), list_pictures(str(folders[1]))
    grid = np.asarray(make_grid(nn.Identity(), photos[:2], paintings, size=40))
    assert grid.shape == (80, 120, 3)
    with Image.open(photos[0]) as photo:
        assert np.array_equal(grid[:40, :40], np.asarray(photo))
    assert np.array_equal(grid[:, 80:], grid[:, :40])
    assert not np.array_equal(grid[:, 40:80], grid[:, :40])


def test_files(folders: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    spec = GeneratorSpec(name="tiny", architecture="cyclegan", tier="nano")
    written = save_generator(make_generator(spec), spec, tmp_path / "generator.safetensors")
    found = evaluate_files(
        tmp_path,
        [str(folders[0] / "0.png"), str(folders[0] / "[1-3].png")],
        str(folders[1]),
        weights,
        size=32,
        grid=tmp_path / "grid.png",
        grid_rows=2,
        result=tmp_path / "result.json",
        record=True,
    )
    assert found.photos == 4
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["distances"] == found.distances
    assert "bicubic" in report["resize"] and report["features"].startswith("VGG16 relu5_3")
    assert (report["model"], report["weights_sha256"]) == ("tiny", written.weights_sha256)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (96, 64)
    recorded = load_generator(tmp_path)[1]
    assert recorded.metrics == found.metrics()
    assert recorded.weights_sha256 == written.weights_sha256
