"""Pictures as the decoder gives them: planes of 8-bit samples, with the colour description needed to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError

PixelFormat = Literal["rgb24", "yuv420p", "nv12"]
Matrix = Literal["bt601", "bt709", "bt2020"]
Siting = Literal["left", "center", "topleft"]


@dataclass(frozen=True)
class Color:
    """How Y'CbCr samples are read.

    ``siting`` is the position of a chroma sample in its 2x2 luma block: "left" (MPEG-2, H.264, HEVC default) is centred
    vertically and co-sited with the left column, "center" (JPEG, MPEG-1) is in the middle, "topleft" is co-sited in
    both directions.
    """

    matrix: Matrix = "bt709"
    full_range: bool = False
    siting: Siting = "left"


def plane_shapes(size: tuple[int, int], format: str) -> list[tuple[int, ...]]:
    """Shapes of the planes of a picture of ``size`` (height, width).

    Raises:
        ShapeError: an unknown pixel format.
    """
    height, width = size
    half = (-(-height // 2), -(-width // 2))
    shapes: dict[str, list[tuple[int, ...]]] = {
        "rgb24": [(height, width, 3)],
        "yuv420p": [(height, width), half, half],
        "nv12": [(height, width), (*half, 2)],
    }
    if format not in shapes:
        raise ShapeError(f"pixel format {format!r} is not supported; expected one of {', '.join(shapes)}")
    return shapes[format]


@dataclass(frozen=True)
class Frame:
    """One picture in its own pixel format.

    planes (uint8, last axis contiguous, rows may be padded):
        "rgb24":   ((H, W, 3),) R, G, B
        "yuv420p": ((H, W), (ceil(H/2), ceil(W/2)), (ceil(H/2), ceil(W/2))) Y, Cb, Cr
        "nv12":    ((H, W), (ceil(H/2), ceil(W/2), 2)) Y, CbCr
    """

    planes: tuple[NDArray[np.uint8], ...]
    format: PixelFormat = "rgb24"
    color: Color = field(default_factory=Color)
    time: Fraction | None = None
    """Presentation time in seconds, exact; None for a picture that has none."""

    def __post_init__(self) -> None:
        expected = plane_shapes(self.size, self.format)
        if min(self.size) < 1:
            raise ShapeError(f"got an image of (height, width) {self.size}, expected at least one pixel")
        given = [plane.shape for plane in self.planes]
        if given != expected or any(plane.dtype != np.uint8 for plane in self.planes):
            raise ShapeError(
                f"got {self.format} planes of shape {given} ({', '.join(str(p.dtype) for p in self.planes)}), "
                f"expected uint8 {expected}"
            )
        if not all(plane[:1].flags.c_contiguous for plane in self.planes):
            raise ShapeError(
                f"got {self.format} planes whose rows are not contiguous in memory, such as a view [..., ::-1] or a "
                "transposed array; expected contiguous rows. Copy it: numpy.ascontiguousarray(array)"
            )

    @classmethod
    def from_rgb(cls, pixels: NDArray[np.uint8], time: Fraction | None = None) -> Frame:
        """A frame over an (H, W, 3) uint8 RGB array, without a copy."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ShapeError(f"got an image of shape {pixels.shape}, {pixels.dtype}, expected (H, W, 3) uint8 RGB")
        return cls((pixels,), "rgb24", time=time)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.planes[0].shape[:2]
        return int(height), int(width)

    @property
    def device_planes(self) -> Sequence[object] | None:
        """The planes in a GPU's memory, as DLPack describes them, of a frame that is there: ``planes`` is then a copy.

        None: it is in host memory.
        """
        return None

    @property
    def adoptable(self) -> bool:
        """Whether a frame like this one can be made of other planes in host memory without a copy, now or later."""
        return True

    def over(self, planes: Sequence[Any]) -> Frame:
        """A frame like this one over other planes of the same shapes, where this one's are: see ``device_planes``."""
        return replace(self, planes=tuple(planes))

    def copy(self) -> Frame:
        """A writable copy; sources whose frames live in foreign memory override this with a cheaper one."""
        return Frame(tuple(plane.copy() for plane in self.planes), self.format, self.color, self.time)

    def to_rgb(self) -> NDArray[np.uint8]:
        """The picture as (H, W, 3) uint8 RGB, read with the frame's own matrix, range and siting; always a copy."""
        from .._kernels import Prepare

        height, width = self.size
        planar = np.empty((3, height, width), np.float32)
        Prepare(
            format=self.format,
            frame_size=self.size,
            region=(0.0, 0.0, float(height), float(width)),
            size=self.size,
            matrix=self.color.matrix,
            full_range=self.color.full_range,
            siting=self.color.siting,
            value_range=(0.0, 255.0),
            bgr=False,
        )(self.planes, planar)
        return np.ascontiguousarray(np.rint(planar).astype(np.uint8).transpose(1, 2, 0))


def kind_of(frame: Frame) -> tuple[PixelFormat, tuple[int, int], Color]:
    """What frames must have in common to share a run: format, size (height, width) and colour.

    Raises:
        ShapeError: it is not a frame.
    """
    if not isinstance(frame, Frame):
        raise not_a_frame(frame)
    return frame.format, frame.size, frame.color


def blank(format: PixelFormat, size: tuple[int, int], color: Color) -> Frame:
    """A grey frame of one kind, for warming up."""
    planes = tuple(np.full(shape, 128, np.uint8) for shape in plane_shapes(size, format))
    return Frame(planes, format, color)


def not_a_frame(item: object) -> ShapeError:
    """The error for a stream of something else, most likely of arrays."""
    return ShapeError(
        f"got a {type(item).__name__} in a stream, expected frames. Frame.from_rgb(array) makes one of an (H, W, 3) "
        "uint8 RGB array"
    )


def side_by_side(left: Frame, right: Frame) -> Frame:
    """Two frames of the same size and format in one, twice as wide; an odd last column of subsampled formats is cut."""
    if (left.size, left.format) != (right.size, right.format):
        raise ShapeError(
            f"got frames {left.size} {left.format} and {right.size} {right.format}, expected the same of both"
        )
    width = left.size[1] - (left.size[1] % 2 if left.format != "rgb24" else 0)
    widths = [width] + [width // 2] * (len(left.planes) - 1)
    if width == 0:
        raise ShapeError("a frame one pixel wide in a subsampled format cannot be shown beside another")
    planes = tuple(
        np.concatenate([a[:, :w], b[:, :w]], axis=1) for a, b, w in zip(left.planes, right.planes, widths, strict=True)
    )
    return Frame(planes, left.format, left.color, left.time)
