"""Operations of an ONNX file, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganlens.engine.evaluate.cost import multiply_accumulates


def network(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]]) -> Path:
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_strided_convolution_and_its_transpose(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["m", "b"], ["y"], kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    path = network(tmp_path / "n.onnx", nodes, {"a": (8, 3, 3, 3), "b": (8, 3, 4, 4)})
    down = 32 * 32 * 8 * (3 * 3 * 3)
    up = 32 * 32 * 8 * (3 * 4 * 4)
    assert multiply_accumulates(path, side=64) == down + up


def test_a_depthwise_convolution(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "a"], ["y"], kernel_shape=[5, 5], pads=[2, 2, 2, 2], group=3)
    path = network(tmp_path / "n.onnx", [node], {"a": (3, 1, 5, 5)})
    assert multiply_accumulates(path, side=16) == 16 * 16 * 3 * 25
