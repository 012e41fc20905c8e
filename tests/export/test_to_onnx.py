"""Export of tiny generators of every family, and what happens when the graph or the options are wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from ganlens.engine.errors import EngineError, ExportError, MediaError, ModelFileError, OptionError
from ganlens.engine.files import PartialFile
from ganlens.engine.spec import GeneratorSpec
from ganlens.export import ExportOptions, ExportReport, export_onnx, to_onnx
from ganlens.export.pictures import load_picture
from tests.kit.tiny_generator import make_tiny

FAMILIES: dict[str, dict[str, Any]] = {
    "instance norm": {},
    "batch norm": {"norm": "bn"},
    "attributes and mask": {"attributes": True, "mask": True, "border_px": 2},
    "image, attributes and latent": {"attributes": True, "latent": 5},
    "latent only": {"image": False, "latent": 5, "fixed": (16, 16)},
    "latent and labels": {"image": False, "latent": 5, "attributes": True, "fixed": (16, 16)},
}


def export(folder: Path, pictures: list[Path], family: dict[str, Any], **options: Any) -> ExportReport:
    generator, spec = make_tiny(**family)
    return export_onnx(generator, spec, folder / "model.onnx", pictures, ExportOptions(**options))


def session(report: ExportReport) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=list(FAMILIES))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pictures: list[Path]
) -> tuple[dict[str, Any], ExportReport]:
    family = FAMILIES[request.param]
    return family, export(tmp_path_factory.mktemp("family"), pictures, family)


def test_every_family_passes_the_gate_and_carries_its_record(exported: tuple[dict[str, Any], ExportReport]) -> None:
    family, report = exported
    generator, spec = make_tiny(**family)
    assert report.passed
    assert report.parity.max_abs < 1e-4
    record = GeneratorSpec.from_metadata(session(report).get_modelmeta().custom_metadata_map)
    assert record == report.spec
    assert record.parity == report.parity
    assert record.size.fixed == spec.size.preferred
    assert (record.precision, record.architecture, record.attributes and record.attributes.names) == (
        "fp32",
        "test",
        spec.attributes and spec.attributes.names,
    )
    assert record.weights_sha256 == to_onnx.weights_sha256(generator.state_dict())
    assert record.producer.startswith("ganlens ")
    assert record.output.kind == "image"


def test_tensors_have_the_fixed_names(exported: tuple[dict[str, Any], ExportReport]) -> None:
    family, report = exported
    opened = session(report)
    expected = [
        name
        for name, there in (
            ("x", family.get("image", True)),
            ("z", family.get("latent")),
            ("att", family.get("attributes")),
        )
        if there
    ]
    assert [entry.name for entry in opened.get_inputs()] == expected
    assert [entry.name for entry in opened.get_outputs()] == (["y", "mask"] if family.get("mask") else ["y"])
    record = report.spec
    assert [e.name for e in (record.image, record.latent, record.attributes) if e] == expected
    assert opened.get_inputs()[0].shape[0] == 1


def test_norms_are_one_node_or_none(exported: tuple[dict[str, Any], ExportReport]) -> None:
    family, report = exported
    ops = Counter(node.op_type for node in onnx.load(report.path).graph.node)
    assert ops["BatchNormalization"] == 0
    folded = 2 if family.get("norm") == "bn" else 0 if family.get("image", True) else 1  # over a constant
    assert ops["InstanceNormalization"] == 2 - folded


def test_the_file_tells_nothing_about_the_exporting_machine(exported: tuple[dict[str, Any], ExportReport]) -> None:
    content = exported[1].path.read_bytes()
    for trace in (b"stack_trace", str(Path(__file__).parent).encode(), b"site-packages", b"TinyGenerator"):
        assert trace not in content


def test_a_segment_is_composed_inside_the_frame(tmp_path: Path, pictures: list[Path]) -> None:
    family = FAMILIES["attributes and mask"]
    report = export(tmp_path, pictures, family)
    generator, _ = make_tiny(**family)
    x = load_picture(pictures[0], report.spec, (32, 32))
    attributes = np.array([[1, 0, 1, 0, 1, 0]], np.float32)
    y, mask = session(report).run(None, {"x": x, "att": attributes})
    with torch.inference_mode():
        segment, alpha = (t.numpy() for t in generator(torch.from_numpy(x), torch.from_numpy(attributes)))
    frame = np.zeros((32, 32), np.float32)
    frame[2:-2, 2:-2] = 1
    np.testing.assert_allclose(mask, alpha * frame, atol=1e-6)
    np.testing.assert_allclose(y, alpha * frame * segment + (1 - alpha * frame) * x, atol=1e-5)
    np.testing.assert_array_equal(np.where(frame, 0, y), np.where(frame, 0, x))
    assert np.abs(y - x).max() > 0.1, "the generator does nothing here: the test shows nothing"


def test_the_frame_grows_with_the_size(tmp_path: Path, pictures: list[Path]) -> None:
    report = export(tmp_path, pictures, FAMILIES["attributes and mask"], size=(64, 80))
    assert report.spec.frame_border_px == 4
    assert report.spec.size.fixed == (64, 80)
    x = load_picture(pictures[0], report.spec, (64, 80))
    mask = session(report).run(["mask"], {"x": x, "att": np.zeros((1, 6), np.float32)})[0]
    assert (mask[:, :, :4].max(), mask[:, :, 4:-4, 4:-4].min() > 0) == (0, True)


def test_a_dynamic_graph_takes_any_size_of_its_rule(tmp_path: Path, pictures: list[Path]) -> None:
    family = FAMILIES["attributes and mask"]
    report = export(tmp_path, pictures, family, dynamic=True)
    assert report.passed
    assert list(report.sizes) == [(32, 32), (24, 40)]
    assert report.spec.size.fixed is None
    opened = session(report)
    assert opened.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert opened.get_outputs()[0].shape == ["batch", 3, "height", "width"]
    generator, _ = make_tiny(**family)
    smallest = report.spec.size.round_up((1, 1))
    for batch, (height, width) in ((1, smallest), (3, (32, 32)), (2, (50, 18)), (1, (130, 258))):
        x = np.random.default_rng(0).uniform(-1, 1, (batch, 3, height, width)).astype(np.float32)
        attributes = np.eye(batch, 6, dtype=np.float32)
        y, mask = opened.run(None, {"x": x, "att": attributes})
        with torch.inference_mode():
            segment, alpha = (t.numpy() for t in generator(torch.from_numpy(x), torch.from_numpy(attributes)))
        alpha[:, :, [0, 1, -2, -1]] = 0
        alpha[:, :, :, [0, 1, -2, -1]] = 0
        np.testing.assert_allclose(mask, alpha, atol=1e-5)
        np.testing.assert_allclose(y, alpha * segment + (1 - alpha) * x, atol=1e-4)


@pytest.mark.parametrize("exported", ["attributes and mask"], indirect=True)
def test_the_same_checkpoint_gives_the_same_bytes(
    exported: tuple[dict[str, Any], ExportReport], tmp_path: Path, pictures: list[Path]
) -> None:
    family, report = exported
    assert export(tmp_path, pictures, family).path.read_bytes() == report.path.read_bytes()


def test_opset_and_name_are_taken(tmp_path: Path, pictures: list[Path]) -> None:
    report = export(tmp_path, pictures, {}, opset=17, name="other")
    assert onnx.load(report.path).opset_import[0].version == 17
    assert report.spec.name == "other"


def test_costs_are_counted(tmp_path: Path, pictures: list[Path]) -> None:
    static = export(tmp_path, pictures, {}, size=(16, 32))
    free = export(tmp_path, pictures, {}, size=(16, 32), dynamic=True, overwrite=True)
    quarter = 8 * 16
    expected = 3 * 8 * 16 * quarter + 8 * 8 * 9 * quarter + 8 * 3 * 16 * quarter
    assert static.macs == free.macs == expected
    assert free.file_bytes == free.path.stat().st_size


@pytest.mark.parametrize("half_io", [False, True])
def test_fp16_keeps_norms_composition_and_border_in_float32(
    tmp_path: Path, pictures: list[Path], half_io: bool
) -> None:
    report = export(tmp_path, pictures, FAMILIES["attributes and mask"], precision="fp16", half_io=half_io)
    assert report.passed
    assert report.parity.max_abs > 1e-5, "nothing was rounded: this is no FP16 graph"
    model = onnx.shape_inference.infer_shapes(onnx.load(report.path), strict_mode=True)
    types = {e.name: e.type.tensor_type.elem_type for e in [*model.graph.value_info, *model.graph.input]}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    read = {op: {types[n.input[0]] for n in model.graph.node if n.op_type == op} for op in ("Conv", "Sub", "Clip")}
    assert read == {"Conv": {TensorProto.FLOAT16}, "Sub": {TensorProto.FLOAT}, "Clip": {TensorProto.FLOAT}}
    norms = [node for node in model.graph.node if node.op_type == "InstanceNormalization"]
    assert {types[name] for node in norms for name in node.input} == {TensorProto.FLOAT}
    assert report.spec.precision == "fp16"
    kind = np.float16 if half_io else np.float32
    opened = session(report)
    assert {entry.type for entry in opened.get_inputs()} == {"tensor(float16)" if half_io else "tensor(float)"}
    x = load_picture(pictures[0], report.spec, (32, 32)).astype(kind)
    y = opened.run(["y"], {"x": x, "att": np.zeros((1, 6), kind)})[0]
    np.testing.assert_array_equal(y[:, :, :2], x[:, :, :2])


def test_int8_leaves_stem_and_head_float(tmp_path: Path, pictures: list[Path]) -> None:
    report = export(tmp_path, pictures, {"norm": "bn"}, precision="int8", calibration_pictures=10)
    assert report.passed
    assert report.calibration_pictures == 10
    assert report.spec.precision == "int8"
    graph = onnx.load(report.path).graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert [made_by.get(node.input[1]) for node in convolutions] == [None, "DequantizeLinear", None]
    weight = next(n for n in graph.node if convolutions[1].input[1] in n.output).input[0]
    assert stored[weight] == TensorProto.INT8
    values = numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == weight))
    assert np.abs(values.astype(int)).max() <= 64, "8-bit weights overflow on x86 without VNNI"


def test_int8_that_loses_too_much_is_refused(tmp_path: Path, pictures: list[Path]) -> None:
    report = export(tmp_path, pictures, {"gain": 40.0}, precision="int8", calibration_pictures=8)
    assert not report.passed
    assert report.parity.psnr_db < 30
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_pictures_beside_those_of_the_gate(tmp_path: Path, pictures: list[Path]) -> None:
    with pytest.raises(ExportError, match=r"at least 8 calibration pictures .*; got 2.*--images DIR"):
        export(tmp_path, pictures[:10], {}, precision="int8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", [False, True])
def test_a_wrong_graph_is_never_left_behind(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    def broken(*args: Any, **kwargs: Any) -> onnx.ModelProto:
        model = right(*args, **kwargs)
        weight = next(tensor for tensor in model.graph.initializer if "head.weight" in tensor.name)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.05), weight.name))
        return model

    right = to_onnx.to_graph
    monkeypatch.setattr(to_onnx, "to_graph", broken)
    if existing:
        (tmp_path / "model.onnx").write_text("the model that works")
    report = export(tmp_path, pictures, {}, overwrite=existing)
    assert not report.passed
    assert report.failures == [f"max abs {report.parity.max_abs:.2e} > 1e-03"]
    assert [path.name for path in tmp_path.iterdir()] == (["model.onnx"] if existing else [])
    if existing:
        assert (tmp_path / "model.onnx").read_text() == "the model that works"


def test_an_existing_file_is_kept_unless_told(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "model.onnx").write_text("precious")
    with pytest.raises(MediaError, match=r"exists; pass -y to overwrite it"):
        export(tmp_path, pictures, {})
    assert (tmp_path / "model.onnx").read_text() == "precious"


@pytest.mark.parametrize(
    ("family", "options", "error", "message"),
    [
        ({}, {"size": (33, 32)}, OptionError, r"got size 32x33; .* multiple of 2 .*--size 32x34"),
        ({"fixed": (32, 32)}, {"size": (64, 64)}, OptionError, r"takes 32x32"),
        ({}, {"opset": 11}, OptionError, r"opset: got 11, expected 17 to 23"),
        ({}, {"precision": "fp8"}, OptionError, r"got 'fp8', expected one of fp32, fp16, int8"),
        ({}, {"half_io": True}, OptionError, r"need precision fp16; got fp32"),
        ({"image": False, "latent": 3, "mask": True}, {}, ModelFileError, r"no image to compose it over"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, family: dict[str, Any], options: dict[str, Any], error: type[EngineError], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(tmp_path, [], family, **options)
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written(tmp_path: Path, pictures: list[Path]) -> None:
    generator, spec = make_tiny()
    (tmp_path / "folder.onnx").mkdir()
    for target, message in (
        (tmp_path / "model.pt", r"expected a name that ends in \.onnx"),
        (tmp_path / "folder.onnx", r"is a folder"),
        (tmp_path / "missing" / "model.onnx", r"does not exist"),
        (Path("/proc/model.onnx"), r"/proc/model.onnx cannot be written"),
    ):
        with pytest.raises(MediaError, match=message):
            export_onnx(generator, spec, target, pictures)


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: PartialFile, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", self.name)

    monkeypatch.setattr(PartialFile, "commit", full)
    with pytest.raises(MediaError, match=r"model\.onnx cannot be written: no space left on device. Free some space"):
        export(tmp_path, pictures, {})
    assert list(tmp_path.iterdir()) == []


def test_real_pictures_are_required(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"needs real pictures.*--images DIR"):
        export(tmp_path, [], {})


class Branching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.mean() > 0 else -x


def test_a_network_that_is_no_graph_is_refused(tmp_path: Path, pictures: list[Path]) -> None:
    _, spec = make_tiny()
    with pytest.raises(ExportError, match=r"PyTorch cannot export 'tiny' \(test tiny\) as a static graph of opset 20"):
        export_onnx(Branching(), spec, tmp_path / "model.onnx", pictures)
    assert list(tmp_path.iterdir()) == []
