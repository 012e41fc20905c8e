"""Pictures of libav as frames: views of their planes, a pool to use them again, and turning them upright."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from ..pixels.frame import Color, Frame, PixelFormat

Planes = tuple[NDArray[np.uint8], ...]

FULL_RANGE = 2
"""libav's number for samples that use all of 0 to 255."""
BEST = Interpolation.BICUBIC
if hasattr(
    Interpolation, "ACCURATE_RND"
):  # PyAV 18; before (Python 3.10) the exactness of swscale could not be asked for
    BEST = BEST | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""How libswscale is asked to convert pixel formats."""


def _holders(items: list[Any], index: int) -> int:
    """How many hold an item, counting the list and this call."""
    return sys.getrefcount(items[index])


_ALONE = _holders([object()], 0)


class FramePool:
    """Pictures that are used again, so that a stream allocates none per frame.

    A fresh 1080p picture costs a millisecond of page faults, a used one nothing. A picture is free when the pool alone
    refers to it: each plane view refers to its picture, so a view that is still referenced keeps its pixels.
    """

    def __init__(self, width: int, height: int, format: str, limit: int = 16) -> None:
        self._shape = (width, height, format)
        self._limit = limit
        self._pictures: list[av.VideoFrame] = []

    def take(self) -> av.VideoFrame:
        """A writable picture with undefined pixels, no time and no tags."""
        for index in range(len(self._pictures)):
            if _holders(self._pictures, index) == _ALONE:
                picture = self._pictures[index]
                picture.make_writable()  # a new buffer, should an encoder still hold the old one
                picture.pts, picture.duration = None, 0
                return picture
        picture = av.VideoFrame(*self._shape)
        if len(self._pictures) < self._limit:
            self._pictures.append(picture)
        return picture


SHARES_MEMORY = tuple(int(part) for part in av.__version__.split(".")[:2]) >= (18, 1)
"""Whether this PyAV leaves pictures in a GPU's memory, encodes them there, and takes planar ones over memory of others.
Versions before (on Python 3.10) have the functions, but not for encoders, nor for all pixel formats."""
ADOPTED = ("yuv420p", "nv12") if SHARES_MEMORY else ()
"""Pixel formats of which libav takes a picture over memory of others."""


@dataclass(frozen=True, eq=False)
class VideoFrame(Frame):
    """A frame whose planes are views of a libav picture. Planes of a decoded frame are read-only: see :meth:`copy`."""

    picture: av.VideoFrame | None = None
    pool: FramePool | None = None

    @property
    def adoptable(self) -> bool:
        """See :class:`~..pixels.frame.Frame`."""
        return self.picture is not None and self.format == self.picture.format.name and self.format in ADOPTED

    def over(self, planes: Sequence[Any]) -> VideoFrame:
        """See :class:`~..pixels.frame.Frame`."""
        assert self.picture is not None
        picture = av.VideoFrame.from_dlpack(tuple(planes), self.format)
        copy_tags(self.picture, picture)
        picture.duration = self.picture.duration
        return replace(self, planes=tuple(planes), picture=picture)

    def copy(self) -> VideoFrame:
        """A frame with writable planes, which :class:`VideoSink` encodes without another copy."""
        assert self.picture is not None and self.pool is not None
        picture = self.pool.take()
        picture.duration = self.picture.duration
        copy_tags(self.picture, picture)
        planes = plane_views(picture, self.format)
        for target, plane in zip(planes, self.planes, strict=True):
            np.copyto(target, plane)
        return replace(self, planes=planes, picture=picture)


class DeviceFrame(VideoFrame):
    """A frame whose picture is in a GPU's memory, in the primary context that all libraries share.

    ``planes`` and ``picture`` are a copy in host memory, made when first asked for; who can read the GPU's memory takes
    ``device_picture``.

    Args:
        picture: of the format "cuda" over NV12, upright, of even size, and finished: there is no wait for its content.
        pool: for :meth:`copy`.
    """

    device_picture: av.VideoFrame
    _host: av.VideoFrame | None

    def __init__(
        self, picture: av.VideoFrame, color: Color, time: Fraction | None, pool: FramePool | None = None
    ) -> None:
        attributes = {
            "device_picture": picture,
            "format": "nv12",
            "color": color,
            "time": time,
            "pool": pool or FramePool(picture.width, picture.height, "nv12"),
            "_host": None,
        }
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    @property
    def picture(self) -> av.VideoFrame:
        """The picture in host memory."""
        host = self._host
        if host is None:
            host = downloaded(self.device_picture)
            object.__setattr__(self, "_host", host)
        return host

    @property
    def planes(self) -> Planes:
        """The planes in host memory."""
        return plane_views(self.picture, "nv12", writable=False)

    @property
    def device_planes(self) -> Sequence[object]:
        """See :class:`~..pixels.frame.Frame`."""
        return self.device_picture.planes

    @property
    def adoptable(self) -> bool:
        """See :class:`~..pixels.frame.Frame`."""
        return False

    def over(self, planes: Sequence[Any]) -> DeviceFrame:
        """See :class:`~..pixels.frame.Frame`. NVENC wants the chroma right below the luma, with rows as long."""
        _, device = planes[0].__dlpack_device__()
        picture = av.VideoFrame.from_dlpack(tuple(planes), self.format, cuda_context=_cuda_context(device))
        copy_tags(self.device_picture, picture)
        picture.duration = self.device_picture.duration
        return DeviceFrame(picture, self.color, self.time, self.pool)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.device_picture.height, self.device_picture.width

    def copy(self) -> VideoFrame:
        """A frame in host memory with writable planes."""
        return VideoFrame(self.planes, self.format, self.color, self.time, self.picture, self.pool).copy()


@functools.cache
def _cuda_context(device: int) -> Any:
    """libav's description of a GPU; one for all pictures, because it would open the GPU anew for each."""
    from av.video.frame import CudaContext

    return CudaContext(device, primary_ctx=True)


def on_gpu(picture: av.VideoFrame) -> bool:
    """Whether a picture is in a GPU's memory."""
    return picture.format.name == "cuda"


def stored_format(picture: av.VideoFrame) -> str:
    """libav's name of a picture's samples, wherever they are."""
    return (picture.sw_format or picture.format).name if on_gpu(picture) else picture.format.name


def downloaded(picture: av.VideoFrame) -> av.VideoFrame:
    """The picture in host memory, in the pixel format that it has; itself if it is there."""
    if not on_gpu(picture):
        return picture
    host = picture.reformat(format=stored_format(picture))
    host.pts, host.duration = picture.pts, picture.duration
    if picture.time_base:
        host.time_base = picture.time_base
    return host


def plane_views(picture: av.VideoFrame, format: PixelFormat, *, writable: bool = True) -> Planes:
    """Views of a picture's planes, without padding; the views keep the picture alive."""
    views = []
    for index, plane in enumerate(picture.planes):
        samples = 3 if format == "rgb24" else 2 if format == "nv12" and index == 1 else 1
        shape = (plane.height, plane.width) if samples == 1 else (plane.height, plane.width, samples)
        strides = (abs(plane.line_size), 1) if samples == 1 else (abs(plane.line_size), samples, 1)
        buffer: Any = plane
        view: NDArray[np.uint8] = np.ndarray(shape, np.uint8, buffer, strides=strides)
        if plane.line_size < 0:  # stored bottom up; PyAV's buffer starts at the lowest address
            view = view[::-1]
        view.flags.writeable = writable
        views.append(view)
    return tuple(views)


def copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    target.colorspace, target.color_range = source.colorspace, source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


def rgb_to_yuv(
    reformatter: VideoReformatter,
    picture: av.VideoFrame,
    format: str,
    *,
    matrix: Colorspace = Colorspace.ITU709,
    full_range: bool = False,
) -> av.VideoFrame:
    """An RGB picture as Y'CbCr."""
    return reformatter.reformat(
        picture,
        format=format,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        interpolation=BEST,
        threads=1,
    )


class Orientation(NamedTuple):
    """How stored pictures must be turned to be upright: transpose first, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """The orientation that a decoded picture's display matrix asks for; upright if it has none."""
        try:
            # Not picture.side_data, which keeps the list in the picture: the circle would hold the picture, and with it
            # all pictures of the decoder's pool, until the garbage collector runs.
            side_data = cast(Any, SideDataContainer)(picture)
            matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)
        except KeyError:
            return cls()
        except ValueError:  # PyAV 18 cannot list side data of kinds that it does not know (EXIF)
            return cls.rotated(picture.rotation)
        (a, b), (c, d) = (int(n) for n in matrix[0, :2]), (int(n) for n in matrix[1, :2])
        if abs(b) > abs(a):  # x' = c y, y' = b x
            return cls(True, b < 0, c < 0)
        return cls(False, d < 0, a < 0)  # x' = a x, y' = d y

    @classmethod
    def rotated(cls, degrees: int) -> Orientation:
        """The orientation of a rotation by ``degrees`` counterclockwise, to the nearest quarter turn."""
        return (cls(), cls(True, True, False), cls(False, True, True), cls(True, False, True))[round(degrees / 90) % 4]

    @property
    def degrees(self) -> int:
        """Counterclockwise rotation, leaving mirroring aside."""
        if self.transpose:
            return 90 if self.flip_rows else 270
        return 180 if self.flip_rows else 0

    def apply(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright view of a plane (H, W) or (H, W, C), without a copy."""
        if self.transpose:
            plane = plane.swapaxes(0, 1)
        return plane[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
