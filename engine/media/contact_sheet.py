"""Many pictures in one, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .bitmap_font import LINE, draw_line, letters_in

GAP = 4
"""Pixels between pictures and around them."""
WIDTH_PER_DOT = 64
"""Pictures are this wide for each pixel of a letter's dot: ten letters fill a line. Longer lines get smaller dots."""


def make_grid(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]] | None = None, columns: int | None = None
) -> NDArray[np.uint8]:
    """Pictures of one size side by side on white, row by row.

    Args:
        pictures: (H, W, 3) uint8 RGB each, at least one.
        captions: lines under each picture, cut where they are wider than it; None: no captions.
        columns: None: about as many as rows.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = pictures[0].shape[:2]
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    lines = max((len(caption) for caption in captions or ()), default=0)
    longest = max((len(text) for caption in captions or () for text in caption), default=0)
    scale = next((dot for dot in range(width // WIDTH_PER_DOT, 1, -1) if letters_in(width // dot) >= longest), 1)
    cell = height + GAP + (lines * LINE * scale + GAP if lines else 0)
    sheet = np.full((rows * cell + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = GAP + number // columns * cell, GAP + number % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
        for row, text in enumerate(captions[number] if captions else ()):
            shown = text[: letters_in(width // scale)]
            draw_line(sheet, shown, top + height + GAP + row * LINE * scale, left, scale)
    return sheet
