"""How much a network computes: multiply-accumulates of an ONNX file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import MissingExtra

SIDE = 256


def multiply_accumulates(path: Path, side: int = SIDE) -> int:
    """MACs of the convolutions and matrix products of a file for one picture of ``side`` x ``side``.

    Norms and activations are not counted, as in the papers' figures.

    Raises:
        MissingExtra: the package onnx is not installed.
    """
    try:
        import onnx
        from onnx import shape_inference
    except ImportError as error:
        raise MissingExtra("Counting operations", "onnx", "export") from error
    model = onnx.load(str(path))
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4:
            for place, dim in enumerate(dims):
                if not dim.dim_value:
                    dim.dim_value = 1 if place == 0 else side
    for value in model.graph.output:  # free sizes that the file states would stop the inference
        value.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in [*graph.value_info, *graph.input, *graph.output]}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return sum(_cost(node, shapes) for node in graph.node)


def _shape(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _cost(node: Any, shapes: dict[str, list[int]]) -> int:
    """Each output of a convolution, or input of a transposed one, costs one MAC for each weight it meets."""
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = shapes[node.input[1]]
        values = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
        return math.prod(values) * math.prod(weight[1:])
    if node.op_type in ("Gemm", "MatMul"):
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
