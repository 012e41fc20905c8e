"""Packets of a live input as frames: what cannot be decoded is skipped, sizes may change."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.video.reformatter import VideoReformatter

from ...pixels.frame import Color, PixelFormat, Siting
from ..av_frames import BEST, FULL_RANGE, FramePool, VideoFrame, plane_views
from ..base import ColorTags, FrameFormat
from ..file.source import MATRICES, NATIVE_FORMATS, target_format

_CENTER_SITED = {"mjpeg", "vp8"}


class FrameMaker:
    """Pictures of libav as frames in a format that the kernels read; other formats are converted once.

    Args:
        codec: libav's name of the codec, which tells where chroma samples are.
    """

    def __init__(self, codec: str = "") -> None:
        self._siting: Siting = "center" if codec in _CENTER_SITED else "left"
        self._reformatter = VideoReformatter()
        self._pools: dict[tuple[int, int, str], FramePool] = {}

    def __call__(self, picture: av.VideoFrame, time: Fraction | None) -> VideoFrame:
        """The picture as a frame; its planes are read-only views where its format is native."""
        target: PixelFormat = target_format(picture)
        if NATIVE_FORMATS.get(picture.format.name) != target:
            full = picture.format.name.startswith("yuvj")
            picture = self._reformatter.reformat(picture, format=target, interpolation=BEST, threads=1)
            if full:
                picture.color_range = FULL_RANGE
        key = (picture.width, picture.height, target)
        pool = self._pools.get(key)
        if pool is None:
            self._pools = {key: FramePool(*key)}  # one size at a time: the one before never returns
            pool = self._pools[key]
        full = picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")
        matrix = MATRICES.get(picture.colorspace) or ("bt601" if picture.height < 720 else "bt709")
        color = Color() if target == "rgb24" else Color(matrix, full, self._siting)
        return VideoFrame(plane_views(picture, target, writable=False), target, color, time, picture, pool)


def described(frame: VideoFrame, rate: Fraction | None, time_base: Fraction) -> FrameFormat:
    """The format of a live source by its first frame."""
    picture = frame.picture
    assert picture is not None
    tags = ColorTags(picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
    return FrameFormat(frame.size, frame.format, rate, time_base, frame.color, tags)


def decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Pictures of a stream; packets that cannot be decoded are skipped.

    A stream joined in the middle begins with pictures whose references are missing; on a lossy network they come at
    any time. That many in a row are an end, though: the stream is of another kind than it said.
    """
    failures = 0
    for packet in container.demux(stream):
        try:
            pictures = packet.decode()
        except av.error.InvalidDataError:
            failures += 1
            if failures > 1000:
                raise
            continue
        for picture in pictures:
            failures = 0
            yield picture
