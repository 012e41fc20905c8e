"""The FP16 caster on graphs small enough to check by eye."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganlens.engine.errors import ExportError
from ganlens.export.precision import to_fp16, with_half_weights

IMAGE = [1, 2, 4, 4]


def model(nodes: list[onnx.NodeProto], outputs: dict[str, list[int]], **weights: np.ndarray) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(graph: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    half = session.get_inputs()[0].type == "tensor(float16)"
    answers: list[np.ndarray] = session.run(None, {"x": x.astype(np.float16 if half else np.float32)})
    return answers


def types_of(graph: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
    entries = [*inferred.input, *inferred.value_info, *inferred.output]
    types = {entry.name: entry.type.tensor_type.elem_type for entry in entries}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


X = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)
SCALE = np.array([1.5, -2], np.float32)
BIAS = np.array([0.1, 0.2], np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((2, 2, 1, 1)).astype(np.float32)


def test_norms_stay_in_float32_and_convolutions_do_not() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("InstanceNormalization", ["h", "s", "b"], ["y"]),
    ]
    original = model(nodes, {"y": IMAGE}, w=WEIGHT, s=SCALE, b=BIAS)
    halved = to_fp16(original)
    types = types_of(halved)
    norm = next(node for node in halved.graph.node if node.op_type == "InstanceNormalization")
    assert {types[name] for name in [*norm.input, *norm.output]} == {TensorProto.FLOAT}
    convolution = next(node for node in halved.graph.node if node.op_type == "Conv")
    assert {types[name] for name in [*convolution.input, *convolution.output]} == {TensorProto.FLOAT16}
    assert types["x"] == types["y"] == TensorProto.FLOAT
    assert {node.op_type for node in original.graph.node} == {"Conv", "InstanceNormalization"}, "the original changed"
    np.testing.assert_allclose(run(halved, X)[0], run(original, X)[0], atol=0.02)


def test_neighbouring_float32_nodes_are_not_rounded_between() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "tiny"], ["h"], name="down"),
        helper.make_node("Mul", ["h", "huge"], ["y"], name="up"),
    ]
    weights = {"tiny": np.float32(1e-9).reshape(1), "huge": np.float32(1e9).reshape(1)}
    kept = to_fp16(model(nodes, {"y": IMAGE}, **weights), keep_nodes=["down", "up"])
    assert not [node for node in kept.graph.node if node.op_type == "Cast"]
    np.testing.assert_allclose(run(kept, X)[0], X, rtol=1e-6)


def test_readers_of_one_tensor_share_one_cast() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Abs", ["h"], ["p"], name="p"),
        helper.make_node("Neg", ["h"], ["q"], name="q"),
        helper.make_node("Add", ["p", "q"], ["y"], name="y"),
    ]
    halved = to_fp16(model(nodes, {"y": IMAGE}), keep_nodes=["p", "q", "y"])
    assert [node.op_type for node in halved.graph.node].count("Cast") == 2
    np.testing.assert_array_equal(run(halved, X)[0], np.zeros(IMAGE, np.float32))


def test_an_output_that_is_also_read_inside_keeps_its_name() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["m"]), helper.make_node("Sigmoid", ["m"], ["y"])]
    halved = to_fp16(model(nodes, {"y": IMAGE, "m": IMAGE}))
    y, m = run(halved, X)
    np.testing.assert_allclose(m, np.maximum(X, 0), atol=2e-3)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-np.maximum(X, 0))), atol=2e-3)


def test_resize_scales_stay_float32() -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    scales = np.array([1, 1, 2, 2], np.float32)
    halved = to_fp16(model(nodes, {"y": [1, 2, 8, 8]}, scales=scales))
    np.testing.assert_allclose(run(halved, X)[0], X.repeat(2, 2).repeat(2, 3), atol=2e-3)


def test_a_weight_read_in_both_precisions_exists_twice() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["h"], name="wide"),
        helper.make_node("Mul", ["h", "w"], ["y"], name="narrow"),
    ]
    halved = to_fp16(model(nodes, {"y": IMAGE}, w=np.full(1, 0.5, np.float32)), keep_nodes=["wide"])
    assert sorted(t.data_type for t in halved.graph.initializer) == [TensorProto.FLOAT, TensorProto.FLOAT16]
    np.testing.assert_allclose(run(halved, X)[0], X / 4, atol=1e-3)


def test_half_inputs_and_outputs_on_request() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    halved = to_fp16(model(nodes, {"y": IMAGE}, w=WEIGHT), half_io=True)
    assert run(halved, X)[0].dtype == np.float16
    assert [node.op_type for node in halved.graph.node] == ["Conv"]


def test_a_weight_beyond_half_precision_is_refused() -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    with pytest.raises(ExportError, match=r"Weight 'w' holds 1e\+05; FP16 ends at 65504. Use --precision fp32"):
        to_fp16(model(nodes, {"y": IMAGE}, w=np.full(1, 1e5, np.float32)))


def test_subgraphs_are_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["o"])], "b", [], [helper.make_tensor_value_info("o", 1, IMAGE)]
    )
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    with pytest.raises(ExportError, match="subgraph in If"):
        to_fp16(model(nodes, {"y": IMAGE}, c=np.array(True)))


def test_half_weights_are_half_the_file_and_the_same_graph(tmp_path):
    weight = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 16, 16])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(64, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    half = with_half_weights(model)
    onnx.checker.check_model(half, full_check=True)
    assert len(half.SerializeToString()) < 0.62 * len(model.SerializeToString())
    image = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": image}
        )[0]
        for each in (model, half)
    )
    rounded = weight.astype(np.float16).astype(np.float32)
    assert np.abs(before - after).max() < 27 * 5 * np.abs(weight - rounded).max()
    assert not np.array_equal(before, after)


def test_a_weight_beyond_float16_is_refused():
    weight = np.full((64, 3, 3, 3), 1e6, np.float32)
    graph = helper.make_graph([], "none", [], [], [numpy_helper.from_array(weight, "w")])
    with pytest.raises(ExportError, match="float16's range"):
        with_half_weights(helper.make_model(graph))
