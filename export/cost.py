"""What a graph costs: multiply-accumulates."""

from __future__ import annotations

from math import prod

import onnx

from ganlens.engine.spec import GeneratorSpec, Size


def multiply_accumulates(model: onnx.ModelProto, spec: GeneratorSpec, size: Size) -> int:
    """MACs of the convolutions and linear layers for one image of ``size``.

    One multiply-accumulate per weight use; a transposed convolution costs ``H_in W_in C_in C_out k k`` (not at its
    output's resolution, which many papers take).
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for entry in fixed.graph.input:
        dims = entry.type.tensor_type.shape.dim
        dims[0].dim_value = 1
        if spec.image is not None and entry.name == spec.image.name:
            dims[2].dim_value, dims[3].dim_value = size
    for entry in fixed.graph.output:
        for dim in entry.type.tensor_type.shape.dim:
            dim.ClearField("value")
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {
        entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in [*graph.input, *graph.value_info, *graph.output]
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":  # weights (C_out, C_in / groups, k, k), at each output position
            total += prod(shapes[node.input[1]]) * prod(shapes[node.output[0]][2:])
        elif node.op_type == "ConvTranspose":  # weights (C_in, C_out / groups, k, k), at each input position
            total += prod(shapes[node.input[1]]) * prod(shapes[node.input[0]][2:])
        elif node.op_type in ("Gemm", "MatMul"):
            total += prod(shapes[node.input[1]]) * prod(shapes[node.output[0]][:-1])
    return total
