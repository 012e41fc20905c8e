"""Compositing: a frame's region becomes the generator's input, and its answer goes back into the frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _kernels
from .backends.base import Array, Output
from .errors import OptionError, ShapeError
from .frame import Color, Frame, PixelFormat
from .framing import Framing, Layout
from .spec import GeneratorSpec

MAX_GEOMETRIES = 4
"""Frame sizes whose tables and buffers are kept at a time; a folder of pictures has many sizes."""

Run = Callable[[Array], Output]


@dataclass(frozen=True)
class Kernels:
    """The two kernels for frames of one size, format and colour."""

    layout: Layout
    options: dict[str, Any]
    """What both were made with."""
    prepare: _kernels.Prepare
    compose: _kernels.Compose


@dataclass
class _Geometry:
    """What depends on the frame's size and format; made once, used for every such frame."""

    layout: Layout
    prepare: _kernels.Prepare
    compose: _kernels.Compose
    image: Array
    """(1, 3, h, w): the generator's input."""
    canvas: Output | None
    """Where tiles are put together; None for layouts without tiles."""
    tile: Array | None


class Compositor:
    """Prepares frames for one generator and composes its answers, in the frame's own pixel format.

    Args:
        spec: the generator's record.
        framing: how frames enter the generator.
        detail: how much of the original's luminance detail above the generator's resolution is added back, 0 to 1:
            ``Y = up(generated) + detail * (original - up(down(original)))``. Of use when the generator's image is
            smaller than the region, where the answer alone would be soft.
        opacity: 0 shows the original, 1 the translation.
        target: instruction set of the kernels, for tests; empty: the fastest this CPU has.

    Not for concurrent use: the buffers are reused from frame to frame.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        framing: Framing | None = None,
        *,
        detail: float = 0.0,
        opacity: float = 1.0,
        target: str = "",
    ) -> None:
        for name, value in (("detail", detail), ("opacity", opacity)):
            if not 0 <= value <= 1:
                raise OptionError(f"{name} must lie between 0 and 1, got {value:g}.")
        if spec.image is None:
            raise OptionError(
                f"Model '{spec.name}' makes images from noise; it takes no frame. "
                "Use engine generate (Generator in Python)."
            )
        self.spec = spec
        self.framing = framing or Framing()
        self.detail = detail
        self.opacity = opacity
        self._target = target
        self._geometries: dict[tuple[PixelFormat, tuple[int, int], Color], _Geometry] = {}

    def layout(self, frame_size: tuple[int, int]) -> Layout:
        """The framing for frames of ``frame_size`` (height, width)."""
        return self.framing.layout(frame_size, self.spec.size)

    def prepare(self, frame: Frame) -> Array:
        """The generator's input for a frame: (1, 3, h, w) float32 in the spec's range; overwritten by the next call."""
        geometry = self._geometry(frame)
        geometry.prepare(frame.planes, geometry.image[0])
        return geometry.image

    def run(self, frame: Frame, image: Array, run: Run) -> Output:
        """Give the prepared image to the network, whole or in the layout's tiles."""
        geometry = self._geometry(frame)
        if not geometry.layout.tiles:
            return run(image)
        assert geometry.canvas is not None and geometry.tile is not None
        return _run_tiles(geometry.layout, image, geometry.canvas, geometry.tile, run)

    def compose(self, frame: Frame, output: Output, destination: Frame) -> None:
        """Write the generator's answer into ``destination``, a writable copy of ``frame``.

        Pixels outside the layout's region stay as they are, bit for bit.
        """
        geometry = self._geometry(frame)
        expected = (1, 3, *geometry.layout.size)
        if output.translated.shape != expected:
            raise ShapeError(
                f"The model answered an image of shape {output.translated.shape} to an input of shape {expected}. "
                "Only models whose output has the size of their input can be composed into a frame."
            )
        geometry.compose(
            output.translated[0],
            destination.planes,
            mask=None if output.mask is None or self.spec.output.kind == "image" else output.mask[0, 0],
            prepared=geometry.image[0] if self.detail else None,
            source=frame.planes,
        )

    def _geometry(self, frame: Frame) -> _Geometry:
        key = (frame.format, frame.size, frame.color)
        geometry = self._geometries.get(key)
        if geometry is None:
            if len(self._geometries) == MAX_GEOMETRIES:
                del self._geometries[next(iter(self._geometries))]
            geometry = self._geometries[key] = self._make_geometry(frame)
        return geometry

    def kernels(self, format: PixelFormat, size: tuple[int, int], color: Color, target: str = "") -> Kernels:
        """The two kernels for frames of ``size`` (height, width); ``target``: as of the kernels."""
        layout = self.layout(size)
        options: dict[str, Any] = {
            "format": format,
            "frame_size": size,
            "region": layout.region,
            "size": layout.size,
            "matrix": color.matrix,
            "full_range": color.full_range,
            "siting": color.siting,
            "value_range": self.spec.value_range,
            "bgr": self.spec.channel_order == "BGR",
        }
        blending: dict[str, Any] = {"feather": layout.feather, "detail": self.detail, "opacity": self.opacity}
        prepare = _kernels.Prepare(**options, target=target)
        return Kernels(layout, options, prepare, _kernels.Compose(**options, **blending, target=target))

    def _make_geometry(self, frame: Frame) -> _Geometry:
        kernels = self.kernels(frame.format, frame.size, frame.color, self._target)
        layout = kernels.layout
        canvas = tile = None
        if layout.tiles:
            assert layout.tile_size is not None
            mask = np.empty((1, 1, *layout.size), np.float32) if self.spec.output.mask else None
            canvas = Output(np.empty((1, 3, *layout.size), np.float32), mask)
            tile = np.empty((1, 3, *layout.tile_size), np.float32)
        image = np.empty((1, 3, *layout.size), np.float32)
        return _Geometry(layout, kernels.prepare, kernels.compose, image, canvas, tile)


def _run_tiles(layout: Layout, image: Array, canvas: Output, tile_image: Array, run: Run) -> Output:
    """Run the network tile by tile and add the answers up with the tiles' weights, which sum to one everywhere."""
    for part in canvas:
        if part is not None:
            part.fill(0)
    height, width = tile_image.shape[2:]
    for tile in layout.tiles:
        window = (slice(None), slice(None), slice(tile.top, tile.top + height), slice(tile.left, tile.left + width))
        np.copyto(tile_image, image[window])
        for part, answer in zip(canvas, run(tile_image), strict=True):
            if part is not None and answer is not None:
                part[window] += answer * tile.weight
    return canvas
