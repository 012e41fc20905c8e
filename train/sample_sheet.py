"""Grids of pictures with a line about where they come from and a caption over each column, and their files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.engine.files import replace_file
from ganlens.engine.media.bitmap_font import LINE, draw_line, letters_in

Pixels = NDArray[np.uint8]

CAPTION_LINES = 3
"""Over a column, at most; longer captions are cut."""
DOT_PX = 160
"""Columns are this wide for each pixel of a letter's dot."""


def make_sheet(rows: Sequence[Sequence[Pixels]], captions: Sequence[str] = (), title: str = "") -> Pixels:
    """Pictures of one size side by side, row under row, below a title and captions.

    Args:
        rows: (H, W, 3) uint8 RGB each; all rows have the same number.
        captions: over the columns; none: no header at all, the title included.
        title: a line above them.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    if not captions:
        return grid
    width = rows[0][0].shape[1]
    scale = max(1, width // DOT_PX)
    lines = [_lines(caption, letters_in(width // scale)) for caption in captions]
    height = (1 + max(len(line) for line in lines)) * LINE * scale + 2 * scale
    header = np.full((height, grid.shape[1], 3), 255, np.uint8)
    draw_line(header, title[: letters_in(grid.shape[1] // scale)], scale, scale, scale)
    for column, words in enumerate(lines):
        for number, line in enumerate(words):
            draw_line(header, line, (1 + number) * LINE * scale + scale, column * width + scale, scale)
    return np.concatenate([header, grid], axis=0)


def _lines(text: str, letters: int) -> list[str]:
    """Broken at spaces, and within words where nothing else helps."""
    return textwrap.wrap(text.replace("_", " "), max(1, letters - 1))[:CAPTION_LINES] or [""]


def check_png(file: Path, *, overwrite: bool) -> None:
    """Refuse, before the work begins, a file that :func:`save_png` should not write.

    Raises:
        OptionError: another kind of file.
        TrainingError: it exists, and ``overwrite`` is false.
    """
    if file.suffix.lower() != ".png":
        raise OptionError(f"{file}: grids of pictures are written as .png.")
    if file.exists() and not overwrite:
        raise TrainingError(f"{file} exists; pass -y to overwrite it.")


def save_png(file: Path, picture: Image.Image | Pixels) -> None:
    """Write a picture as PNG; an older file of that name is replaced when the new one is whole.

    Raises:
        TrainingError: it cannot be written.
    """
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, "PNG")
    try:
        replace_file(file, buffer.getvalue())
    except OSError as error:
        raise TrainingError(f"{file} cannot be written: {error}.") from error
