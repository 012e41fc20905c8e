"""Compositing: a frame's region becomes the generator's input, and its answer goes back into the frame."""

from __future__ import annotations

import copy
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
    """What depends on the frame's size, format and colour; made once, used for every such frame."""

    layout: Layout
    prepare: _kernels.Prepare
    compose: _kernels.Compose


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

    Not for concurrent use; :meth:`twin` makes one for another thread.
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
                raise OptionError(f"{name}: got {value:g}, expected 0 to 1.")
        if spec.image is None:
            raise OptionError(
                f"Model '{spec.name}' generates images from noise and takes no frame. "
                "Use engine generate (Generator in Python)."
            )
        self.spec = spec
        self.framing: Framing = framing or Framing()
        self.detail = detail
        self.opacity = opacity
        self._target = target
        self._forget()

    def _forget(self) -> None:
        self._geometries: dict[tuple[PixelFormat, tuple[int, int], Color], _Geometry] = {}
        self._layouts: dict[tuple[int, int], Layout] = {}
        self._canvas: tuple[Array, Output] | None = None

    def twin(self) -> Compositor:
        """The same for another thread."""
        other = copy.copy(self)
        other._forget()
        return other

    def layout(self, frame_size: tuple[int, int]) -> Layout:
        """The framing for frames of ``frame_size`` (height, width)."""
        layout = self._layouts.get(frame_size)
        if layout is None:
            layout = self.framing.layout(frame_size, self.spec.size)
            if len(self._layouts) >= MAX_GEOMETRIES:
                self._layouts.clear()
            self._layouts[frame_size] = layout
        return layout

    def prepare(self, frame: Frame, out: Array | None = None) -> Array:
        """The generator's input for a frame, (3, h, w) float32 in the spec's range and channel order.

        Args:
            out: where it is written; None: a new array.

        Returns:
            ``out``.
        """
        geometry = self._geometry(frame)
        if out is None:
            out = np.empty((3, *geometry.layout.size), np.float32)
        geometry.prepare(frame.planes, out)
        return out

    def canvas(self, layout: Layout) -> tuple[Array, Output]:
        """Where the picture of a layout with tiles is prepared, (1, 3, h, w), and where its answers are put together.

        Both are overwritten with the next frame.
        """
        if self._canvas is None or self._canvas[0].shape[2:] != layout.size:
            mask = np.empty((1, 1, *layout.size), np.float32) if self.spec.output.mask else None
            translated = np.empty((1, 3, *layout.size), np.float32)
            self._canvas = np.empty((1, 3, *layout.size), np.float32), Output(translated, mask)
        return self._canvas

    def compose(
        self,
        frame: Frame,
        output: Output,
        destination: Frame,
        index: int = 0,
        *,
        prepared: Array | None = None,
        opacity: float | None = None,
        detail: float | None = None,
    ) -> None:
        """Write the generator's output into ``destination``, a writable copy of ``frame``.

        Pixels outside the layout's region stay as they are, bit for bit.

        Args:
            index: which picture of the run it was.
            prepared: what :meth:`prepare` gave for the frame; needed for detail above 0.
            opacity, detail: for this frame; None: as given when the compositor was made.

        Raises:
            ShapeError: the answer has another size than the input had.
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
            prepared=prepared,
            source=frame.planes,
            detail=self.detail if detail is None else detail,
            opacity=self.opacity if opacity is None else opacity,
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
        return _Geometry(kernels.layout, kernels.prepare, kernels.compose)
