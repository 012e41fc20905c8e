"""What can be measured of a picture filter: colours, contrast, detail, a grid, threads, a frame line, flicker.

Each measure is of pictures as they are seen, uint8 RGB. L, a and b are CIE Lab (D65, L in 0..100); luma is
``0.299 R + 0.587 G + 0.114 B`` in 0..255, whose units are called levels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lab import Floats, Pixels, to_lab

PERIODS = (2, 4, 8)
"""Pixels: what upsampling in one, two and three steps of two leaves behind."""
BLUR = 5
"""Pixels: the side of the box that fine detail is finer than."""
RING = 8
"""Pixels: the width of the frame whose brightness is compared with that of the next frame inside it."""
SMALLEST = 96
"""Pixels: the smaller side of a picture on which grid and frame line can be measured."""
TURN = 22.5
"""Degrees by which :func:`turned` turns: rows, columns and diagonals end halfway between axes and diagonals."""
THREAD = (1 / 8, 1 / 2)
"""Frequencies of threads, in cycles a pixel."""
BESIDE = 8.0
"""Degrees: what counts as along an axis, or a diagonal."""
STILL = 2.0
"""Levels: how much the blurred source may differ around a pixel that counts as still."""


class Statistics(NamedTuple):
    """How colourful, contrasty and detailed pictures are; means over the pictures of one set."""

    chroma: float
    """Mean of ``sqrt(a² + b²)``."""
    contrast: float
    """Standard deviation of L."""
    detail: float
    """Standard deviation of L minus its 5x5 mean (edges repeated)."""
    spread: float
    """``sqrt(var(a) + var(b))``: how far apart the colours of a picture are."""


def statistics(pictures: Iterable[Pixels]) -> Statistics:
    """The statistics of a set of pictures, (H, W, 3) uint8 RGB each, at least one."""
    rows = []
    for pixels in pictures:
        light, a, b = np.moveaxis(to_lab(pixels), -1, 0)
        fine = light - box_mean(light, BLUR)
        rows.append((np.hypot(a, b).mean(), light.std(), fine.std(), np.hypot(a.std(), b.std())))
    return Statistics(*np.mean(rows, axis=0).tolist())


def distance(results: Iterable[Pixels], targets: Iterable[Pixels]) -> float:
    """L1: the mean absolute difference of pairs, in units of -1..1 (a level is 2 / 255)."""
    differences = [
        np.abs(result.astype(np.int16) - target).mean() for result, target in zip(results, targets, strict=True)
    ]
    return float(np.mean(differences)) / 127.5


def luma(pixels: Pixels) -> Floats:
    """(H, W, 3) uint8 RGB to (H, W) in levels."""
    weighted: Floats = pixels @ np.array([0.299, 0.587, 0.114])
    return weighted


def box_mean(values: Floats, side: int) -> Floats:
    """The mean of a square of odd ``side`` around each value, edges repeated."""
    padded = np.pad(values, side // 2, mode="edge")
    sums = np.pad(padded, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    box: Floats = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2
    return box


# --- grid and frame line ---------------------------------------------------------------------------------------------

_SKIES = {
    "day": ((0.30, 0.50, 0.80), (0.30, 0.20, 0.05)),
    "haze": ((0.60, 0.62, 0.65), (0.20, 0.20, 0.20)),
    "dusk": ((0.35, 0.20, 0.35), (0.55, 0.35, 0.05)),
    "night": ((0.03, 0.04, 0.10), (0.08, 0.08, 0.12)),
}
"""Colour at the upper edge, and how much is added down to the lower one; RGB in 0..1."""
_SKY_ENDS = 0.56
"""Fraction of the height above which there is only sky."""


def synthetic_skies(size: tuple[int, int]) -> list[Pixels]:
    """Four skies of (height, width): a smooth gradient with sensor noise of about one level, and a dark house in the
    lower half, inside the picture. Where a filter leaves a grid or a frame line, it shows there first."""
    height, width = size
    down = np.linspace(0, 1, height)[:, None, None]
    random = np.random.default_rng(0)
    skies = []
    for upper, added in _SKIES.values():
        image = np.broadcast_to(np.array(upper) + down * np.array(added), (height, width, 3)).copy()
        image[int(0.6 * height) : int(0.8 * height), int(0.55 * width) : int(0.8 * width)] = 0.15
        image += random.normal(0, 0.005, image.shape)
        skies.append(np.rint(image.clip(0, 1) * 255).astype(np.uint8))
    return skies


def grid(skies: Iterable[Pixels]) -> dict[int, float]:
    """How strong the pattern is that is fixed to the pixel grid, by period; the mean over the skies, in levels.

    The luma of the sky, without its trend (a mean over one period of 8, half weights at both ends), is folded: the mean
    of all 8x8 tiles keeps what repeats from tile to tile, as the unequal phases of a transposed convolution do, and
    averages out strokes and noise. Of the tile's discrete Fourier transform ``F`` (divided by 64), those
    coefficients belong to period p whose larger frequency is ``8 / p`` cycles a tile. The amplitude is
    ``sqrt(2 * sum |F|²)``: that of a sine wave of the same power.
    """
    found = []
    for pixels in skies:
        flat = _without_trend(luma(pixels))
        height, width = flat.shape
        top, left = RING * 2, RING * 2
        sky = flat[top : int(_SKY_ENDS * height), left : width - left]
        rows, columns = (side // 8 for side in sky.shape)
        tile = sky[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean(axis=(0, 2))
        power = np.abs(np.fft.fft2(tile) / tile.size) ** 2
        frequency = np.minimum(np.arange(8), 8 - np.arange(8))
        larger = np.maximum(frequency[:, None], frequency[None, :])
        found.append([float(np.sqrt(2 * power[larger == 8 // period].sum())) for period in PERIODS])
    return dict(zip(PERIODS, np.mean(found, axis=0).tolist(), strict=True))


def frame_line(skies: Iterable[Pixels]) -> float:
    """How much brighter or darker the outer 8 pixels all around are than the next 8, in levels; mean over the skies.

    ``|mean(outer ring) - mean(next ring)|`` of the luma. A gradient cancels out between opposite sides.
    """
    steps = []
    for pixels in skies:
        light = luma(pixels)
        to_edge = [np.minimum(np.arange(side), np.arange(side)[::-1]) for side in light.shape]
        depth = np.minimum(to_edge[0][:, None], to_edge[1][None, :])
        steps.append(abs(light[depth < RING].mean() - light[(depth >= RING) & (depth < 2 * RING)].mean()))
    return float(np.mean(steps))


def _without_trend(values: Floats) -> Floats:
    """Minus a mean over 9 pixels, the outer two with half weight: exact for lines and for periods of 8, 4 and 2."""
    kernel = np.array([0.5, 1, 1, 1, 1, 1, 1, 1, 0.5]) / 8
    smooth = np.pad(values, 4, mode="edge")
    for axis in (0, 1):
        smooth = np.apply_along_axis(np.convolve, axis, smooth, kernel, "valid")
    flat: Floats = values - smooth
    return flat


# --- threads ---------------------------------------------------------------------------------------------------------


def turned(pixels: Pixels) -> Pixels:
    """A picture turned by :data:`TURN` degrees about its centre, enlarged until it fills the frame; bilinear.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        The same shape.
    """
    height, width = pixels.shape[:2]
    cos, sin = np.cos(np.radians(TURN)), np.sin(np.radians(TURN))
    scale = min(height / (height * cos + width * sin), width / (width * cos + height * sin))
    down, right = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    y = (scale * (cos * down + sin * right) + (height - 1) / 2).clip(0, height - 1)
    x = (scale * (cos * right - sin * down) + (width - 1) / 2).clip(0, width - 1)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    v, u = (y - top)[..., None], (x - left)[..., None]
    upper = pixels[top, left] * (1 - u) + pixels[top, left + 1] * u
    lower = pixels[top + 1, left] * (1 - u) + pixels[top + 1, left + 1] * u
    moved: Pixels = np.rint(upper * (1 - v) + lower * v).astype(np.uint8)
    return moved


def threads(pictures: Iterable[Pixels]) -> float:
    """How much more of the fine detail runs along rows and columns than along diagonals; 1 is as much.

    Of the luma's power spectrum (Hann window): the mean within :data:`BESIDE` degrees of the axes over that around
    the diagonals, at the frequencies of :data:`THREAD`; the geometric mean over the pictures. Neither is less than the
    noise of rounding to uint8. Photographs have edges along the axes: use :func:`turned` ones, and compare a
    translation with its source.
    """
    ratios = []
    for pixels in pictures:
        light = luma(pixels)
        height, width = light.shape
        window = np.hanning(height)[:, None] * np.hanning(width)
        power = np.abs(np.fft.fft2((light - light.mean()) * window)) ** 2 + (window**2).sum() / 12
        down, right = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
        angle = np.degrees(np.arctan2(down, right)) % 90
        frequency = np.hypot(down, right)
        fine = (frequency >= THREAD[0]) & (frequency <= THREAD[1])
        along = power[fine & (np.minimum(angle, 90 - angle) <= BESIDE)].mean()
        across = power[fine & (np.abs(angle - 45) <= BESIDE)].mean()
        ratios.append(along / across)
    return float(np.exp(np.mean(np.log(ratios))))


# --- flicker ---------------------------------------------------------------------------------------------------------


class Flicker(NamedTuple):
    """How much still parts of a clip change from frame to frame, in levels."""

    source: float
    """Mean change of the source."""
    result: float
    """Mean change of the filtered frames, on the same pixels."""
    p99: float
    """What 99 % of the filtered frames' still pixels stay below."""
    still: float
    """Share of all pixels that is still."""


class FlickerMeter:
    """Measures flicker frame by frame.

    A pixel is still from one frame to the next where the source's luma, as a 5x5 mean, differs by at most
    :data:`STILL` levels in all of the 9x9 pixels around it. Its change is the mean of ``|difference|`` over R, G and B.
    """

    def __init__(self) -> None:
        self._before: tuple[Pixels, Pixels] | None = None
        self._counts = [np.zeros(3 * 255 + 1, np.int64) for _ in range(2)]  # of source and result, by sum of R, G, B
        self._pixels = 0

    def add(self, source: Pixels, result: Pixels) -> None:
        """The next frame, (H, W, 3) uint8 RGB before and after the filter."""
        if self._before is not None:
            still = _still(self._before[0], source)
            self._pixels += still.size
            for counts, before, now in zip(self._counts, self._before, (source, result), strict=True):
                change = np.abs(now.astype(np.int16) - before).sum(axis=2)
                counts += np.bincount(change[still], minlength=len(counts))
        self._before = source, result

    def value(self) -> Flicker | None:
        """None without still pixels."""
        source, result = self._counts
        total = int(source.sum())
        if total == 0:
            return None
        levels = np.arange(len(source)) / 3
        p99 = levels[np.searchsorted(result.cumsum(), 0.99 * total)]
        return Flicker(float(source @ levels / total), float(result @ levels / total), float(p99), total / self._pixels)


def _still(before: Pixels, now: Pixels) -> NDArray[np.bool_]:
    change = np.abs(box_mean(luma(now), 5) - box_mean(luma(before), 5))
    height, width = change.shape
    for axis, side in ((0, height), (1, width)):
        padded = np.pad(change, [(4, 4) if place == axis else (0, 0) for place in (0, 1)], mode="edge")
        change = np.max([padded.take(range(step, step + side), axis=axis) for step in range(9)], axis=0)
    still: NDArray[np.bool_] = change <= STILL
    return still
