"""Face compositing: a face becomes the generator's input, and what that changed goes back into the frame."""

from __future__ import annotations

import copy
from typing import Any

from .._kernels import WarpCompose, WarpPrepare
from ..backends.base import Array, Output
from ..errors import OptionError, ShapeError
from ..pixels.frame import Color, Frame, PixelFormat
from ..spec import GeneratorSpec, format_size
from .framing import FaceFraming
from .temporal_smoothing import Link
from .tracker import Placed

_MAX_GEOMETRIES = 4


class FaceCompositor:
    """Prepares faces for one generator and composes its answers, in the frame's own pixel format.

    Args:
        spec: the generator's record: a square picture, with or without a mask.
        framing: the options of face framing.
        detail: 0..1, how much of the original's detail shows through the mask: 1 adds what the generator changed to the
            frame's own pixels; 0 shows what the mask covers in the generator's resolution.
        opacity: 0 shows the original, 1 the translation.

    Not for concurrent use.
    """

    def __init__(
        self, spec: GeneratorSpec, framing: FaceFraming | None = None, *, detail: float = 1.0, opacity: float = 1.0
    ) -> None:
        for name, value in (("detail", detail), ("opacity", opacity)):
            if not 0 <= value <= 1:
                raise OptionError(f"{name}: got {value:g}, expected 0 to 1.")
        if spec.image is None:
            raise OptionError(
                f"Model '{spec.name}' generates images from noise and takes no face. "
                "Use engine generate (Generator in Python)."
            )
        self.spec = spec
        self.framing: FaceFraming = framing or FaceFraming()
        self.size: tuple[int, int] = spec.size.fixed or spec.size.round_up(spec.size.preferred)
        if self.size[0] != self.size[1]:
            raise OptionError(
                f"Model '{spec.name}' takes pictures of {format_size(self.size)}; "
                "framing 'faces' needs a model of square pictures."
            )
        self.detail = detail
        self.opacity = opacity
        self._kernels: dict[tuple[PixelFormat, tuple[int, int], Color], tuple[WarpPrepare, WarpCompose]] = {}

    def twin(self) -> FaceCompositor:
        """The same for another thread."""
        other = copy.copy(self)
        other._kernels = {}
        return other

    def prepare(self, frame: Frame, face: Placed, out: Array) -> None:
        """Fill ``out``, (3, h, w) float32, with the generator's input for a face: in the spec's range and order."""
        self._kernels_for(frame)[0](frame.planes, face.square.tensor(self.size), out)

    def compose(
        self,
        face: Placed,
        image: Array,
        output: Output,
        destination: Frame,
        link: Link | None,
        *,
        opacity: float | None = None,
        detail: float | None = None,
    ) -> None:
        """Write what the generator changed into ``destination``, a writable copy of the frame.

        Args:
            image: (1, 3, h, w), the part of this face in what :meth:`prepare` gave.
            output: the generator's output to it.
            link: to the same face in the frame before, for steady changes.
            opacity, detail: for this frame; None: as given when the compositor was made.
        """
        if output.translated.shape != image.shape:
            raise ShapeError(
                f"The model answered an image of shape {output.translated.shape} to an input of shape {image.shape}. "
                "Only models whose output has the size of their input can be composited into a frame."
            )
        composed = self.spec.output.kind == "image"
        if link is not None:
            output = link.settle(image, output, composed=composed)
            composed = True
        self._kernels_for(destination)[1](
            output.translated[0],
            image[0],
            destination.planes,
            face.square.tensor(self.size),
            composed=composed,
            mask=None if output.mask is None else output.mask[0, 0],
            opacity=(self.opacity if opacity is None else opacity) * face.opacity,
            detail=self.detail if detail is None else detail,
        )

    def _kernels_for(self, frame: Frame) -> tuple[WarpPrepare, WarpCompose]:
        key = (frame.format, frame.size, frame.color)
        kernels = self._kernels.get(key)
        if kernels is None:
            if len(self._kernels) == _MAX_GEOMETRIES:
                del self._kernels[next(iter(self._kernels))]
            border = self.spec.frame_border_px * self.size[0] / min(self.spec.size.preferred)
            feather = self.framing.feather
            if feather is None:
                feather = border / 2 or self.size[0] / 16
            common: dict[str, Any] = {
                "format": frame.format,
                "frame_size": frame.size,
                "size": self.size,
                "matrix": frame.color.matrix,
                "full_range": frame.color.full_range,
                "siting": frame.color.siting,
                "value_range": self.spec.value_range,
                "bgr": self.spec.channel_order == "BGR",
            }
            kernels = self._kernels[key] = (
                WarpPrepare(**common),
                WarpCompose(**common, border=border, feather=feather),
            )
        return kernels
