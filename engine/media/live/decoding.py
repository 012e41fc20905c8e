"""Packets of a live input as frames: what cannot be decoded is skipped, sizes may change."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from types import TracebackType

import av
from av.video.reformatter import VideoReformatter

from ...errors import MediaError, reason
from ...pixels.frame import Color, PixelFormat, Siting
from ..av_frames import BEST, FULL_RANGE, FramePool, VideoFrame, plane_views
from ..base import ColorTags, FileInfo, FrameFormat, Notes
from ..file.source import MATRICES, NATIVE_FORMATS, target_format
from ..libav import fraction

_CENTER_SITED = {"mjpeg", "vp8"}


class LiveInput:
    """Frames of an open live input of libav, until it is lost. What cameras and network streams share.

    Args:
        container: the open input; closed here if it gives no picture.
        name: the input, as messages say it.
        time_base: of the frames' times; None: the stream's.

    Raises:
        MediaError: it has no video, or none that can be decoded.
    """

    file: FileInfo | None = None
    frames: int | None = None

    def __init__(self, container: av.container.InputContainer, name: str, time_base: Fraction | None = None) -> None:
        self.notes = Notes()
        self._name = name
        self._container = container
        self._in_use = threading.Lock()
        try:
            if not container.streams.video:
                raise MediaError(f"{name} has no video.")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # frame threads would each hold a picture back
            self._make = FrameMaker(stream.codec_context.codec.name)
            self._pictures = decoded(self._packets(container, stream), stream)
            first = self._next()
            if first is None:
                raise MediaError(f"{name} was opened, but no picture of it can be decoded.")
            self._first: VideoFrame | None = first
            rate = fraction(stream.average_rate) or fraction(stream.guessed_rate)
            self.format: FrameFormat = described(
                first, rate, time_base or fraction(stream.time_base) or Fraction(1, 90_000)
            )
        except BaseException:
            container.close()
            raise

    def _next(self) -> VideoFrame | None:
        try:
            with self._in_use:
                picture = next(self._pictures, None)
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{self._name} was lost ({reason(error)}).") from error
        if picture is None:
            return None
        time = None if picture.pts is None or not picture.time_base else picture.pts * picture.time_base
        return self._make(picture, self._time(time))

    def _packets(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.Packet[av.VideoStream]]:
        """Packets as they arrive."""
        return container.demux(stream)

    def _time(self, stamp: Fraction | None) -> Fraction | None:
        """The time of a frame that has just arrived with the given time stamp."""
        return stamp

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames until the input is lost."""
        first, self._first = self._first, None
        yield from chain(() if first is None else (first,), iter(self._next, None))

    def close(self) -> None:
        """Release the input."""
        if self._in_use.acquire(blocking=False):  # else a thread reads, perhaps for ever: libav would crash
            with contextlib.suppress(av.FFmpegError):
                self._container.close()
            self._in_use.release()

    def __enter__(self) -> LiveInput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def decoded(packets: Iterator[av.Packet[av.VideoStream]], stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Pictures of a stream; packets that cannot be decoded are skipped.

    A stream joined in the middle begins with pictures whose references are missing; on a lossy network they come at
    any time. That many in a row are an end, though: the stream is of another kind than it said.
    """
    failures = 0
    for packet in packets:
        try:
            pictures = stream.decode(packet)
        except av.error.InvalidDataError:
            failures += 1
            if failures > 1000:
                raise
            continue
        for picture in pictures:
            failures = 0
            yield picture
