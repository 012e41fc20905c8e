"""Plans of real generators, built for real with TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from typer.testing import CliRunner, Result

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx (Linux on x86-64)")

from ganlens.engine.backends.tensorrt import PlanCache, load, make_plan, read_plan
from ganlens.engine.backends.tensorrt.builder import parse
from ganlens.engine.cli import app
from ganlens.engine.errors import BackendUnavailable, ExportError, MissingExtra, ModelFileError, OptionError
from ganlens.engine.model import shipped
from ganlens.engine.model.description import read_onnx, read_spec
from ganlens.engine.spec import GeneratorSpec, Parity, SizeRule
from ganlens.export import ExportOptions, ExportReport, export_onnx
from ganlens.export.parity import THRESHOLDS
from ganlens.export.precision import NORMS, to_fp16
from ganlens.train.checkpoint import GENERATOR_NAME, save_generator
from ganlens.train.networks import make_generator
from tests.kit.models import identity_model

pytestmark = pytest.mark.skipif(load().flavour != "tensorrt_rtx", reason="TensorRT itself is installed")

COMPUTE = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")


def layer_types(path: Path) -> Counter[tuple[str, str]]:
    """(kind of layer, type of its answer) → how many, of the strongly typed network: the plan's precision."""
    library = load()
    network, _parser = parse(library, library.start("Builder"), read_onnx(path))
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return Counter((layer.type.name, layer.get_output(0).dtype.name) for layer in layers)


def generator_file(folder: Path, tier: str, pictures: list[Path], **options: object) -> Path:
    torch.manual_seed(3)
    spec = GeneratorSpec(
        name=tier,
        architecture="cyclegan",
        tier=tier,
        size=SizeRule(multiple_of=8, minimum=16, preferred=(32, 32)),
    )
    settings = ExportOptions(parity_pictures=1, **options)  # type: ignore[arg-type]
    report = export_onnx(make_generator(spec), spec, folder / f"{tier}.onnx", pictures, settings)
    assert report.passed, report.failures
    return report.path


@pytest.mark.parametrize("name", [card.name for card in shipped()])
def test_every_shipped_generator_builds_in_fp16(tmp_path, name):
    card = next(card for card in shipped() if card.name == name)
    half = to_fp16(onnx.load(card.path))
    path = tmp_path / "half.onnx"
    path.write_bytes(half.SerializeToString())
    types = layer_types(path)
    for kind in COMPUTE:
        assert not types[kind, "FLOAT"], types
    assert types["CONVOLUTION", "HALF"] >= 3
    plans = {file: make_plan(file).plan.record.plan_bytes for file in (path, card.path)}
    weights = sum(math.prod(tensor.dims) for tensor in half.graph.initializer)
    assert plans[card.path] - plans[path] > 0.8 * 2 * weights, "two bytes less for each weight"


@pytest.mark.parametrize(("tier", "dynamic"), [("mobile", True), ("resnet6", False)])
def test_fresh_networks_build_in_fp16(tmp_path, pictures, tier, dynamic):
    path = generator_file(tmp_path, tier, pictures, dynamic=dynamic, precision="fp16")
    types = layer_types(path)
    assert all(not types[kind, "FLOAT"] for kind in COMPUTE), types
    graph = onnx.load(path).graph
    norms = sum(node.op_type in NORMS for node in graph.node)
    assert (types["NORMALIZATION", "FLOAT"] > 0) == (norms > 0)
    assert types["NORMALIZATION", "HALF"] == 0  # sums over a picture stay in FP32
    made = make_plan(path)
    assert made.built
    shapes = made.plan.record.shapes["x"]
    free, fixed = ((1, 3, 16, 16), (1, 3, 32, 32), (4, 3, 512, 512)), ((1, 3, 32, 32),) * 3
    assert shapes == (free if dynamic else fixed)
    assert made.plan.record.key.precision == "fp16"
    assert not make_plan(path).built


# --- the commands


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    spec = GeneratorSpec(
        name="water", architecture="cyclegan", tier="nano", size=SizeRule(multiple_of=8, minimum=16, preferred=(32, 32))
    )
    save_generator(make_generator(spec), spec, folder / GENERATOR_NAME)
    (folder / "config.json").write_text(json.dumps({"method": "cyclegan", "photos": str(photos)}))
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *(str(argument) for argument in arguments)])


def test_export_builds_the_plan_after_the_gate(run, tmp_path):
    result = invoke(run, "-o", tmp_path / "water.onnx", "--parity", 1, "--tensorrt", "--json")
    assert result.exit_code == 0, result.output
    verdict = json.loads(result.stdout)
    assert verdict["spec"]["precision"] == "fp16"
    assert verdict["plan"]["precision"] == "fp16"
    assert verdict["plan"]["key"]["onnx_sha256"] == read_onnx(tmp_path / "water.onnx").sha256
    plan = read_plan(Path(verdict["plan"]["path"]))
    assert plan.record.spec.parity is not None  # the gate's figures travel along
    assert [entry.path for entry in PlanCache().entries()] == [plan.path]


@pytest.fixture
def exported(run, tmp_path, monkeypatch) -> ExportReport:
    """The export replaced by what it would report of a tiny graph, so that only what follows it is tested."""
    path = identity_model(tmp_path / "water.onnx", (32, 32))
    parity = Parity(images=1, max_abs=0, psnr_db=99, cosine=1, snr_db=99)
    spec = read_spec(path)
    report = ExportReport(path, spec, {(32, 32): parity}, parity, THRESHOLDS["fp32"], [], 1, 0, 9, 0.1, 0)
    monkeypatch.setattr("ganlens.export.to_onnx.export_onnx", lambda *_: report)
    return report


def test_export_says_what_it_built(run, exported):
    result = invoke(run, "-o", exported.path, "--tensorrt")
    assert result.exit_code == 0, result.output
    for text in ("tiny: fp32 plan for 1x3x32x32", "built in", "TensorRT for RTX", ".plan"):
        assert text in result.stdout
    assert "found in the cache" in invoke(run, "-o", exported.path, "--tensorrt").stdout


def test_what_cannot_be_built_is_refused_before_the_export(run, tmp_path, monkeypatch):
    target = tmp_path / "water.onnx"
    result = invoke(run, "-o", target, "--tensorrt", "--precision", "int8")
    assert isinstance(result.exception, OptionError)
    for error in (MissingExtra("x", "tensorrt", "tensorrt"), BackendUnavailable("no GPU")):

        def fail(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("ganlens.engine.backends.tensorrt.load", fail)
        assert invoke(run, "-o", target, "--tensorrt").exception is error
    assert not target.exists()


def test_a_failed_gate_builds_nothing(run, exported, monkeypatch):
    failed = dataclasses.replace(exported, failures=["PSNR 1.0 dB < 40 dB"])
    monkeypatch.setattr("ganlens.export.to_onnx.export_onnx", lambda *_: failed)
    assert isinstance(invoke(run, "-o", exported.path, "--tensorrt").exception, ExportError)
    assert PlanCache().entries() == []


def test_a_graph_that_tensorrt_does_not_know_keeps_its_onnx_file(run, exported, monkeypatch):
    def fail(path: Path) -> None:
        raise ModelFileError("node 'head' (Nonsense): the operator Nonsense is not known")

    monkeypatch.setattr("ganlens.engine.backends.tensorrt.make_plan", fail)
    assert isinstance(invoke(run, "-o", exported.path, "--tensorrt").exception, ModelFileError)
    assert exported.path.exists()
