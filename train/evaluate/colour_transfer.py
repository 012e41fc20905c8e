"""Colour transfer by mean and deviation in Lab (Reinhard et al. 2001): what a translation must beat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ganlens.engine.evaluate.lab import Floats, Pixels, to_lab, to_rgb

__all__ = ["ColourTransfer", "Pixels", "to_lab", "to_rgb"]


class ColourTransfer(NamedTuple):
    """Gives a picture the mean and the deviation of each Lab channel that a set of pictures has on average."""

    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, pictures: Iterable[Pixels]) -> ColourTransfer:
        """From the target set, (H, W, 3) uint8 RGB each."""
        statistics = [(lab.mean(axis=(0, 1)), lab.std(axis=(0, 1))) for lab in map(to_lab, pictures)]
        means, deviations = zip(*statistics, strict=True)
        return cls(np.mean(means, axis=0), np.mean(deviations, axis=0))

    def apply(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) uint8 RGB to the same."""
        lab = to_lab(pixels)
        scale = self.deviation / np.maximum(lab.std(axis=(0, 1)), 1e-6)  # a channel without spread only moves
        return to_rgb((lab - lab.mean(axis=(0, 1))) * scale + self.mean)
