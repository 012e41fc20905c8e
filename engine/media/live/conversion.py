"""Frames as pictures of one size and pixel format: what sinks of a fixed format need."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from ...pixels.frame import Frame
from ..av_frames import FULL_RANGE, FramePool, VideoFrame, plane_views

_MATRICES = {"bt601": 5, "bt709": 1, "bt2020": 9}
"""libswscale's numbers (SWS_CS_*); the enumeration of PyAV 17, the newest for Python 3.10, lacks BT.2020."""
_TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9}


class Converter:
    """Frames of any size, format and colour as libav pictures of one.

    Args:
        format: libav's name of the pixel format.
        size: (height, width); None keeps each frame's own. A frame of another shape is scaled to it, edge to edge.
        matrix: of the pictures' Y'CbCr; None keeps each frame's own, BT.709 for RGB.
        full_range: whether their samples use all of 0 to 255; None keeps each frame's own.
    """

    def __init__(
        self,
        format: str,
        size: tuple[int, int] | None = None,
        *,
        matrix: str | None = None,
        full_range: bool | None = None,
    ) -> None:
        self.format = format
        self.size = size
        self._matrix = matrix
        self._full_range = full_range
        self._reformatter = VideoReformatter()
        self._pools: dict[tuple[int, int, str], FramePool] = {}

    def __call__(self, frame: Frame) -> av.VideoFrame:
        """The frame as a picture of the caller's own: sinks in other threads have the same frame."""
        shared = isinstance(frame, VideoFrame) and frame.picture is not None
        picture = frame.picture if isinstance(frame, VideoFrame) and frame.picture is not None else self._copied(frame)
        height, width = self.size or frame.size
        rgb = frame.format == "rgb24"
        matrix = self._matrix or frame.color.matrix
        source_full = rgb or frame.color.full_range
        target_rgb = self.format in ("rgb24", "bgr24")
        full = target_rgb or (frame.color.full_range and not rgb if self._full_range is None else self._full_range)
        plain = self.format.replace("yuvj", "yuv")
        same = (
            picture.format.name.replace("yuvj", "yuv") == plain
            and (picture.height, picture.width) == (height, width)
            and (rgb or (matrix == frame.color.matrix and full == source_full))
        )
        if same:
            picture = self._copied(frame) if shared else picture
        else:
            picture = self._reformatter.reformat(
                picture,
                width=width,
                height=height,
                format=plain,
                src_colorspace=_MATRICES[matrix if rgb else frame.color.matrix],
                dst_colorspace=_MATRICES[matrix],
                src_color_range=ColorRange.JPEG if source_full else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
                interpolation="FAST_BILINEAR",
                threads=1,
            )
        if not target_rgb:
            picture.colorspace = _TAGS[matrix]
            picture.color_range = FULL_RANGE if full else 1
        return picture

    def _copied(self, frame: Frame) -> av.VideoFrame:
        height, width = frame.size
        key = (width, height, str(frame.format))
        if key not in self._pools:
            self._pools = {key: FramePool(*key)}  # one size at a time: the one before hardly returns
        picture = self._pools[key].take()
        for target, plane in zip(plane_views(picture, frame.format), frame.planes, strict=True):
            np.copyto(target, plane)
        return picture
