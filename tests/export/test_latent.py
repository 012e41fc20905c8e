"""Export of generators from noise: order of the inputs, free batch, and a gate that is judged on seeded noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from ganlens.engine import Generator, Translator
from ganlens.engine.backends import available
from ganlens.engine.cli import app
from ganlens.engine.errors import ExportError, OptionError
from ganlens.engine.model.latents import draw, seeded
from ganlens.engine.spec import AttributeInput, GeneratorSpec, LatentInput, SizeRule
from ganlens.export import ExportOptions, ExportReport, export_onnx, run, to_onnx
from ganlens.export.parity import inputs_text
from ganlens.export.run import Run, pictures_of
from tests.kit.tiny_generator import make_tiny

LABELS = AttributeInput(
    name="c",
    names=("male", "female", "wavy", "straight", "other"),
    groups=(("male", "female"), ("wavy", "straight", "other")),
    exactly_one=True,
)
KNOWN = AttributeInput.model_validate(
    {**LABELS.model_dump(), "combinations": [{"names": ["female", "wavy"], "count": 3}]}
)
DIM, SIDE = 7, 16


class TinyFaces(nn.Module):
    """Noise and labels, each through a layer of its own, to 16x16: in the wrong order they would not fit."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.noise = nn.Linear(DIM, 8 * 16)
        self.said = nn.Linear(labels, 8 * 16) if labels else None
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.add = nn.Conv2d(8, 8, 1)
        self.last = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.noise(z)
        if self.said is not None:
            h = h + self.said(labels)
        h = self.up(torch.relu(self.norm(h.unflatten(1, (8, 4, 4)))))
        return torch.tanh(self.last(torch.relu(h + self.add(h))))


def faces(labels: AttributeInput | None = LABELS, **latent: object) -> tuple[nn.Module, GeneratorSpec]:
    torch.manual_seed(3)
    generator = TinyFaces(labels.length if labels else 0)
    generator.norm.running_mean.uniform_(-0.5, 0.5)
    generator.norm.running_var.uniform_(0.2, 0.5)
    spec = GeneratorSpec(
        name="psc",
        architecture="test",
        image=None,
        attributes=labels,
        latent=LatentInput(name="noise", dim=DIM, **latent),
        size=SizeRule(fixed=(SIDE, SIDE), preferred=(SIDE, SIDE)),
    )
    return generator.eval(), spec


def export(folder: Path, made: tuple[nn.Module, GeneratorSpec], **options: object) -> ExportReport:
    return export_onnx(*made, folder / "psc.onnx", [], ExportOptions(**options))


def shapes_of(report: ExportReport) -> dict[str, list[int | str]]:
    opened = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    return {entry.name: entry.shape for entry in [*opened.get_inputs(), *opened.get_outputs()]}


def expected(generator: nn.Module, seeds: range, label: list[float]) -> np.ndarray:
    """(N, H, W, 3) in levels, not rounded."""
    z = torch.from_numpy(np.stack([draw(LatentInput(dim=DIM), seeded(seed)) for seed in seeds]))
    with torch.inference_mode():
        y = generator(z, torch.tensor([label] * len(seeds), dtype=torch.float32))
    return (y.numpy().transpose(0, 2, 3, 1) + 1) * 127.5


@pytest.fixture(scope="module", params=[False, True], ids=["one picture", "free batch"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export(tmp_path_factory.mktemp("latent"), faces(), dynamic=request.param, parity_pictures=5)


def test_the_runtime_makes_what_pytorch_makes(exported: ExportReport) -> None:
    assert exported.passed and exported.parity.max_abs < 1e-4
    free = isinstance(shapes_of(exported)["z"][0], str)
    for backend in [status.name for status in available() if status.usable and status.device == "cpu"]:
        with Generator.open(exported.path, backend=backend) as opened:
            assert opened.backend.batch == (None if free else 1)
            assert opened.spec.parity == exported.parity
            came = opened(labels=["female", "wavy"], seed=20, n=9)
        exact = getattr(opened.backend, "precision", "f32") == "f32"
        difference = np.abs(came - expected(faces()[0], range(20, 29), [0, 1, 1, 0, 0])).max()
        assert difference <= (0.51 if exact else 5.0), backend


def test_names_and_shapes_of_the_graph(exported: ExportReport) -> None:
    shapes = shapes_of(exported)
    batch = shapes["z"][0]
    assert batch in (1, "batch")
    assert shapes == {"z": [batch, DIM], "att": [batch, 5], "y": [batch, 3, SIDE, SIDE]}
    assert list(shapes) == ["z", "att", "y"]
    assert exported.spec.size.fixed == (SIDE, SIDE)
    linear, up, add, last = (7 + 5) * 128, 8 * 8 * 16 * 4 * 4, 8 * 8 * 8 * 8, 8 * 3 * 16 * 8 * 8
    assert exported.macs == linear + up + add + last


def test_the_record_says_what_the_gate_was_judged_on(exported: ExportReport) -> None:
    parity = exported.spec.parity
    assert parity is not None
    assert (parity.inputs, parity.images) == ("seeded latents, labels drawn from their groups", 5)
    assert inputs_text(faces(None)[1]) == "seeded latents"
    assert inputs_text(faces(KNOWN)[1]) == "seeded latents, labels drawn from the training data"
    assert inputs_text(make_tiny(attributes=True, latent=5)[1]) == "pictures"


@pytest.mark.parametrize("labels", [None, LABELS, KNOWN], ids=["none", "groups", "combinations"])
def test_the_gate_is_fed_what_the_seeds_mean_in_the_runtime(labels: AttributeInput | None) -> None:
    _, spec = faces(labels, distribution="uniform")
    feeds = to_onnx._feeds([Path(str(i)) for i in range(5)], spec, (SIDE, SIDE), first=3)
    assert spec.latent is not None
    for seed, feed in enumerate(feeds, 3):
        np.testing.assert_array_equal(feed["noise"][0], draw(spec.latent, seeded(seed)))
        assert list(feed) == (["noise"] if labels is None else ["noise", "c"])
        assert labels is not LABELS or feed["c"].sum() == 2
        assert labels is not KNOWN or feed["c"].tolist() == [[0, 1, 1, 0, 0]]


class Forgetful(TinyFaces):
    """Its graph answers every picture of a batch with the first one's noise."""

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(z if not torch.onnx.is_in_onnx_export() else z[:1].expand_as(z), labels)


def test_a_graph_that_mixes_up_a_batch_does_not_pass(tmp_path: Path) -> None:
    _, spec = faces()
    report = export(tmp_path, (Forgetful(5).eval(), spec), dynamic=True, parity_pictures=3)
    assert not report.passed and "max abs" in report.failures[0]


class Counting(TinyFaces):
    """Reads the batch as a number, which the exporter takes for a constant."""

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(z.view(len(z), DIM), labels)


def test_a_network_that_fixes_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="for a batch of 2 only.* Export it without --dynamic"):
        export(tmp_path, (Counting(5).eval(), faces()[1]), dynamic=True)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_passes_the_same_gate(tmp_path: Path) -> None:
    report = export(tmp_path, faces(), precision="fp16", dynamic=True)
    assert report.passed, report.failures
    with Generator.open(report.path, backend="cpu") as opened:
        assert opened(n=5).shape == (5, SIDE, SIDE, 3)
        assert opened.spec.precision == "fp16"


def test_int8_is_calibrated_on_other_noise_than_the_gate_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    reduce = to_onnx.to_int8
    monkeypatch.setattr(to_onnx, "to_int8", lambda model, feeds: seen.extend(feeds) or reduce(model, feeds))
    report = export(tmp_path, faces(), precision="int8", calibration_pictures=9, parity_pictures=2)
    assert report.passed and report.spec.precision == "int8"
    assert report.spec.latent is not None
    for seed, feed in enumerate(seen, 2):
        np.testing.assert_array_equal(feed["z"][0], draw(report.spec.latent, seeded(seed)))
    assert len(seen) == 9


def test_a_translator_of_one_size_gets_a_free_batch_and_keeps_its_size(tmp_path: Path, pictures: list[Path]) -> None:
    generator, spec = make_tiny(attributes=True, fixed=(32, 32))
    report = export_onnx(generator, spec, tmp_path / "m.onnx", pictures, ExportOptions(dynamic=True))
    assert report.passed and report.parity.inputs == "pictures"
    assert shapes_of(report) == {"x": ["batch", 3, 32, 32], "att": ["batch", 6], "y": ["batch", 3, 32, 32]}
    with Translator.open(report.path, backend="cpu") as translator:
        assert translator(np.zeros((32, 32, 3), np.uint8)).shape == (32, 32, 3)


def test_pictures_for_a_generator_from_noise_are_refused(tmp_path: Path) -> None:
    made = Run(*faces(), tmp_path)
    assert pictures_of(made, None) == []
    with pytest.raises(OptionError, match="'psc' makes pictures from noise and is judged on that: leave --images out"):
        pictures_of(made, tmp_path)


def test_a_run_from_noise_through_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, spec = faces()
    monkeypatch.setattr(run, "load_generator", lambda path: (generator, spec))
    path = tmp_path / "psc.onnx"
    result = CliRunner().invoke(app, ["export", str(tmp_path), "-o", str(path), "--parity", "3"])
    assert result.exit_code == 0, result.output
    assert "worst of 3 seeded latents, labels drawn from their groups" in " ".join(result.stdout.split())
    with Generator.open(path, backend="cpu") as opened:
        assert opened(labels="female").shape == (1, SIDE, SIDE, 3)
