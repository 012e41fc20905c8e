"""Foreign checkpoints: recognised, the same answers as their own networks, refused with the first unknown names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from ganlens.engine.cli import app
from ganlens.engine.errors import ExportError, ModelFileError, OptionError
from ganlens.engine.spec import GeneratorSpec
from ganlens.export.foreign import load_foreign
from tests.kit.foreign_networks import ResnetGenerator, StarGANGenerator, UnetGenerator, lively

X = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("blocks", [6, 9])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("dropout", [False, True])
@torch.no_grad()
def test_resnet_generators(tmp_path: Path, blocks: int, norm: str, dropout: bool) -> None:
    theirs = lively(ResnetGenerator(4, norm, dropout, blocks)).eval()
    torch.save(theirs.state_dict(), tmp_path / "latest_net_G.pth")
    found = load_foreign(tmp_path / "latest_net_G.pth")
    assert found.spec.tier == f"resnet{blocks}"
    assert found.spec.options["norm"] == {"instance": "in", "batch": "bn"}[norm]
    assert torch.allclose(found.generator(X), theirs(X), atol=1e-5)


@pytest.mark.parametrize("downs", [7, 8])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@torch.no_grad()
def test_u_nets(tmp_path: Path, downs: int, norm: str) -> None:
    theirs = lively(UnetGenerator(2, norm, downs)).eval()
    torch.save({"module." + key: value for key, value in theirs.state_dict().items()}, tmp_path / "net.pth")
    found = load_foreign(tmp_path / "net.pth")
    x = X.repeat(1, 1, downs - 6, downs - 6)
    assert found.spec.size.preferred == x.shape[2:] and found.spec.tier == f"unet{x.shape[2]}"
    assert torch.allclose(found.generator(x), theirs(x.clone()), atol=1e-5)


@torch.no_grad()
def test_stargan_answers_as_its_public_code_does(tmp_path: Path) -> None:
    theirs = lively(StarGANGenerator(4, 5)).train()  # its test() never calls eval()
    torch.save(theirs.state_dict(), tmp_path / "200000-G.ckpt")
    found = load_foreign(tmp_path / "200000-G.ckpt", name="hair")
    assert found.spec.attributes is not None
    assert found.spec.attributes.names == ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
    assert found.spec.attributes.groups == (("Black_Hair", "Blond_Hair", "Brown_Hair"),)
    assert (found.spec.name, found.spec.face_alignment, found.spec.size.preferred) == ("hair", "celeba", (128, 128))
    att = torch.tensor([[1.0, 0, 0, 1, 0]])
    assert torch.allclose(found.generator(X, att), theirs(X, att), atol=1e-5)


def test_stargan_with_labels_of_its_own(tmp_path: Path) -> None:
    torch.save(StarGANGenerator(2, 3).state_dict(), tmp_path / "G.ckpt")
    with pytest.raises(OptionError, match="takes 3 attributes, got 0 names. Give --attributes"):
        load_foreign(tmp_path / "G.ckpt")
    found = load_foreign(tmp_path / "G.ckpt", attributes=("happy", "sad", "calm"))
    assert found.spec.attributes is not None and found.spec.face_alignment == ""


def test_wrapped_and_safetensors_checkpoints(tmp_path: Path) -> None:
    state = ResnetGenerator(2, "instance", False, 6).state_dict()
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "wrapped.pt")
    save_file(state, tmp_path / "plain.safetensors")
    for name in ("wrapped.pt", "plain.safetensors"):
        assert load_foreign(tmp_path / name).spec.tier == "resnet6"


def test_what_is_not_recognised_is_said_with_its_names(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Linear(2, 2)).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelFileError, match="not a known generator: its first weights are 0.weight, 0.bias, 1.weight"):
        load_foreign(tmp_path / "other.pth")
    state = ResnetGenerator(2, "instance", False, 6).state_dict()
    del state["model.13.conv_block.5.bias"]
    state["model.99.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "near.pth")
    with pytest.raises(ModelFileError, match=r"1 weights are missing .*\(body.3.layers.5.bias\), 1 are unknown"):
        load_foreign(tmp_path / "near.pth")
    torch.save(ResnetGenerator(2, "instance", False, 4).state_dict(), tmp_path / "four.pth")
    with pytest.raises(ModelFileError, match="with 4 blocks; expected 6 or 9"):
        load_foreign(tmp_path / "four.pth")
    with pytest.raises(ModelFileError, match="There is no file"):
        load_foreign(tmp_path / "missing.pth")


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 3, 3), tmp_path / "whole.pth")  # a pickled module
    with pytest.raises(ModelFileError, match="cannot be loaded safely.*could run code"):
        load_foreign(tmp_path / "whole.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ModelFileError, match="cannot be loaded safely"):
        load_foreign(tmp_path / "text.pth")


def test_default_pictures_are_textured_and_of_the_networks_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contrasts = []

    def look(_generator: nn.Module, _spec: GeneratorSpec, _output: Path, pictures: list[Path], *_: object) -> None:
        for picture in pictures:
            grey = np.asarray(Image.open(picture).convert("L"), dtype=np.float32)
            assert grey.shape == (128, 128)
            contrasts.append(np.abs(np.diff(grey)).mean())
        raise ExportError("looked at")

    monkeypatch.setattr("ganlens.export.to_onnx.export_onnx", look)
    torch.save(ResnetGenerator(2, "instance", False, 6).state_dict(), tmp_path / "net.pth")
    CliRunner().invoke(app, ["import", str(tmp_path / "net.pth"), "-o", str(tmp_path / "net.onnx")])
    assert len(contrasts) == 8 and min(contrasts) > 4  # smooth scenes have about 1


@pytest.mark.parametrize("family", ["cyclegan", "stargan"])
def test_imported_and_translated(tmp_path: Path, family: str) -> None:
    theirs = lively(ResnetGenerator(4, "instance", False, 6) if family == "cyclegan" else StarGANGenerator(4, 5))
    torch.save(theirs.state_dict(), tmp_path / "latest_net_G.pth")
    out = tmp_path / "model.onnx"
    words = ["import", str(tmp_path / "latest_net_G.pth"), "-o", str(out), "--json", "--data-licence", "CC0"]
    words += ["--size", "64"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    verdict = json.loads(result.stdout)
    assert verdict["written"] and verdict["spec"]["training"]["data_licence"] == "CC0"
    assert "Imported from latest_net_G.pth" in verdict["spec"]["training"]["note"]
    picture = np.asarray(Image.effect_noise((64, 64), 80).convert("RGB"))
    Image.fromarray(picture).save(tmp_path / "in.png")
    framing = [] if family == "cyclegan" else ["--framing", "fit", "--set", "Male=1"]
    words = ["translate", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--model", str(out), *framing]
    result = CliRunner().invoke(app, [*words, "--backend", "cpu"])
    assert result.exit_code == 0, result.output
    made = np.asarray(Image.open(tmp_path / "out.png"))
    assert made.shape == picture.shape and made.std() > 1
