"""The kernels in plain NumPy, float64: the specification of ``_kernels`` and the oracle of its tests.

Positions are continuous luma coordinates: luma pixel ``k`` covers ``[k, k + 1)`` and has its centre at ``k + 0.5``. A
region is ``(top, left, height, width)`` in these coordinates; it may be fractional and may extend beyond the frame,
where samples are the frame's edge replicated. Formats, planes and siting are those of
:mod:`ganlens.engine.pixels.frame`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]

LUMA_WEIGHTS = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722), "bt2020": (0.2627, 0.6780, 0.0593)}
"""Weights of R', G', B' in Y' (ITU-R BT.601, BT.709, BT.2020 non-constant luminance)."""


def prepare(
    planes: Sequence[NDArray[np.uint8]],
    *,
    format: str,
    frame_size: tuple[int, int],
    region: tuple[float, float, float, float],
    size: tuple[int, int],
    matrix: str,
    full_range: bool,
    siting: str,
    value_range: tuple[float, float],
    bgr: bool,
) -> Array:
    """The region of a frame, resampled to ``size`` (height, width) as a generator wants it.

    Each plane is resampled by a triangle filter (bilinear, widened when shrinking: no aliasing), chroma by its siting;
    then Y'CbCr becomes R'G'B', is clipped to 0..255 and scaled to ``value_range``.

    Returns:
        (3, h, w) float64 in ``value_range``; R, G, B, or B, G, R if ``bgr``.
    """
    top, left, height, width = region
    steps = height / size[0], width / size[1]
    rows = top + (np.arange(size[0]) + 0.5) * steps[0]
    columns = left + (np.arange(size[1]) + 0.5) * steps[1]

    resampled = []
    for index, plane in enumerate(split(planes, format)):
        step, cosited = grid(format, index, siting)
        down = resampling(to_samples(rows, step, cosited[0]), steps[0] / step, plane.shape[0])
        across = resampling(to_samples(columns, step, cosited[1]), steps[1] / step, plane.shape[1])
        resampled.append(down @ plane.astype(np.float64) @ across.T)
    image = np.stack(resampled)
    if format != "rgb24":
        forward, offset = rgb_to_ycbcr(matrix, full_range)
        image = np.einsum("ij,jhw->ihw", np.linalg.inv(forward), image - offset[:, None, None])
    low, high = value_range
    image = low + image.clip(0, 255) * ((high - low) / 255)
    return image[::-1] if bgr else image


def compose(
    translated: ArrayLike,
    destination: Sequence[NDArray[np.uint8]],
    *,
    format: str,
    frame_size: tuple[int, int],
    region: tuple[float, float, float, float],
    size: tuple[int, int],
    matrix: str,
    full_range: bool,
    siting: str,
    value_range: tuple[float, float],
    bgr: bool,
    feather: tuple[float, float, float, float] = (0, 0, 0, 0),
    detail: float = 0.0,
    opacity: float = 1.0,
    mask: ArrayLike | None = None,
    prepared: ArrayLike | None = None,
    source: Sequence[NDArray[np.uint8]] | None = None,
) -> None:
    """Write a generator's output into the region of a frame.

    A sample is written where its position is inside the region. (In a frame of odd size the last chroma sample may
    be sited beyond the frame; it counts as lying at the centre of the last luma pixel.)

    Args:
        translated: (3, h, w) in ``value_range``, clipped to it; channel order as ``bgr`` says.
        destination: the planes of the frame, written in place.
        feather: widths in pixels of the linear ramps at the top, bottom, left, right edge, inward.
        detail: 0..1, how much luminance detail of the source above the generator's Nyquist frequency to add:
            ``Y_out = up(Y_generated - detail * Y_prepared) + detail * Y_source``.
        opacity: 0..1, factor of the blend weight.
        mask: (h, w) in [0, 1], factor of the blend weight; 1 shows the generator's output.
        prepared: (3, h, w), what :func:`prepare` gave for this frame; needed if ``detail`` > 0.
        source: planes of the untouched frame, for ``detail``; None: ``destination`` still holds it.
    """
    top, left, height, width = region
    low, high = value_range
    forward, offset = rgb_to_ycbcr(matrix, full_range) if format != "rgb24" else (np.eye(3), np.zeros(3))
    luma = rgb_to_ycbcr(matrix, full_range or format == "rgb24")[0][0]

    def to_planes(image: ArrayLike) -> tuple[Array, Array]:
        """The samples (3, h, w) as the frame codes them, and the luma without its offset (h, w)."""
        rgb = (np.asarray(image, np.float64).clip(low, high) - low) * (255 / (high - low))
        rgb = rgb[::-1] if bgr else rgb
        coded = np.einsum("ij,jhw->ihw", forward, rgb) + offset[:, None, None]
        return coded, np.einsum("j,jhw->hw", luma, rgb)

    generated, _ = to_planes(translated)
    if detail > 0:
        assert prepared is not None, "detail > 0 needs what prepare gave"
        _, luma_prepared = to_planes(prepared)
        source_planes = [plane.astype(np.float64) for plane in split(source or destination, format)]
        if format == "rgb24":
            luma_source = np.einsum("j,jhw->hw", luma, np.stack(source_planes))
        else:
            luma_source = source_planes[0] - offset[0]

    for index, plane in enumerate(split(destination, format)):
        step, cosited = grid(format, index, siting)
        rows = positions(plane.shape[0], frame_size[0], step, cosited[0])
        columns = positions(plane.shape[1], frame_size[1], step, cosited[1])
        rows_in = np.flatnonzero((rows >= top) & (rows < top + height))
        columns_in = np.flatnonzero((columns >= left) & (columns < left + width))
        if not len(rows_in) or not len(columns_in):
            continue
        inside = np.ix_(rows_in, columns_in)
        rows, columns = rows[rows_in], columns[columns_in]
        scales = size[0] / height, size[1] / width
        down = resampling((rows - top) * scales[0], scales[0] * step, size[0])
        across = resampling((columns - left) * scales[1], scales[1] * step, size[1])

        if detail > 0 and (format == "rgb24" or index == 0):
            value = down @ (generated[index] - detail * luma_prepared) @ across.T + detail * luma_source[inside]
        else:
            value = down @ generated[index] @ across.T
        weight = opacity * np.outer(
            ramp(rows - top, feather[0]) * ramp(top + height - rows, feather[1]),
            ramp(columns - left, feather[2]) * ramp(left + width - columns, feather[3]),
        )
        if mask is not None:
            weight = weight * (down @ np.asarray(mask, np.float64).clip(0, 1) @ across.T)
        before = plane[inside].astype(np.float64)
        plane[inside] = np.floor(before + weight * (value.clip(0, 255) - before) + 0.5).astype(np.uint8)


def warp_prepare(
    planes: Sequence[NDArray[np.uint8]],
    similarity: tuple[float, float, float, float],
    *,
    format: str,
    size: tuple[int, int],
    matrix: str,
    full_range: bool,
    siting: str,
    value_range: tuple[float, float],
    bgr: bool,
) -> Array:
    """A rotated square of a frame, as a generator wants it; not rotated, it is what :func:`prepare` gives.

    The triangle filter is widened by the same factor along both axes of the frame.

    Args:
        similarity: (a, b, shift_u, shift_v), frame to tensor: ``u = a x - b y + shift_u, v = b x + a y + shift_v``.
    """
    a, b, shift_u, shift_v = similarity
    v, u = np.mgrid[: size[0], : size[1]] + 0.5
    v, u = v - shift_v, u - shift_u
    x, y = (a * u + b * v) / (a * a + b * b), (a * v - b * u) / (a * a + b * b)
    resampled = []
    for index, plane in enumerate(split(planes, format)):
        step, cosited = grid(format, index, siting)
        at = to_samples(y, step, cosited[0]), to_samples(x, step, cosited[1])
        resampled.append(gather(plane.astype(np.float64), *at, 1 / (np.hypot(a, b) * step)))
    image = np.stack(resampled)
    if format != "rgb24":
        forward, offset = rgb_to_ycbcr(matrix, full_range)
        image = np.einsum("ij,jhw->ihw", np.linalg.inv(forward), image - offset[:, None, None])
    low, high = value_range
    image = low + image.clip(0, 255) * ((high - low) / 255)
    return image[::-1] if bgr else image


def warp_compose(
    translated: ArrayLike,
    prepared: ArrayLike,
    destination: Sequence[NDArray[np.uint8]],
    similarity: tuple[float, float, float, float],
    *,
    format: str,
    frame_size: tuple[int, int],
    size: tuple[int, int],
    matrix: str,
    full_range: bool,
    siting: str,
    value_range: tuple[float, float],
    bgr: bool,
    composed: bool,
    border: float = 0.0,
    feather: float = 0.0,
    detail: float = 0.0,
    opacity: float = 1.0,
    mask: ArrayLike | None = None,
) -> None:
    """Write what a generator changed into a rotated square of a frame.

    With ``x`` what the generator saw, ``x'`` its finished picture and ``m`` its mask, a sample ``s`` of the frame
    becomes ``s + weight (up(x' - x) + (1 - detail) (up(m x) - up(m) s))``: with full detail the change alone is added;
    without, the mask's share of the original is replaced by what the generator saw of it, so that its edges do not
    shine through.

    Args:
        translated: (3, h, w) in ``value_range``: ``x'``, or, not ``composed``, a segment of which ``x'`` is
            ``x + m (segment - x)``.
        prepared: (3, h, w): ``x``.
        destination: the planes of the frame, written in place.
        similarity: as of :func:`warp_prepare`.
        border, feather: in tensor pixels: ``weight`` is 0 up to ``border`` from the square's edge, and rises to
            ``opacity`` over ``feather``. Samples of weight 0 are not written.
        mask: (h, w) in [0, 1]; None: 1.
    """
    a, b, shift_u, shift_v = similarity
    low, high = value_range
    forward, offset = rgb_to_ycbcr(matrix, full_range) if format != "rgb24" else (np.eye(3), np.zeros(3))

    def to_rgb(image: ArrayLike) -> Array:
        rgb = (np.asarray(image, np.float64).clip(low, high) - low) * (255 / (high - low))
        return rgb[::-1] if bgr else rgb

    shown = np.ones(size) if mask is None else np.asarray(mask, np.float64).clip(0, 1)
    original = to_rgb(prepared)
    change = (to_rgb(translated) - original) * (1 if composed else shown)
    hidden = (1 - detail) * shown
    paint = np.einsum("ij,jhw->ihw", forward, change + hidden * original) + offset[:, None, None] * hidden
    for index, plane in enumerate(split(destination, format)):
        step, cosited = grid(format, index, siting)
        y = positions(plane.shape[0], frame_size[0], step, cosited[0])[:, None]
        x = positions(plane.shape[1], frame_size[1], step, cosited[1])[None, :]
        u, v = a * x - b * y + shift_u, b * x + a * y + shift_v
        weight = np.full(plane.shape, float(opacity))
        for at, length in ((u, size[1]), (v, size[0])):
            inside = (at >= border) & (at < length - border)
            weight *= inside * ramp(at - border, feather) * ramp(length - border - at, feather)
        written = weight > 0
        u, v, weight = u[written], v[written], weight[written]
        support = np.hypot(a, b) * step
        before = plane[written].astype(np.float64)
        value = before + weight * (gather(paint[index], v, u, support) - gather(hidden, v, u, support) * before)
        plane[written] = np.floor(value.clip(0, 255) + 0.5).astype(np.uint8)


def gather(samples: Array, rows: Array, columns: Array, scale: float) -> Array:
    """Values between the samples of a plane: a triangle filter that reaches ``max(1, scale)`` samples to each side.

    Edges are replicated. ``rows`` and ``columns`` are sample coordinates, any shape; sample ``k`` is at ``k + 0.5``.
    """
    down, across = (
        resampling(at.ravel(), scale, length) for at, length in zip((rows, columns), samples.shape, strict=True)
    )
    value: Array = ((down @ samples) * across).sum(axis=1)
    return value.reshape(rows.shape)


def split(planes: Sequence[NDArray[np.uint8]], format: str) -> list[NDArray[np.uint8]]:
    """Views of the three sample planes (2-D each): R, G, B or Y, Cb, Cr."""
    if format == "rgb24":
        return [planes[0][..., channel] for channel in range(3)]
    if format == "nv12":
        return [planes[0], planes[1][..., 0], planes[1][..., 1]]
    return list(planes)


def grid(format: str, plane: int, siting: str) -> tuple[int, tuple[bool, bool]]:
    """Luma pixels per sample of a plane, and whether its samples sit on the even luma rows and columns."""
    if format == "rgb24" or plane == 0:
        return 1, (False, False)
    return 2, (siting == "topleft", siting in ("left", "topleft"))


def positions(count: int, frame_length: int, step: int, cosited: bool) -> Array:
    """Positions of the samples of a plane along one axis, in luma coordinates, kept inside the frame."""
    at: Array = np.arange(count) * step + (0.5 if cosited else step / 2)
    return at.clip(max=frame_length - 0.5)


def to_samples(position: Array, step: int, cosited: bool) -> Array:
    """Luma coordinates as sample coordinates of a plane, where sample ``k`` is at ``k + 0.5``."""
    return (position - (0.5 if cosited else step / 2)) / step + 0.5


def resampling(centres: Array, scale: float, length: int) -> Array:
    """Weights (outputs, length) of a triangle filter over an edge-replicated row of samples.

    Args:
        centres: positions of the outputs, in sample coordinates.
        scale: samples per output; the filter reaches ``max(1, scale)`` samples to each side.
    """
    support = max(1.0, scale)
    reach = np.arange(np.ceil(2 * support) + 2)
    samples = np.floor(centres - support)[:, None] + reach  # (outputs, window)
    triangle: Array = np.maximum(0, 1 - np.abs(samples + 0.5 - centres[:, None]) / support)
    weights = np.zeros((len(centres), length))
    columns = samples.clip(0, length - 1).astype(int)
    np.add.at(weights, (np.arange(len(centres))[:, None], columns), triangle / triangle.sum(axis=1, keepdims=True))
    return weights


def ramp(distance: Array, width: float) -> Array:
    """Linear ramp from 0 at the edge of the region to 1 at ``width`` pixels from it."""
    return np.clip(distance / width, 0, 1) if width > 0 else np.ones_like(distance)


def rgb_to_ycbcr(matrix: str, full_range: bool) -> tuple[Array, Array]:
    """Matrix (3, 3) and offset (3,) that take R'G'B' in 0..255 to 8-bit Y'CbCr (ITU-T H.273)."""
    red, green, blue = LUMA_WEIGHTS[matrix]
    luma = np.array([red, green, blue])
    chroma_blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    chroma_red = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    if full_range:
        return np.stack([luma, chroma_blue, chroma_red]), np.array([0.0, 128, 128])
    return np.stack([luma * 219, chroma_blue * 224, chroma_red * 224]) / 255, np.array([16.0, 128, 128])
