"""The reader of ONNX files: what it finds, what it refuses, and the record it makes of a foreign graph."""

import contextlib
import hashlib
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ganlens.engine.errors import ModelFileError, OptionError, ShapeError
from ganlens.engine.model import description
from ganlens.engine.model.description import parse_value_range, read_onnx, read_spec
from ganlens.engine.spec import METADATA_KEY
from tests.kit.models import (
    attribute_model,
    constant,
    half_mask_model,
    identity_model,
    invert_model,
    make_spec,
    network_model,
    save_graph,
    tensor,
)


def foreign(path, inputs, outputs, nodes=None, **options):
    """A graph without our record; the nodes do not matter to the reader."""
    nodes = nodes or [helper.make_node("Identity", [inputs[0].name], [outputs[0].name])]
    return save_graph(path, nodes, inputs, outputs, **options)


def with_external_weight(path, location):
    """A model whose only weight lies in another file."""
    weight = constant("w", np.ones((3, 3, 1, 1)))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    return save_graph(path, nodes, [tensor("x", (1, 3, 8, 8))], [tensor("y", (1, 3, 8, 8))], [weight])


# --- what it finds


@pytest.mark.parametrize("make", [identity_model, half_mask_model, attribute_model, network_model])
def test_reads_the_same_as_the_onnx_package(tmp_path, make):
    path = make(tmp_path / "model.onnx")
    model = onnx.load(path)
    file = read_onnx(path)

    def described(values):
        return [
            (
                v.name,
                v.type.tensor_type.elem_type,
                tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim),
            )
            for v in values
        ]

    assert [tuple(value) for value in file.inputs] == described(model.graph.input)
    assert [tuple(value) for value in file.outputs] == described(model.graph.output)
    assert file.opset == model.opset_import[0].version
    assert file.producer == "tests"
    assert file.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.external == ()


def test_our_record_survives_the_file(tmp_path):
    spec = make_spec((16, 24), name="monet", tier="mobile")
    assert read_spec(identity_model(tmp_path / "m.onnx", spec=spec)) == spec


def test_weights_listed_as_inputs_are_no_inputs(tmp_path):
    inputs = [tensor("x", (1, 3, 8, 8)), tensor("w", (3, 3, 1, 1))]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    weights = [constant("w", np.ones((3, 3, 1, 1)))]
    path = foreign(tmp_path / "m.onnx", inputs, [tensor("y", (1, 3, 8, 8))], nodes, weights=weights)
    assert [value.name for value in read_onnx(path).inputs] == ["x"]


def test_missing_shapes_and_negative_sides_are_open(tmp_path):
    path = foreign(tmp_path / "m.onnx", [tensor("x", (-1, 3, 0, "w"))], [tensor("y", None)])
    file = read_onnx(path)
    assert file.inputs[0].dims == (None, 3, None, "w")
    assert file.outputs[0].dims is None


# --- what it refuses


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        read_onnx(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="is a folder"):
        read_onnx(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_file_without_permission(tmp_path):
    path = identity_model(tmp_path / "m.onnx")
    path.chmod(0)
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"This is a text, not a model.\n" * 20, "is not an ONNX model"),
        (b"\x00" * 100, "is not an ONNX model"),
        (b"\x08\x08", "holds no graph"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not an ONNX model"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is not an ONNX model"),
    ],
)
def test_bytes_that_are_no_model(tmp_path, content, says):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=says):
        read_onnx(path)


def test_every_truncation_is_an_error_or_leaves_a_readable_prefix(tmp_path):
    """Protobuf has no end mark: a cut between two fields of the outermost message reads as a smaller message."""
    path = network_model(tmp_path / "whole.onnx")
    data = path.read_bytes()
    cut = tmp_path / "cut.onnx"
    refused = 0
    for length in range(1, len(data), 37):
        cut.write_bytes(data[:length])
        try:
            read_onnx(cut)
        except ModelFileError as error:
            refused += 1
            assert "Export or download it again" in str(error)
    assert refused > 0.95 * len(range(1, len(data), 37))


def test_random_damage_never_escapes_as_another_error(tmp_path):
    data = bytearray(half_mask_model(tmp_path / "whole.onnx").read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    for _ in range(300):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelFileError, ShapeError, OptionError):
            read_spec(path, value_range=(-1, 1))


@pytest.mark.parametrize(
    "piece",
    [b"\x08\x08", b"\x42\x00", b"\x72\x00", b"\x3a\x08" + 4 * b"\x0a\x00", b"\x3a\x06\x5a\x04\x0a\x00\x12\x00"],
    ids=["versions", "opsets", "metadata", "nodes", "inputs"],
)
def test_files_of_countless_fields_are_refused_soon(tmp_path, monkeypatch, piece):
    path = network_model(tmp_path / "m.onnx")
    monkeypatch.setattr(description, "MOST_FIELDS", 1000)
    whole = path.read_bytes()
    assert read_onnx(path).inputs
    path.write_bytes(whole + 1000 * piece)
    with pytest.raises(ModelFileError, match="more than 1000 fields"):
        read_onnx(path)


def test_graphs_nested_too_deep(tmp_path):
    def message(number, content):
        length, size = b"", len(content)
        while size >= 0x80:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(200):  # graph → node → attribute → graph
        graph = message(1, message(5, message(6, graph)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(message(7, graph))
    with pytest.raises(ModelFileError, match="nested"):
        read_onnx(path)


# --- weights in other files


def test_weights_beside_the_model_are_accepted(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(np.ones(9, np.float32).tobytes())
    path = with_external_weight(tmp_path / "m.onnx", "weights/w.bin")
    assert read_onnx(path).external == ("weights/w.bin",)


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "", "\0"])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "models" / "sub").mkdir(parents=True)
    path = with_external_weight(tmp_path / "models" / "m.onnx", location)
    with pytest.raises(ModelFileError, match="outside its own folder"):
        read_onnx(path)


def test_absolute_location_is_refused_even_inside(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"1234")
    with pytest.raises(ModelFileError, match="outside its own folder"):
        read_onnx(with_external_weight(tmp_path / "m.onnx", str(tmp_path / "w.bin")))


def test_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelFileError, match="outside its own folder"):
        read_onnx(with_external_weight(tmp_path / "models" / "m.onnx", "w.bin"))


def test_missing_external_weights(tmp_path):
    with pytest.raises(ModelFileError, match=r"'w.bin', which is not there. Copy it"):
        read_onnx(with_external_weight(tmp_path / "m.onnx", "w.bin"))


def external_constant(name):
    weight = constant(name, np.ones(1))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    return weight


def in_attribute():
    return [helper.make_node("Constant", [], ["y"], value=external_constant("c"))]


def in_subgraph():
    branch = helper.make_graph([], "branch", [], [tensor("c", (1,))], [external_constant("c")])
    return [helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]


def in_constant_of_subgraph():
    branch = helper.make_graph(in_attribute(), "branch", [], [tensor("y", (1,))])
    return [helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch)]


@pytest.mark.parametrize("nodes", [in_attribute, in_subgraph, in_constant_of_subgraph])
def test_external_weights_are_found_wherever_they_hide(tmp_path, nodes):
    path = foreign(tmp_path / "m.onnx", [tensor("x", (1,))], [tensor("y", (1,))], nodes())
    with pytest.raises(ModelFileError, match="outside its own folder"):
        read_onnx(path)


def test_external_weights_in_the_defaults_of_a_function_are_found(tmp_path):
    path = foreign(tmp_path / "m.onnx", [tensor("x", (1,))], [tensor("y", (1,))])
    model = onnx.load(path)
    function = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], [], ["w"])
    function.attribute_proto.append(helper.make_attribute("w", external_constant("c")))
    model.functions.append(function)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="outside its own folder"):
        read_onnx(path)


# --- foreign graphs


def test_foreign_graph_of_a_fixed_size(tmp_path):
    spec = read_spec(invert_model(tmp_path / "ink.onnx", foreign=True), value_range=(0.0, 255.0))
    assert (spec.name, spec.architecture, spec.value_range) == ("ink", "onnx", (0.0, 255.0))
    assert spec.size.fixed == spec.size.preferred == (16, 24)
    assert spec.image is not None
    assert (spec.image.name, spec.output.name) == ("x", "y")


def test_foreign_graph_of_free_size(tmp_path):
    assert read_spec(invert_model(tmp_path / "m.onnx", None, foreign=True), value_range=(0, 1)).size.fixed is None


def test_foreign_graph_that_fixes_one_side_is_square(tmp_path):
    dims = (1, 3, 64, "w")
    path = foreign(tmp_path / "m.onnx", [tensor("x", dims)], [tensor("y", dims)])
    assert read_spec(path, value_range=(0, 1)).size.fixed == (64, 64)


def test_foreign_graph_of_half_precision(tmp_path):
    values = [tensor(name, (1, 3, 8, 8), TensorProto.FLOAT16) for name in "xy"]
    assert read_spec(foreign(tmp_path / "m.onnx", values[:1], values[1:]), value_range=(0, 1)).precision == "fp16"


def test_value_range_of_a_foreign_graph_must_be_given(tmp_path):
    path = invert_model(tmp_path / "m.onnx", foreign=True)
    with pytest.raises(ModelFileError, match=r"--range -1..1 | 0..1 | 0..255"):
        read_spec(path)
    with pytest.raises(OptionError, match="rising pair"):
        read_spec(path, value_range=(1, -1))


def test_value_range_must_not_contradict_our_record(tmp_path):
    path = identity_model(tmp_path / "m.onnx")
    assert read_spec(path, value_range=(-1, 1)).value_range == (-1, 1)
    with pytest.raises(OptionError, match=r"states the value range -1..1; got 0..255"):
        read_spec(path, value_range=(0, 255))


def test_words_for_value_ranges():
    assert parse_value_range("-1..1") == (-1, 1)
    assert parse_value_range(" 0 .. 255") == (0, 255)
    with pytest.raises(OptionError, match=r"got value range '0..2', expected one of -1..1, 0..1, 0..255"):
        parse_value_range("0..2")


IMAGE = (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([tensor("x", IMAGE), tensor("style", IMAGE)], [tensor("y", IMAGE)], "has 2 inputs: 'x'.*'style'"),
        ([tensor("x", IMAGE)], [tensor("y", IMAGE), tensor("mask", (1, 1, 8, 8))], "has 2 outputs"),
        ([tensor("x", (1, 8, 8, 3))], [tensor("y", (1, 8, 8, 3))], r"\(1, 8, 8, 3\), channels last"),
        ([tensor("x", IMAGE)], [tensor("y", (1, 8, 8, 3))], "the output is 'y'.*channels last"),
        (
            [tensor("x", (1, 1, 8, 8))],
            [tensor("y", IMAGE)],
            r"the input is 'x' float32 \(1, 1, 8, 8\); expected \(N, 3",
        ),
        ([tensor("x", IMAGE)], [tensor("y", (1, 1, 8, 8))], "the output is 'y' float32"),
        ([tensor("x", IMAGE)], [tensor("y", (1, 24, 8, 8))], "the output is 'y' float32"),
        ([tensor("x", IMAGE)], [tensor("y", (1, 1000))], "the output is 'y' float32"),
        ([tensor("x", IMAGE)], [tensor("y", (1, 3, 32, 32))], "expected an output as large as the input"),
        ([tensor("x", IMAGE, TensorProto.UINT8)], [tensor("y", IMAGE)], "'x' uint8"),
        ([tensor("x", IMAGE)], [tensor("y", IMAGE, TensorProto.INT64)], "'y' int64"),
        ([tensor("x", (4, 3, 8, 8))], [tensor("y", (4, 3, 8, 8))], "N = 1 or free"),
        ([tensor("x", None)], [tensor("y", None)], "of unknown shape"),
        ([tensor("x", (1, "c", 8, 8))], [tensor("y", IMAGE)], r"\(1, c, 8, 8\)"),
    ],
)
def test_foreign_graphs_that_are_not_image_to_image(tmp_path, inputs, outputs, says):
    with pytest.raises(ShapeError, match=says):
        read_spec(foreign(tmp_path / "m.onnx", inputs, outputs), value_range=(0, 1))


# --- records that do not fit


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (make_spec((16, 24), image={"name": "input"}), r"inputs \['x'\], its record names \['input'\]"),
        (make_spec((16, 24), output={"name": "out"}), r"outputs \['y'\], its record names \['out'\]"),
        (make_spec((32, 32)), r"its record says \(\?, 3, 32, 32\)"),
        (make_spec(None), "the record allows any multiple of 1"),
        (make_spec((16, 24), latent={"dim": 8}), "its record names"),
    ],
)
def test_record_of_another_graph(tmp_path, spec, says):
    with pytest.raises(ModelFileError, match=says):
        read_spec(identity_model(tmp_path / "m.onnx", (16, 24), spec))


def test_damaged_record(tmp_path):
    path = identity_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    helper.set_model_props(model, {METADATA_KEY: "{"})
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match="record is not valid"):
        read_spec(path)


def test_untrusted_models_hold_their_weights(tmp_path, monkeypatch):
    (tmp_path / "w.bin").write_bytes(np.ones(9, np.float32).tobytes())
    path = with_external_weight(tmp_path / "m.onnx", "w.bin")
    monkeypatch.setenv("GANLENS_UNTRUSTED", "1")
    with pytest.raises(ModelFileError, match="GANLENS_UNTRUSTED"):
        read_onnx(path)


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_devices_and_pipes_are_refused(tmp_path, target):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "m.onnx").symlink_to(target)
    with pytest.raises(ModelFileError, match="a device or a named pipe"):
        read_onnx(tmp_path / "m.onnx")
