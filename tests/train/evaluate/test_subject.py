"""Exported models are measured as the runs that they come from; figure 4; LPIPS and IS by their published weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.export.to_onnx import ExportOptions, export_onnx
from ganlens.train.checkpoint import load_generator
from ganlens.train.cli import app
from ganlens.train.config import AttributeConfig
from ganlens.train.evaluate.edits import Editor, edit_sheet, held_out_faces, parse_change
from ganlens.train.evaluate.metrics import LPIPS_LAYERS, load_linear, lpips
from ganlens.train.evaluate.subject import ONNXGenerator, open_subject
from ganlens.train.loop import train
from ganlens.train.networks.vgg16 import VGG16
from tests.kit.vgg import save_vgg


@pytest.fixture
def editor_run(edit_config: Callable[..., AttributeConfig]) -> Path:
    config = edit_config("acl-gan", steps=1)
    assert train(config)
    return config.run


def test_an_exported_editor_answers_as_its_run(editor_run: Path, faces: Path, tmp_path: Path) -> None:
    generator, spec = load_generator(editor_run)
    pictures = sorted((faces / "images").iterdir())[:2]
    file = tmp_path / "model.onnx"
    export_onnx(generator, spec, file, pictures, ExportOptions(size=(32, 32)))
    exported = open_subject(file)
    assert isinstance(exported.generator, ONNXGenerator)
    x, att = torch.rand(3, 3, 32, 32) * 2 - 1, torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    own, other = (Editor(subject.generator, subject.spec)(x, att) for subject in (open_subject(editor_run), exported))
    assert (own.image - other.image).abs().max() < 2e-3
    assert own.mask is not None and other.mask is not None and (own.mask - other.mask).abs().max() < 2e-3
    with pytest.raises(OptionError, match=r"takes 32x32, got 40x40. Give --size"):
        exported.generator(torch.zeros(1, 3, 40, 40), torch.zeros(1, 4))
    with pytest.raises(OptionError, match="--record writes into checkpoints"):
        open_subject(file, record=True)
    sheet = tmp_path / "sheet.png"
    words = ["evaluate", str(file), "--data", str(faces), "--holdout", "3", "--grid", str(sheet), "--grid-rows", "2"]
    done = CliRunner().invoke(app, [*words, "--change", "Smiling,Young=1"])
    assert done.exit_code == 0 and "Written" in done.output, done.output
    with Image.open(sheet) as picture:
        assert picture.width == 3 * 32  # original, result, mask: the graph has composed the segment


def test_figure_4(editor_run: Path) -> None:
    subject = open_subject(editor_run)
    editor = Editor(subject.generator, subject.spec)
    faces = held_out_faces(editor_run, editor.attributes.names, count=2)
    assert edit_sheet(editor, faces).width == (1 + 3 * 3) * 32  # each alone, and both at once
    assert parse_change("young=0, Smiling", editor.attributes.names) == {1: 0.0, 0: None}
    for text, told in (("Beard", "--change names 'Beard'"), ("Young=2", "a value is 0 or 1, got '2'")):
        with pytest.raises(OptionError, match=told):
            parse_change(text, editor.attributes.names)


def test_lpips_with_learned_weights(tmp_path: Path) -> None:
    linear = {f"lin{n}.model.1.weight": torch.full((1, c, 1, 1), 2.0) for n, c in enumerate((64, 128, 256, 512, 512))}
    torch.save(linear, tmp_path / "vgg.pth")
    network = VGG16.load(save_vgg(tmp_path / "vgg.safetensors"), LPIPS_LAYERS[-1], "torchvision")
    first, second = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    plain = lpips(network, first, second)
    assert torch.allclose(lpips(network, first, second, load_linear(tmp_path / "vgg.pth", "torchvision")), 2 * plain)
    with pytest.raises(TrainingError, match="belong to torchvision's VGG16"):
        load_linear(tmp_path / "vgg.pth", "caffe")
    del linear["lin3.model.1.weight"]
    torch.save(linear, tmp_path / "vgg.pth")
    with pytest.raises(TrainingError, match="lin3.model.1.weight is missing"):
        load_linear(tmp_path / "vgg.pth", "torchvision")


def test_the_inception_score_needs_the_fid_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganlens.train.evaluate import metrics

    class Answers(nn.Module):
        resize = "none"

        def class_logits(self, x: Tensor) -> Tensor:
            return 50 * torch.eye(4, dtype=torch.float64)[torch.arange(len(x)) % 4]

    batches = [torch.zeros(4, 3, 8, 8)] * 2
    assert metrics.inception_score(None, batches, 8, resize="none") is None
    monkeypatch.setattr(metrics, "FIDFeatures", Answers)
    figure = metrics.inception_score(Answers(), batches, 8, resize="none")  # type: ignore[arg-type]
    assert figure is not None and figure.name == "IS" and 1 < figure.value <= 4
    assert json.dumps(figure.to_dict())
