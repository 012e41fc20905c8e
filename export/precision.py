"""Smaller numbers in the graph: FP16 with norms and composition kept in FP32, and static INT8."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ganlens.engine.errors import ExportError

from .parity import Feed

NORMS = frozenset(
    {
        "InstanceNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "BatchNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "ReduceL2",
        "Softmax",
    }
)
"""Sums over many values overflow or lose digits in FP16: these nodes stay in FP32, with casts around them."""

SMALL = 256
"""Weights of fewer numbers stay float32 when the others are stored as float16: norms and biases weigh nothing."""

FLOAT_INPUTS = {"Resize": (1, 2)}
"""Inputs that ONNX defines as float32 whatever the rest of the node is (region and scales)."""

FP16_MAX = float(np.finfo(np.float16).max)


def to_fp16(model: onnx.ModelProto, *, keep_nodes: Collection[str] = (), half_io: bool = False) -> onnx.ModelProto:
    """A graph with FP16 weights and arithmetic.

    ONNX Runtime's converter does the same, but leaves the nodes unsorted, rounds between neighbouring FP32 nodes and
    names two casts alike where two FP32 nodes read one tensor; composition (``m s + (1 - m) x``) needs all three right.

    Args:
        model: a float32 graph without subgraphs; not changed.
        keep_nodes: names of nodes that stay in FP32 beside the norms.
        half_io: make inputs and outputs float16; otherwise they stay float32.

    Raises:
        ExportError: the graph has subgraphs, or a weight is beyond FP16's range.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        entry.name
        for entry in [*inferred.input, *inferred.output, *inferred.value_info]
        if entry.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    floats |= weights.keys()
    casts = _Casts(weights)
    io_type = TensorProto.FLOAT16 if half_io else TensorProto.FLOAT
    types = {name: TensorProto.FLOAT for name in weights}
    for entry in [*graph.input, *graph.output]:
        if entry.name in floats:
            entry.type.tensor_type.elem_type = io_type
            types[entry.name] = io_type
    outputs = {entry.name for entry in graph.output}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if any(
            attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
        ):
            raise ExportError(f"The graph has a subgraph in {node.op_type} '{node.name}', which cannot be made FP16.")
        if node.op_type in ("Shape", "Size"):  # they read no values
            nodes.append(node)
            continue
        # Nodes that make float tensors out of nothing or out of other types keep the type that they state.
        source = not any(name in floats for name in node.input)
        wanted = (
            TensorProto.FLOAT if source or node.op_type in NORMS or node.name in keep_nodes else TensorProto.FLOAT16
        )
        for i, name in enumerate(node.input):
            if name in floats:
                to = TensorProto.FLOAT if i in FLOAT_INPUTS.get(node.op_type, ()) else wanted
                node.input[i] = casts.read(name, types[name], to, nodes)
        nodes.append(node)
        if node.op_type == "Cast" and not source:
            wanted = node.attribute[0].i
        for i, name in enumerate(node.output):
            if name not in floats:
                continue
            if name in outputs and wanted != io_type:
                node.output[i] = f"{name}_{_SUFFIX[wanted]}"
                nodes.append(_cast(node.output[i], name, io_type))
                types[node.output[i]] = wanted
                casts.known[name, wanted] = node.output[i]
            else:
                types[name] = wanted
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(casts.halved)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    return result


class _Casts:
    """The casts that exist so far: one per tensor and type, for all of its readers."""

    def __init__(self, weights: dict[str, TensorProto]) -> None:
        self.known: dict[tuple[str, int], str] = {}
        self.halved: list[TensorProto] = []
        self._weights = weights

    def read(self, name: str, has: int, wants: int, nodes: list[NodeProto]) -> str:
        """The name under which a tensor can be read in a type; the cast is appended to ``nodes`` if it is new."""
        if has == wants:
            return name
        if (name, wants) not in self.known:
            copy = f"{name}_{_SUFFIX[wants]}"
            if name in self._weights:
                self.halved.append(_halve(self._weights[name], copy))
            else:
                nodes.append(_cast(name, copy, wants))
            self.known[name, wants] = copy
        return self.known[name, wants]


_SUFFIX = {int(TensorProto.FLOAT): "fp32", int(TensorProto.FLOAT16): "fp16"}


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)


def _halve(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= FP16_MAX:
        raise ExportError(
            f"Weight '{tensor.name}' holds {largest:.3g}; FP16 ends at {FP16_MAX:.0f}. Use --precision fp32."
        )
    return numpy_helper.from_array(values.astype(np.float16), name)


MIN_CALIBRATION = 8
"""Fewer pictures do not show the range of the activations."""


def to_int8(model: onnx.ModelProto, feeds: Sequence[Feed]) -> onnx.ModelProto:
    """A graph with 8-bit convolutions between QuantizeLinear and DequantizeLinear (static QDQ, weights per channel).

    Stem and head (the first and the last convolution) stay float: they decide colour. Transposed convolutions, norms
    and the rest stay float too. Weights use 7 of the 8 bits, because x86 CPUs without VNNI add two products in 16 bits:
    with 8 bits the result would depend on the machine.

    Args:
        model: a float32 graph; not changed.
        feeds: calibration inputs, at least :data:`MIN_CALIBRATION`.

    Raises:
        ExportError: too few calibration inputs, or the graph has nothing to quantize.
    """
    # Imported here: it is slow, and only INT8 needs it.
    from onnxruntime import quantization

    if len(feeds) < MIN_CALIBRATION:
        raise ExportError(
            f"INT8 needs at least {MIN_CALIBRATION} calibration pictures beside those of the parity gate; "
            f"got {len(feeds)}. Give a folder with more pictures (--images DIR)."
        )
    convolutions = [node.name for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    inner = [node for node in model.graph.node if node.op_type == "Conv" and node.name in convolutions[1:-1]]
    if not inner:
        raise ExportError(
            f"The graph has {len(convolutions)} convolutions, none between stem and head: nothing to make INT8. "
            "Use --precision fp32 or fp16."
        )
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # the quantizer recommends its own preprocessing, which torch's exporter has done
    try:
        with TemporaryDirectory() as folder:
            target = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                model,
                target,
                _Reader(feeds),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[convolutions[0], convolutions[-1]],
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            return onnx.load(target)
    finally:
        logger.setLevel(level)


class _Reader:
    """Calibration inputs as ONNX Runtime's quantizer asks for them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same float32 graph in half the bytes: large weights are stored as float16 and cast by the graph.

    The casts have constant inputs, so that runtimes do them once, when they open the model.

    Raises:
        ExportError: a weight is beyond float16's range.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    casts = []
    for tensor in result.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALL:
            continue
        if float(np.abs(values).max()) > FP16_MAX:
            raise ExportError(f"The weight '{tensor.name}' is beyond float16's range; export without --half-weights.")
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend([*casts, *nodes])
    return result
