"""Tiny ONNX models, small enough to check by eye, made with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, SizeRule

OPSET = 17
IR_VERSION = 8

Dims = Sequence[int | str | None] | None


def image_dims(size: tuple[int, int] | None) -> tuple[int | str, ...]:
    """(N, 3, H, W): one picture of a fixed size, or free batch, height and width."""
    return ("n", 3, "h", "w") if size is None else (1, 3, *size)


def tensor(name: str, dims: Dims, element_type: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """A graph input or output."""
    return helper.make_tensor_value_info(name, element_type, dims)


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    """A weight."""
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    spec: GeneratorSpec | None = None,
    opset: int = OPSET,
) -> Path:
    """Write a model, with our record where ``spec`` is given."""
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(weights))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="tests"
    )
    if spec is not None:
        helper.set_model_props(model, spec.to_metadata())
    path.write_bytes(model.SerializeToString())
    return path


def make_spec(size: tuple[int, int] | None = (16, 24), multiple_of: int = 1, **changes: object) -> GeneratorSpec:
    """A record for a tiny model: of a fixed size, or free."""
    rule = SizeRule(fixed=size, preferred=size) if size else SizeRule(multiple_of=multiple_of, preferred=(16, 24))
    return GeneratorSpec.model_validate({"name": "tiny", "architecture": "cyclegan", "size": rule, **changes})


def identity_model(path: Path, size: tuple[int, int] | None = (16, 24), spec: GeneratorSpec | None = None) -> Path:
    """y = x, with our record."""
    dims = image_dims(size)
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return save_graph(path, nodes, [tensor("x", dims)], [tensor("y", dims)], spec=spec or make_spec(size))


def invert_model(
    path: Path, size: tuple[int, int] | None = (16, 24), spec: GeneratorSpec | None = None, *, foreign: bool = False
) -> Path:
    """y = -x: black for white in [-1, 1]. ``foreign``: without our record."""
    dims = image_dims(size)
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    record = None if foreign else spec or make_spec(size)
    return save_graph(path, nodes, [tensor("x", dims)], [tensor("y", dims)], spec=record)


def half_mask_model(path: Path, size: tuple[int, int] = (16, 24)) -> Path:
    """y = -x, and a mask that is 1 in the left half."""
    height, width = size
    mask = np.zeros((1, 1, height, width), np.float32)
    mask[..., : width // 2] = 1
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Identity", ["half"], ["mask"])]
    return save_graph(
        path,
        nodes,
        [tensor("x", (1, 3, height, width))],
        [tensor("y", (1, 3, height, width)), tensor("mask", (1, 1, height, width))],
        [constant("half", mask)],
        make_spec(size, output=ImageOutput(kind="segment", mask="mask")),
    )


def attribute_model(path: Path, size: tuple[int, int] = (16, 24)) -> Path:
    """y = x + the first of two attributes - the second."""
    nodes = [
        helper.make_node("MatMul", ["att", "signs"], ["shift"]),
        helper.make_node("Reshape", ["shift", "column"], ["shift4"]),
        helper.make_node("Add", ["x", "shift4"], ["y"]),
    ]
    weights = [constant("signs", [[1.0], [-1.0]]), constant("column", [-1, 1, 1, 1], np.int64)]
    return save_graph(
        path,
        nodes,
        [tensor("x", ("n", 3, *size)), tensor("att", ("n", 2))],
        [tensor("y", ("n", 3, *size))],
        weights,
        make_spec(size, attributes=AttributeInput(names=("brighter", "darker"))),
    )


def half_precision_model(path: Path, size: tuple[int, int] = (16, 24)) -> Path:
    """y = -x in float16, from float16 to float16."""
    dims = image_dims(size)
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    inputs, outputs = [tensor("x", dims, TensorProto.FLOAT16)], [tensor("y", dims, TensorProto.FLOAT16)]
    return save_graph(path, nodes, inputs, outputs, spec=make_spec(size, precision="fp16"))


def network_model(
    path: Path, size: tuple[int, int] | None = (32, 48), *, depth: int = 2, foreign: bool = False
) -> Path:
    """A small U-shaped network with the operators of real generators: strided and transposed convolutions, instance
    norm and additions, so that a free size must be a multiple of 2 ** depth."""
    rng = np.random.default_rng(0)
    channels = [3, *(8 * 2**level for level in range(depth))]
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def weight(name: str, *shape: int) -> str:
        weights.append(constant(name, rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)))
        return name

    skips, current = [], "x"
    for level in range(depth):
        c_in, c_out = channels[level : level + 2]
        skips.append(current)
        kernel = weight(f"down{level}", c_out, c_in, 4, 4)
        nodes.append(helper.make_node("Conv", [current, kernel], [f"c{level}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        weights += [constant(f"scale{level}", np.ones(c_out)), constant(f"shift{level}", np.zeros(c_out))]
        nodes.append(
            helper.make_node("InstanceNormalization", [f"c{level}", f"scale{level}", f"shift{level}"], [f"n{level}"])
        )
        nodes.append(helper.make_node("Relu", [f"n{level}"], [f"d{level}"]))
        current = f"d{level}"
    for level in reversed(range(depth)):
        c_in, c_out = channels[level + 1], channels[level]
        kernel = weight(f"up{level}", c_in, c_out, 4, 4)
        nodes.append(
            helper.make_node("ConvTranspose", [current, kernel], [f"u{level}"], strides=[2, 2], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Add", [f"u{level}", skips[level]], [f"s{level}"]))
        current = f"s{level}"
    nodes.append(helper.make_node("Tanh", [current], ["y"]))
    dims = image_dims(size)
    spec = None if foreign else make_spec(size, multiple_of=2**depth)
    return save_graph(path, nodes, [tensor("x", dims)], [tensor("y", dims)], weights, spec)


def noise_image(size: tuple[int, int], batch: int = 1, seed: int = 0) -> np.ndarray:
    """(N, 3, H, W) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 3, *size)).astype(np.float32)


FACE_LABELS = AttributeInput(
    name="labels",
    names=("male", "female", "bald_top", "wavy", "straight"),
    groups=(("male", "female"), ("bald_top", "wavy", "straight")),
    exactly_one=True,
)


def noise_model(
    path: Path,
    size: tuple[int, int] = (16, 24),
    *,
    labels: AttributeInput | None = FACE_LABELS,
    batch: int | str = "n",
    **changes: object,
) -> Path:
    """y = tanh(z W + labels V), from 6 latent values: every pixel tells which latent and labels it was made from."""
    rng = np.random.default_rng(0)
    length = 3 * size[0] * size[1]
    nodes = [helper.make_node("MatMul", ["z", "w"], ["noise"])]
    weights = [constant("w", rng.normal(0, 0.4, (6, length))), constant("shape", [-1, 3, *size], np.int64)]
    inputs = [tensor("z", (batch, 6))]
    if labels is not None:
        nodes += [
            helper.make_node("MatMul", [labels.name, "v"], ["said"]),
            helper.make_node("Add", ["noise", "said"], ["both"]),
        ]
        weights.append(constant("v", rng.normal(0, 0.4, (labels.length, length))))
        inputs.append(tensor(labels.name, (batch, labels.length)))
    nodes += [
        helper.make_node("Reshape", ["both" if labels is not None else "noise", "shape"], ["picture"]),
        helper.make_node("Tanh", ["picture"], ["y"]),
    ]
    spec = make_spec(
        size, name="psc", architecture="psc-gan", image=None, latent={"dim": 6}, attributes=labels, **changes
    )
    return save_graph(path, nodes, inputs, [tensor("y", (batch, 3, *size))], weights, spec)
