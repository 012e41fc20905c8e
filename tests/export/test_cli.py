"""The command on a run folder as ``engine train`` leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from ganlens.engine.cli import app
from ganlens.engine.errors import ExportError, MediaError, ModelFileError
from ganlens.engine.spec import GeneratorSpec, SizeRule
from ganlens.export import to_onnx
from ganlens.train.checkpoint import GENERATOR_NAME, save_generator
from ganlens.train.networks import make_generator

SPEC = GeneratorSpec(
    name="water", architecture="cyclegan", tier="nano", size=SizeRule(multiple_of=8, minimum=16, preferred=(32, 32))
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A run folder with a nano generator, whose configuration names the photos."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    save_generator(make_generator(SPEC), SPEC, folder / GENERATOR_NAME)
    (folder / "config.json").write_text(json.dumps({"method": "cyclegan", "photos": str(photos)}))
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *(str(argument) for argument in arguments)])


def test_a_run_folder_is_exported_and_judged_on_its_own_photos(run: Path, tmp_path: Path) -> None:
    result = invoke(run, "-o", tmp_path / "water.onnx", "--json")
    assert result.exit_code == 0, result.output
    verdict = json.loads(result.stdout)
    assert verdict["written"] is True
    assert verdict["failures"] == []
    assert verdict["parity_by_size"].keys() == {"32x32"}
    assert verdict["parity"]["images"] == 8
    assert verdict["file_bytes"] == (tmp_path / "water.onnx").stat().st_size
    assert verdict["macs"] == pytest.approx(0.448e9 / 64, rel=0.01)
    assert GeneratorSpec.model_validate(verdict["spec"]).name == "water"


def test_the_table_names_the_verdict(run: Path, photos: Path, tmp_path: Path) -> None:
    arguments = ("--size", "64x48", "--images", photos, "--parity", 2, "--name", "wave", "--precision", "fp16")
    result = invoke(run / GENERATOR_NAME, "-o", tmp_path / "w.onnx", *arguments)
    assert result.exit_code == 0, result.output
    for text in ("wave: cyclegan nano, fp16", "64x48", "PSNR >= 40 dB", "passed", "worst of 2 pictures"):
        assert text in result.stdout
    assert "note: --size is WIDTHxHEIGHT: 64 wide, 48 high." in result.stderr


def test_a_failed_gate_is_an_error_with_figures(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def zero_head(model: object) -> None:
        for tensor in model.graph.initializer:  # type: ignore[attr-defined]
            if "head.weight" in tensor.name:
                tensor.raw_data = bytes(len(tensor.raw_data))

    monkeypatch.setattr(to_onnx, "_clear_traces", zero_head)
    result = invoke(run, "-o", tmp_path / "water.onnx", "--json")
    assert isinstance(result.exception, ExportError)
    assert result.exit_code != 0
    assert "max abs" in str(result.exception)
    assert "was not written" in str(result.exception)
    assert json.loads(result.stdout)["written"] is False
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(run: Path, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt.safetensors").write_bytes(b"no tensors in here at all")
    save_file({"w": torch.zeros(1)}, str(tmp_path / "foreign.safetensors"))
    unknown = SPEC.model_copy(update={"tier": "moblie"})
    save_file({"w": torch.zeros(1)}, str(tmp_path / "unknown.safetensors"), metadata=unknown.to_metadata())
    save_file({"w": torch.zeros(1)}, str(tmp_path / "misfit.safetensors"), metadata=SPEC.to_metadata())
    for source, message in (
        (tmp_path / "nowhere", "no checkpoint"),
        (tmp_path / "empty", "no checkpoint"),
        (tmp_path / "corrupt.safetensors", "not a readable safetensors file"),
        (tmp_path / "foreign.safetensors", "no ganlens record"),
        (tmp_path / "unknown.safetensors", "Did you mean mobile"),
        (tmp_path / "misfit.safetensors", "do not fit"),
    ):
        result = invoke(source, "-o", target, "--images", photos)
        assert isinstance(result.exception, ModelFileError), (source, result.exception)
        assert message in str(result.exception)
    assert not target.exists()


def test_without_pictures_the_cure_is_named(run: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.safetensors"
    lone.write_bytes((run / GENERATOR_NAME).read_bytes())
    result = invoke(lone, "-o", tmp_path / "out.onnx")
    assert isinstance(result.exception, MediaError)
    assert "--images DIR" in str(result.exception)
    (tmp_path / "config.json").write_text(json.dumps({"photos": str(tmp_path / "moved away")}))
    result = invoke(lone, "-o", tmp_path / "out.onnx")
    assert isinstance(result.exception, MediaError)
    assert "moved away" in str(result.exception)
    assert "--images DIR" in str(result.exception)


def test_wrong_usage_exits_with_2(run: Path) -> None:
    assert invoke(run).exit_code == 2
    assert invoke(run, "-o", "x.onnx", "--precision", "fp8").exit_code == 2
