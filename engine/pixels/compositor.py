"""Compositing: a frame's region becomes the generator's input, and its answer goes back into the frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _kernels
from ..backends.base import Array, Output
from ..errors import OptionError, ShapeError
from ..spec import GeneratorSpec
from .frame import Color, Frame, PixelFormat
from .framing import Framing, Layout

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
    """(N, 3, h, w): the generator's input, for the most pictures so far that shared a run."""
    canvas: Output | None
    """Where tiles are put together; None for layouts without tiles."""
    tile: Array | None
    """(N, 3, h, w)"""


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
        return self.prepare_all([frame])

    def prepare_all(self, frames: Sequence[Frame], room: int = 1) -> Array:
        """The generator's input for frames of one size, format and colour.

        Args:
            room: at least so many pictures; what lies behind the frames' own is left as it is.

        Returns:
            (N, 3, h, w) float32 in the spec's range; overwritten by the next call.
        """
        geometry = self._geometry(frames[0])
        count = max(len(frames), room)
        if len(geometry.image) < count:
            geometry.image = np.zeros((count, 3, *geometry.layout.size), np.float32)
        for frame, image in zip(frames, geometry.image, strict=False):
            geometry.prepare(frame.planes, image)
        return geometry.image[:count]

    def run(self, frame: Frame, image: Array, run: Run, tiles: int = 1) -> Output:
        """Give the prepared image to the network, whole or in the layout's tiles, up to ``tiles`` of them in a run."""
        geometry = self._geometry(frame)
        layout = geometry.layout
        if not layout.tiles:
            return run(image)
        assert geometry.canvas is not None and layout.tile_size is not None
        tiles = min(tiles, len(layout.tiles))
        if geometry.tile is None or len(geometry.tile) != tiles:
            geometry.tile = np.zeros((tiles, 3, *layout.tile_size), np.float32)
        return _run_tiles(layout, image, geometry.canvas, geometry.tile, run)

    def compose(self, frame: Frame, output: Output, destination: Frame, index: int = 0) -> None:
        """Write the generator's answer into ``destination``, a writable copy of ``frame``.

        Pixels outside the layout's region stay as they are, bit for bit.

        Args:
            index: which picture of the run it was.
        """
        geometry = self._geometry(frame)
        expected = (3, *geometry.layout.size)
        if output.translated.shape[1:] != expected:
            raise ShapeError(
                f"The model answered an image of shape {output.translated.shape} to an input of shape "
                f"{(len(output.translated), *expected)}. Only models whose output has the size of their input can be "
                "composed into a frame."
            )
        geometry.compose(
            output.translated[index],
            destination.planes,
            mask=None if output.mask is None or self.spec.output.kind == "image" else output.mask[index, 0],
            prepared=geometry.image[index] if self.detail else None,
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
        canvas = None
        if layout.tiles:
            mask = np.empty((1, 1, *layout.size), np.float32) if self.spec.output.mask else None
            canvas = Output(np.empty((1, 3, *layout.size), np.float32), mask)
        image = np.empty((1, 3, *layout.size), np.float32)
        return _Geometry(layout, kernels.prepare, kernels.compose, image, canvas, None)


def _run_tiles(layout: Layout, image: Array, canvas: Output, tile_images: Array, run: Run) -> Output:
    """Run the network on some tiles at a time; add its answers up with their weights, which sum to one everywhere."""
    for part in canvas:
        if part is not None:
            part.fill(0)
    height, width = tile_images.shape[2:]
    for begin in range(0, len(layout.tiles), len(tile_images)):
        tiles = layout.tiles[begin : begin + len(tile_images)]
        windows = [
            (slice(None), slice(tile.top, tile.top + height), slice(tile.left, tile.left + width)) for tile in tiles
        ]
        for tile_image, window in zip(tile_images, windows, strict=False):
            np.copyto(tile_image, image[0][window])
        output = run(tile_images)
        for index, (tile, window) in enumerate(zip(tiles, windows, strict=True)):
            for part, answer in zip(canvas, output, strict=True):
                if part is not None and answer is not None:
                    part[0][window] += answer[index] * tile.weight
    return canvas
