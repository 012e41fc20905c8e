"""Framing: how a frame of any size enters the generator and comes back. Geometry only; colour is the compositor's.

Every mode is one rectangle of the frame (the *region*, in frame pixels, which may reach beyond the frame's edges: what
is outside repeats the edge) mapped onto one image of the generator's pixels:

- ``fit``     the whole frame, scaled down to about the size the model was made for, and back. A model of fixed size
              sees the frame letterboxed in repeated edges, so that nothing is squeezed.
- ``crop``    one rectangle (``region``, else the largest centred one of the model's shape); the rest is not touched.
- ``tile``    the frame at its own size, cut into overlapping tiles of the model's size that are feathered together.
- ``native``  the frame at its own size through the network in one piece; needs a model of free size.

A model with a margin (:attr:`~ganlens.engine.spec.SizeRule.margin`) sees that many pixels more on every side of a whole
frame: the region reaches beyond the frame by as much, and what the network paints there is written nowhere.

A fifth one, ``faces``, has another rectangle for each face and frame: :mod:`ganlens.engine.faces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, did_you_mean
from ..spec import SizeRule, format_size

Mode = Literal["fit", "crop", "tile", "native"]
MODES: tuple[Mode, ...] = get_args(Mode)
Region = tuple[float, float, float, float]
"""(top, left, height, width) in frame pixels."""


@dataclass(frozen=True)
class Tile:
    """One tile of the generator's image: where it starts and how much each pixel of it counts.

    The weights of all tiles add up to one everywhere: they rise and fall linearly over the overlaps.
    """

    top: int
    left: int
    weight: NDArray[np.float32]
    """(height, width) float32 in (0, 1]."""


@dataclass(frozen=True)
class Layout:
    """A framing worked out for one frame size."""

    region: Region
    size: tuple[int, int]
    """(height, width) of the image that ``region`` is mapped onto."""
    feather: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Ramp widths at the top, bottom, left and right edge of the region, in frame pixels, inward."""
    tiles: tuple[Tile, ...] = ()
    """Empty: the network takes the image whole."""
    tile_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Framing:
    """How frames enter the generator.

    Args:
        mode: one of :data:`MODES`.
        region: (x, y, width, height) of the crop in frame pixels, for ``crop``.
        size: (height, width) of the generator's image with its margin, for models of free size; for ``tile`` the size
            of a tile. None: about the area that the model was made for, in the region's own shape, and the margin.
        feather: width in pixels of the ramp between the crop and the rest; None: 1/16 of the crop's shorter side, and
            none where the crop meets the frame's edge.
        overlap: share of a tile that it has in common with its neighbour.
    """

    mode: Mode = "fit"
    region: tuple[int, int, int, int] | None = None
    size: tuple[int, int] | None = None
    feather: float | None = None
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if str(self.mode) == "faces":
            raise OptionError("Framing 'faces' has options of its own; make it with ganlens.engine.faces.FaceFraming.")
        if self.mode not in MODES:
            raise OptionError(f"Unknown framing '{self.mode}'. {did_you_mean(str(self.mode), [*MODES, 'faces'])}")
        if self.region is not None and self.mode != "crop":
            raise OptionError(f"A region needs framing 'crop', got '{self.mode}'.")
        if self.feather is not None and self.feather < 0:
            raise OptionError(f"The feather must not be negative, got {self.feather:g}.")
        if not 0 < self.overlap <= 0.5:
            raise OptionError(f"The overlap of tiles must be above 0 and at most 0.5, got {self.overlap:g}.")

    def layout(self, frame_size: tuple[int, int], rule: SizeRule) -> Layout:
        """Work the framing out for frames of ``frame_size`` (height, width) and a model of the given size rule."""
        if self.size is not None and not rule.accepts(self.size):
            raise OptionError(f"got size {format_size(self.size)}; the model takes {rule}.")
        if self.mode == "native":
            if rule.fixed is not None:
                raise OptionError(
                    f"Framing 'native' needs a model of free size; this one takes {rule}. Use fit or tile, or "
                    "export it with --dynamic."
                )
            size = _grown(frame_size, rule, (rule.margin,) * 4)
            return Layout((-float(rule.margin), -float(rule.margin), float(size[0]), float(size[1])), size)
        if self.mode == "tile":
            return self._tiled(frame_size, rule)
        if self.mode == "crop":
            return self._cropped(frame_size, rule)
        return self._fitted((0.0, 0.0, float(frame_size[0]), float(frame_size[1])), rule)

    def _fitted(self, region: Region, rule: SizeRule) -> Layout:
        """Grow the region evenly to the shape of the generator's image, so that pixels stay square."""
        top, left, height, width = region
        size = rule.fixed or self.size or _grown(_same_shape(height, width, rule), rule, (rule.margin,) * 4)
        scale = max(height / (size[0] - 2 * rule.margin), width / (size[1] - 2 * rule.margin))
        grown = (scale * size[0], scale * size[1])
        return Layout((top - (grown[0] - height) / 2, left - (grown[1] - width) / 2, *grown), size)

    def _cropped(self, frame_size: tuple[int, int], rule: SizeRule) -> Layout:
        height, width = frame_size
        if self.region is None:
            shape = rule.fixed or self.size or rule.preferred
            scale = min(height / shape[0], width / shape[1])
            h, w = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
            top, left = (height - h) // 2, (width - w) // 2
        else:
            left, top, w, h = self.region
            if w < 1 or h < 1 or left < 0 or top < 0 or left + w > width or top + h > height:
                raise OptionError(
                    f"Region {left},{top},{w},{h} (x, y, width, height) is not inside the frame of {width}x{height}."
                )
        ramp = min(h, w) / 16 if self.feather is None else min(self.feather, h / 2, w / 2)
        at_edge = (top == 0, top + h == height, left == 0, left + w == width)
        above, below, before, after = (0.0 if touches and self.feather is None else ramp for touches in at_edge)
        feather = (above, below, before, after)
        # The ramp hides a line along the crop's border; where there is none, beside the frame's edge, the margin does.
        margins = [rule.margin if at and width == 0 else 0 for at, width in zip(at_edge, feather, strict=True)]
        size = rule.fixed or self.size or _grown(_same_shape(h, w, rule), rule, margins)
        down, across = h / (size[0] - margins[0] - margins[1]), w / (size[1] - margins[2] - margins[3])
        grown = h + (margins[0] + margins[1]) * down, w + (margins[2] + margins[3]) * across
        region = (top - margins[0] * down, left - margins[2] * across, *grown)
        return Layout(region, size, feather)

    def _tiled(self, frame_size: tuple[int, int], rule: SizeRule) -> Layout:
        tile = rule.fixed or self.size or rule.round_up(rule.preferred)
        rows, height = _spans(frame_size[0] + 2 * rule.margin, tile[0], self.overlap)
        columns, width = _spans(frame_size[1] + 2 * rule.margin, tile[1], self.overlap)
        tiles = tuple(
            Tile(top, left, np.outer(row, column).astype(np.float32)) for top, row in rows for left, column in columns
        )
        region = (-float(rule.margin), -float(rule.margin), float(height), float(width))
        return Layout(region, (height, width), tiles=tiles, tile_size=tile)


def _same_shape(height: float, width: float, rule: SizeRule) -> tuple[int, int]:
    """The accepted size of about the preferred area whose sides stand nearest to height : width."""
    area = rule.preferred[0] * rule.preferred[1]
    ideal = (area * height / width) ** 0.5
    m = rule.multiple_of
    sides = (max(m, round(side / m) * m) for side in (ideal, area / ideal))
    return rule.round_up((next(sides), next(sides)))


def _grown(size: tuple[int, int], rule: SizeRule, margins: Sequence[int]) -> tuple[int, int]:
    """The smallest accepted size that holds ``size`` and the margins above, below, before and after it."""
    above, below, before, after = margins
    return rule.round_up((size[0] + above + below, size[1] + before + after))


def _spans(length: int, tile: int, overlap: float) -> tuple[list[tuple[int, NDArray[np.float64]]], int]:
    """Start and weights of the tiles along one axis, and the length they cover (at least ``length``)."""
    if length <= tile:
        return [(0, np.ones(tile))], tile
    count = int(np.ceil((length - tile * overlap) / (tile * (1 - overlap))))
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)]
    position = np.arange(tile) + 0.5
    weights = []
    total = np.zeros(length)
    for i, start in enumerate(starts):
        weight = np.ones(tile)
        if i > 0:
            weight *= np.clip(position / (starts[i - 1] + tile - start), 0, 1)
        if i + 1 < count:
            weight *= np.clip((tile - position) / (start + tile - starts[i + 1]), 0, 1)
        weights.append(weight)
        total[start : start + tile] += weight
    # At overlaps near one half, rounded starts let three tiles meet in a pixel: their ramps alone then exceed one.
    return [(start, w / total[start : start + tile]) for start, w in zip(starts, weights, strict=True)], length
