"""The parity gate: how far a graph in ONNX Runtime is from PyTorch, on real pictures or on seeded noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from ganlens.engine.model.attributes import label_vectors
from ganlens.engine.spec import AttributeInput, GeneratorSpec, Parity

from .wrapper import MASK

Precision = Literal["fp32", "fp16", "int8"]
Feed = dict[str, NDArray[np.float32]]
"""The graph's inputs by name, in the generator's order."""

MAX_DB = 200.0
"""Stands for "identical" in PSNR and SNR: a record in JSON cannot hold infinity."""


@dataclass(frozen=True)
class Threshold:
    """What a graph must keep to. None: not judged."""

    max_abs: float | None = None
    psnr_db: float | None = None

    def failures(self, parity: Parity) -> list[str]:
        """What is not kept, in words; empty if the graph passes."""
        found = []
        if self.max_abs is not None and not parity.max_abs <= self.max_abs:
            found.append(f"max abs {parity.max_abs:.2e} > {self.max_abs:.0e}")
        if self.psnr_db is not None and not parity.psnr_db >= self.psnr_db:
            found.append(f"PSNR {parity.psnr_db:.1f} dB < {self.psnr_db:.0f} dB")
        return found

    def __str__(self) -> str:
        return f"max abs <= {self.max_abs:.0e}" if self.max_abs is not None else f"PSNR >= {self.psnr_db:.0f} dB"


THRESHOLDS: Mapping[Precision, Threshold] = {
    "fp32": Threshold(max_abs=1e-3),
    "fp16": Threshold(psnr_db=40.0),
    "int8": Threshold(psnr_db=30.0),
}


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
    names = [entry.name for entry in session.get_outputs()]
    rows = []
    for feed in feeds:
        with torch.inference_mode():
            answer = module(*(torch.from_numpy(value) for value in feed.values()))
        expected = [tensor.numpy() for tensor in (answer if isinstance(answer, tuple) else (answer,))]
        came = session.run(None, {name: value.astype(types[name]) for name, value in feed.items()})
        for number in range(len(expected[0])):
            one = slice(number, number + 1)
            rows.append(_compare(names, [array[one] for array in expected], [array[one] for array in came], spec))
    return Parity(
        inputs=inputs_text(spec),
        images=len(rows),
        max_abs=max(row[0] for row in rows),
        psnr_db=min(row[1] for row in rows),
        cosine=min(row[2] for row in rows),
        snr_db=min(row[3] for row in rows),
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
        return "real pictures"
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


def _compare(
    names: Sequence[str],
    expected: Sequence[NDArray[np.float32]],
    came: Sequence[NDArray[np.float32]],
    spec: GeneratorSpec,
) -> tuple[float, float, float, float]:
    """(max abs, PSNR, cosine, SNR); the mask counts in the first two, stretched to [-1, 1] like the image."""
    low, high = spec.value_range
    ranges = {name: (0.0, 1.0) if name == MASK else (low, high) for name in names}
    pairs = [
        (_stretch(a, *ranges[name]), _stretch(b, *ranges[name]))
        for name, a, b in zip(names, expected, came, strict=True)
    ]
    if any(a.shape != b.shape or not np.isfinite(b).all() for a, b in pairs):
        return MAX_ABS_OF_BROKEN, -MAX_DB, -1.0, -MAX_DB
    noise = [float(np.mean((a - b) ** 2)) for a, b in pairs]
    image, other = pairs[0]
    return (
        max(float(np.abs(a - b).max()) for a, b in pairs),
        min(decibels(4.0, n) for n in noise),
        _cosine(image, other),
        decibels(float(image.var()), noise[0]),
    )


MAX_ABS_OF_BROKEN = 1e9
"""Stands for "not finite or of another shape" in ``max_abs``."""


def decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``, within ±:data:`MAX_DB`."""
    if noise == 0:
        return MAX_DB
    return float(np.clip(10 * np.log10(max(signal, 1e-30) / noise), -MAX_DB, MAX_DB))


def _stretch(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    return (values.astype(np.float64) - low) * (2 / (high - low)) - 1


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b) / norm) if norm else float(np.array_equal(a, b))
