"""What a graph costs: multiply-accumulates."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
import onnxruntime

from ganlens.engine.spec import GeneratorSpec, Size

COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def multiply_accumulates(model: onnx.ModelProto, spec: GeneratorSpec, size: Size) -> int:
    """MACs of the convolutions and linear layers for one image of ``size``.

    One multiply-accumulate per weight use; a transposed convolution costs ``H_in W_in C_in C_out k k`` (not at its
    output's resolution, which many papers take).
    """
    layers = [node for node in model.graph.node if node.op_type in COUNTED]
    shapes = _run_for_shapes(model, spec, size, {name for node in layers for name in (*node.input[:2], node.output[0])})
    total = 0
    for node in layers:
        source, weights = node.input[:2]
        if node.op_type == "Conv":  # weights (C_out, C_in / groups, k, k), at each output position
            total += prod(shapes[weights]) * prod(shapes[node.output[0]][2:])
        elif node.op_type == "ConvTranspose":  # weights (C_in, C_out / groups, k, k), at each input position
            total += prod(shapes[weights]) * prod(shapes[source][2:])
        else:  # weights (C_in, C_out), for each vector of a picture
            total += prod(shapes[weights]) * prod(shapes[node.output[0]][1:-1])
    return total


def _run_for_shapes(
    model: onnx.ModelProto, spec: GeneratorSpec, size: Size, wanted: set[str]
) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors by name, seen in a run: where the batch is free, some only a run can tell."""
    feeds = {}
    for entry in model.graph.input:
        dims = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        dims[0] = dims[0] or 1
        if spec.image is not None and entry.name == spec.image.name:
            dims[2:] = size
        feeds[entry.name] = np.zeros(dims, np.float32)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes |= {name: array.shape for name, array in feeds.items()}
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = sorted(wanted - shapes.keys())
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return shapes | {name: array.shape for name, array in zip(names, session.run(names, feeds), strict=True)}
