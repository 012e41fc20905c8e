"""A contact sheet: rows of pictures side by side, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .lab import Pixels, to_lab, to_rgb

GAP = 4
"""White pixels between pictures."""


def contact_sheet(rows: Sequence[Sequence[Pixels]]) -> Pixels:
    """Pictures (H, W, 3) uint8 RGB in rows; smaller ones are centred in their cell, on white."""
    height = max(picture.shape[0] for row in rows for picture in row)
    width = max(picture.shape[1] for row in rows for picture in row)
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for down, row in enumerate(rows):
        for right, picture in enumerate(row):
            top = down * (height + GAP) + (height - picture.shape[0]) // 2
            left = right * (width + GAP) + (width - picture.shape[1]) // 2
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def color_transfer(source: Pixels, target: Pixels) -> Pixels:
    """The source with mean and deviation of the target's L, a and b (Reinhard et al., Color Transfer between Images,
    2001, in CIE Lab): what a style has to beat."""
    lab, wanted = to_lab(source), to_lab(target)
    mean, deviation = lab.mean(axis=(0, 1)), lab.std(axis=(0, 1))
    scale = wanted.std(axis=(0, 1)) / np.maximum(deviation, 1e-6)
    return to_rgb((lab - mean) * scale + wanted.mean(axis=(0, 1)))
