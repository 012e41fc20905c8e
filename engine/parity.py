"""How far pictures are from a reference, and how far they may be: one gate for the export and the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .spec import GeneratorSpec

Precision = Literal["fp32", "fp16", "int8"]

MAX_DB = 200.0
"""Stands for "identical" in PSNR and SNR: a record in JSON cannot hold infinity."""
MAX_ABS_OF_BROKEN = 1e9
"""Stands for "not finite or of another shape" in ``max_abs``."""


class Measured(Protocol):
    """The figures that a :class:`Threshold` judges."""

    @property
    def max_abs(self) -> float: ...
    @property
    def psnr_db(self) -> float: ...


class Difference(NamedTuple):
    """How far one picture is from the reference, both stretched to [-1, 1]."""

    max_abs: float
    psnr_db: float
    cosine: float
    snr_db: float
    """Against the reference's own variance."""


@dataclass(frozen=True)
class Threshold:
    """What a graph must keep to. None: not judged."""

    max_abs: float | None = None
    psnr_db: float | None = None

    def failures(self, parity: Measured) -> list[str]:
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


def compare(
    expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]], spec: GeneratorSpec
) -> Difference:
    """Compare the outputs for one picture with those of the reference.

    Args:
        expected, found: the image (1, 3, H, W) in the range of ``spec``, and the mask (1, 1, H, W) in [0, 1] where the
            model has one; the mask counts in max_abs and PSNR, stretched to [-1, 1] like the image.
    """
    ranges = [spec.value_range, (0.0, 1.0)]
    pairs = [(_stretch(a, *span), _stretch(b, *span)) for a, b, span in zip(expected, found, ranges, strict=False)]
    if len(expected) != len(found) or any(a.shape != b.shape or not np.isfinite(b).all() for a, b in pairs):
        return Difference(MAX_ABS_OF_BROKEN, -MAX_DB, -1.0, -MAX_DB)
    noise = [float(np.mean((a - b) ** 2)) for a, b in pairs]
    image, other = pairs[0]
    return Difference(
        max(float(np.abs(a - b).max()) for a, b in pairs),
        min(decibels(4.0, n) for n in noise),
        _cosine(image, other),
        decibels(float(image.var()), noise[0]),
    )


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
