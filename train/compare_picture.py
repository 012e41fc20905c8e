"""Runs beside each other as one PNG: their curves, then the newest grid of samples of each.

Curves are drawn by Matplotlib; the samples keep their pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlens.engine.errors import MissingExtra
from ganlens.engine.media.bitmap_font import LINE, draw_line, letters_in

from .compare import colour_of, newest_sample, series_of

if TYPE_CHECKING:
    from .compare import RunFolder

Pixels = NDArray[np.uint8]

COLUMNS = 3
"""Curves beside each other, at most."""
CURVE_INCHES = (4.4, 2.7)
DOTS = 100
"""Pixels of an inch."""
CAPTION_SCALE = 2


def draw_png(runs: Sequence[RunFolder], names: Sequence[str], *, samples: bool = True) -> bytes:
    """The picture as a PNG file.

    Args:
        runs: one or more.
        names: the curves, in their order.
        samples: also the newest grid of samples of each run that has one.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    parts = [_curves(runs, names)] if names else []
    if samples:
        parts += [part for run in runs if (part := _samples(run)) is not None]
    width = max((part.shape[1] for part in parts), default=1)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in parts]
    whole = np.concatenate(padded) if padded else np.full((1, 1, 3), 255, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "PNG")
    return buffer.getvalue()


def _curves(runs: Sequence[RunFolder], names: Sequence[str]) -> Pixels:
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no global state
    except ImportError as error:
        raise MissingExtra("A comparison as a PNG", "matplotlib", "train") from error
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    size = (CURVE_INCHES[0] * columns, CURVE_INCHES[1] * rows)
    figure = Figure(figsize=size, dpi=DOTS, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, name in zip(axes, names, strict=False):
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        for number, run in enumerate(runs):
            points = series_of(run, name)
            if points:
                steps, values = zip(*points, strict=True)
                label = f"{run.name} {values[-1]:.4g}".replace("$", r"\$")  # a dollar would begin a formula
                dots = "." if len(points) < 3 else ""  # a line needs two points
                axis.plot(steps, values, color=colour_of(number), linewidth=1.2, label=label, marker=dots)
        axis.set_xlabel("step", fontsize=8)
        axis.legend(fontsize=8, title="last value", title_fontsize=7)
    for axis in axes[len(names) :]:
        axis.axis("off")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        return np.asarray(picture.convert("RGB"))


def _samples(run: RunFolder) -> Pixels | None:
    picture = newest_sample(run)
    if picture is None or run.sample is None:
        return None
    grid = np.asarray(picture)
    header = np.full((2 * LINE * CAPTION_SCALE, grid.shape[1], 3), 255, np.uint8)
    text = f"{run.name}, {run.sample.stem}".replace("_", " ")  # the letters have no underscore
    caption = text[: letters_in(grid.shape[1] // CAPTION_SCALE) - 1]
    draw_line(header, caption, LINE * CAPTION_SCALE // 2, CAPTION_SCALE, CAPTION_SCALE)
    return np.concatenate([header, grid])
