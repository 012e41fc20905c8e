"""Real pictures for the parity gate and for calibration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ganlens.engine.errors import MediaError
from ganlens.engine.spec import GeneratorSpec, Size
from ganlens.train.data.pictures import UNREADABLE, to_rgb

log = logging.getLogger(__name__)


def choose_pictures(paths: Sequence[Path], count: int) -> list[Path]:
    """Up to ``count`` readable pictures, evenly spread over ``paths``, the same ones every time.

    Unreadable files are skipped with a warning.

    Raises:
        MediaError: none can be read.
    """
    readable: list[Path] = []
    unreadable: list[Path] = []
    for path in _spread(paths):
        if len(readable) == count:
            break
        (readable if _is_readable(path) else unreadable).append(path)
    if unreadable:
        log.warning("Skipped %d unreadable pictures: %s", len(unreadable), ", ".join(p.name for p in unreadable))
    if not readable:
        raise MediaError(f"None of the {len(paths)} pictures in '{paths[0].parent}' can be read.")
    return readable


def load_picture(path: Path, spec: GeneratorSpec, size: Size) -> NDArray[np.float32]:
    """A picture as the generator's input: scaled to cover ``size``, cropped at the centre.

    Returns:
        (1, 3, height, width) float32 in the record's value range and channel order.
    """
    height, width = size
    with Image.open(path) as image:
        fitted = ImageOps.fit(to_rgb(ImageOps.exif_transpose(image)), (width, height), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(fitted, dtype=np.float32)
    if spec.channel_order == "BGR":
        pixels = pixels[:, :, ::-1]
    low, high = spec.value_range
    return np.ascontiguousarray((pixels * ((high - low) / 255) + low).transpose(2, 0, 1)[None], dtype=np.float32)


def _spread(paths: Sequence[Path]) -> list[Path]:
    # Multiples of the golden ratio, modulo 1, are evenly spread however many are taken.
    return [paths[i] for i in np.argsort(np.argsort(np.arange(len(paths)) * 0.6180339887498949 % 1.0))]


def _is_readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except UNREADABLE:
        return False
    return True
