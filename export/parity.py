"""The parity gate: how far a graph in ONNX Runtime is from PyTorch, on real pictures or on seeded noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from ganlens.engine.model.attributes import label_vectors
from ganlens.engine.parity import MAX_DB, THRESHOLDS, Precision, Threshold, compare, decibels
from ganlens.engine.spec import AttributeInput, GeneratorSpec, Parity

__all__ = [
    "MAX_DB",
    "THRESHOLDS",
    "Feed",
    "Precision",
    "Threshold",
    "batched",
    "decibels",
    "inputs_text",
    "measure",
    "sample_attributes",
    "worst",
]

Feed = dict[str, NDArray[np.float32]]
"""The graph's inputs by name, in the generator's order."""


def measure(module: nn.Module, model: bytes, spec: GeneratorSpec, feeds: Sequence[Feed]) -> Parity:
    """Run a graph and the PyTorch module it was made from on the same inputs.

    Args:
        module: an :class:`~ganlens.export.wrapper.ExportGenerator`, float32.
        model: the serialized graph.
        spec: its record.
        feeds: each of any batch that the graph takes.

    Returns:
        The worst figures over all pictures. A value that is not finite counts as an infinite difference.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    types = {entry.name: np.float16 if "float16" in entry.type else np.float32 for entry in session.get_inputs()}
    rows = []
    for feed in feeds:
        with torch.inference_mode():
            answer = module(*(torch.from_numpy(value) for value in feed.values()))
        expected = [tensor.numpy() for tensor in (answer if isinstance(answer, tuple) else (answer,))]
        came = session.run(None, {name: value.astype(types[name]) for name, value in feed.items()})
        for number in range(len(expected[0])):
            one = slice(number, number + 1)
            rows.append(compare([array[one] for array in expected], [array[one] for array in came], spec))
    return Parity(
        inputs=inputs_text(spec),
        images=len(rows),
        max_abs=max(row.max_abs for row in rows),
        psnr_db=min(row.psnr_db for row in rows),
        cosine=min(row.cosine for row in rows),
        snr_db=min(row.snr_db for row in rows),
    )


def worst(parities: Sequence[Parity]) -> Parity:
    """The worst figures of several measurements of the same pictures (for example at several sizes)."""
    return Parity(
        inputs=parities[0].inputs,
        images=parities[0].images,
        max_abs=max(p.max_abs for p in parities),
        psnr_db=min(p.psnr_db for p in parities),
        cosine=min(p.cosine for p in parities),
        snr_db=min(p.snr_db for p in parities),
    )


def inputs_text(spec: GeneratorSpec) -> str:
    """What a generator is judged on, for its record."""
    if spec.image is not None:
        return "pictures"
    if spec.attributes is None:
        return "seeded latents"
    return (
        f"seeded latents, labels drawn from {'the training data' if spec.attributes.combinations else 'their groups'}"
    )


def batched(feeds: Sequence[Feed]) -> list[Feed]:
    """The first feed alone and the others as one batch: what a graph of free batch must answer."""
    if len(feeds) < 2:
        return list(feeds)
    return [feeds[0], {name: np.concatenate([feed[name] for feed in feeds[1:]]) for name in feeds[0]}]


def sample_attributes(attributes: AttributeInput, random: np.random.Generator) -> NDArray[np.float32]:
    """A valid attribute vector, drawn at random: groups hold exactly or at most one 1, as the record says.

    Where the record says what occurs in the training data, it is drawn from that.

    Returns:
        (1, C) float32, or (1, 2C) where the record has the complement appended.
    """
    if attributes.combinations:
        return label_vectors(attributes, [], [random])
    chosen = {name: float(random.integers(2)) for name in attributes.names}
    for group in attributes.groups:
        one = int(random.integers(len(group) + (0 if attributes.exactly_one else 1)))
        chosen |= {name: float(index == one) for index, name in enumerate(group)}
    vector = np.array([chosen[name] for name in attributes.names], dtype=np.float32)
    return np.concatenate([vector, 1 - vector])[None] if attributes.complement else vector[None]
