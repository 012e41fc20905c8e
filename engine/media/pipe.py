"""Uncompressed video through pipes: YUV4MPEG2, which describes itself, and bare frames."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO, get_args

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..errors import MediaError, OptionError, reason
from ..pixels.frame import Color, Frame, PixelFormat, Siting
from .av_frames import FULL_RANGE, FramePool, VideoFrame, plane_views, rgb_to_yuv
from .base import FileInfo, FrameFormat, FrameSource, Notes
from .limits import LONGEST_SIDE

_MAGIC = b"YUV4MPEG2"
_SITINGS: dict[str, Siting] = {"420": "center", "420jpeg": "center", "420mpeg2": "left", "420paldv": "topleft"}
_NAMES: dict[Siting, str] = {"center": "420jpeg", "left": "420mpeg2", "topleft": "420paldv"}


class RawSource:
    """Frames of a pipe. YUV4MPEG2 (4:2:0, 8 bit) is recognised; bare frames need ``size`` and ``rate``.

    Args:
        file: a binary file, read from front to back.
        size: (height, width) of bare frames.
        rate: frames per second of bare frames.
        format: pixel format of bare frames; rows are not padded.

    Raises:
        MediaError: the stream is of another kind, or ends within a frame.
    """

    live = False
    file = None
    frames: int | None = None

    def __init__(
        self,
        file: BinaryIO,
        *,
        size: tuple[int, int] | None = None,
        rate: float | Fraction | None = None,
        format: PixelFormat = "yuv420p",
    ) -> None:
        if format not in get_args(PixelFormat):
            raise OptionError(f"Unknown pixel format '{format}'; expected one of {', '.join(get_args(PixelFormat))}.")
        self.notes: Notes = Notes()
        self._file = file
        self._ahead = b""
        head = self._ahead = self._read(len(_MAGIC))
        self._framed = head == _MAGIC
        if self._framed:
            self.format: FrameFormat = self._header()
        elif not head:
            raise MediaError("The piped video is empty.")
        elif size is None or rate is None:
            raise MediaError(
                "The piped video is not YUV4MPEG2. Pipe it as that (ffmpeg … -f yuv4mpegpipe -pix_fmt yuv420p -), or "
                "give the size and the rate of its bare frames (--raw WxH@RATE)."
            )
        else:
            exact = Fraction(str(rate))
            self.format = _described(size, exact, format, Color("bt601" if size[0] < 720 else "bt709"), Fraction(1))
        height, width = self.format.size
        self._pool = FramePool(width, height, self.format.pixels)

    def _header(self) -> FrameFormat:
        line = bytearray(self._read(len(_MAGIC)))
        while not line.endswith(b"\n"):
            byte = self._read(1)
            if not byte or len(line) > 1000:
                raise MediaError("The YUV4MPEG2 header of the piped video does not end.")
            line += byte
        fields = line.decode("latin-1").split()
        values = {field[0]: field[1:] for field in fields if field[0] != "X"}
        try:
            size = int(values["H"]), int(values["W"])
            rate = _ratio(values.get("F", "25:1"))
            aspect = _ratio(values.get("A", "1:1").replace("0:0", "1:1"))
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise MediaError(f"The YUV4MPEG2 header of the piped video is damaged: {line[:80]!r}.") from error
        if not 1 <= min(size) <= max(size) <= LONGEST_SIDE or rate <= 0 or aspect <= 0:
            raise MediaError(f"The YUV4MPEG2 header of the piped video is damaged: {line[:80]!r}.")
        kind = values.get("C", "420")
        if kind not in _SITINGS:
            raise MediaError(
                f"The piped video has YUV4MPEG2 pictures of kind C{kind}; expected 8-bit 4:2:0 "
                f"({', '.join('C' + name for name in _SITINGS)}). With ffmpeg: -pix_fmt yuv420p."
            )
        full = "XCOLORRANGE=FULL" in fields
        color = Color("bt601" if size[0] < 720 else "bt709", full, _SITINGS[kind])
        return _described(size, rate, "yuv420p", color, aspect)

    def _read(self, count: int) -> bytes:
        """Up to ``count`` bytes; fewer only at the end of the stream."""
        pieces = [self._ahead[:count]] if self._ahead else []
        self._ahead = self._ahead[count:]
        count -= sum(map(len, pieces))
        while count:
            try:
                piece = self._file.read(count)
            except OSError as error:
                raise MediaError(f"The piped video cannot be read ({reason(error)}).") from error
            if not piece:
                break
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames; a pipe can be read once."""
        pixels, color, rate = self.format.pixels, self.format.color, self.format.rate
        assert rate is not None
        number = 0
        while True:
            if self._framed:
                line = self._file.readline(200)
                if not line:
                    return
                if not line.startswith(b"FRAME") or not line.endswith(b"\n"):
                    raise self._broken(number, f"got {line[:20]!r}, expected a frame")
            picture = self._pool.take()
            planes = plane_views(picture, pixels)
            count = sum(plane.size for plane in planes)
            data = self._read(count)
            if not data and not self._framed:
                return
            if len(data) < count:
                raise self._broken(number, f"it ends after {len(data)} of {count} bytes")
            at = 0
            for plane in planes:
                piece: NDArray[np.uint8] = np.frombuffer(data, np.uint8, plane.size, at)
                np.copyto(plane, piece.reshape(plane.shape))
                at += plane.size
            picture.color_range = FULL_RANGE if color.full_range else 0
            yield VideoFrame(planes, pixels, color, number / rate, picture, self._pool)
            del picture, planes, plane, data  # or the pool would see the picture in use during the next one
            number += 1

    @staticmethod
    def _broken(number: int, what: str) -> MediaError:
        problem = MediaError(f"The piped video is damaged at frame {number + 1}: {what}.")
        problem.frame_number = number + 1
        return problem

    def close(self) -> None:
        """The pipe belongs to the caller and stays open."""

    def __enter__(self) -> RawSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawSink:
    """Writes frames to a pipe as YUV4MPEG2 (4:2:0, 8 bit), which has one rate: ``notes`` says if the frames vary.

    Args:
        file: a binary file, written from front to back.
        format: of the frames: size, rate, range and siting.
        origin: unused: a pipe carries nothing but the frames.
    """

    def __init__(self, file: BinaryIO, format: FrameFormat, *, origin: FrameSource | FileInfo | None = None) -> None:
        self.notes: Notes = Notes()
        self.frames: int = 0
        self._file = file
        self._size = format.size
        self._rate = format.rate or Fraction(25)
        self._first: Fraction | None = None
        self._reformatter = VideoReformatter()
        color = Color() if format.pixels == "rgb24" else format.color
        height, width = self._size
        self._write(
            (
                f"YUV4MPEG2 W{width} H{height} F{self._rate.numerator}:{self._rate.denominator} Ip "
                f"A{format.pixel_aspect.numerator}:{format.pixel_aspect.denominator} C{_NAMES[color.siting]} "
                f"XCOLORRANGE={'FULL' if color.full_range else 'LIMITED'}\n"
            ).encode()
        )

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        if frame.size != self._size:
            raise MediaError(f"got a frame of (height, width) {frame.size}; the piped video is {self._size}.")
        if frame.time is not None:
            self._first = frame.time if self._first is None else self._first
            if abs(frame.time - self._first - self.frames / self._rate) > 1 / self._rate and not self.notes:
                self.notes.add(f"the frame rate varies; piped video plays at {float(self._rate):g} frames/s throughout")
        self._write(b"FRAME\n")
        for plane in self._planes(frame):
            self._write(np.ascontiguousarray(plane).data)
        self.frames += 1

    def _planes(self, frame: Frame) -> tuple[NDArray[np.uint8], ...]:
        if frame.format == "yuv420p":
            return frame.planes
        if frame.format == "nv12":
            luma, chroma = frame.planes
            return luma, chroma[..., 0], chroma[..., 1]
        height, width = frame.size
        picture = FramePool(width, height, "rgb24").take()
        np.copyto(plane_views(picture, "rgb24")[0], frame.planes[0])
        return plane_views(rgb_to_yuv(self._reformatter, picture, "yuv420p"), "yuv420p")

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except BrokenPipeError as error:
            raise MediaError("The program that reads the piped video has stopped reading.") from error
        except OSError as error:
            raise MediaError(f"The piped video cannot be written ({reason(error)}).") from error

    def close(self, *, complete: bool = True) -> None:
        """Flush; the pipe belongs to the caller and stays open."""
        try:
            self._file.flush()
        except OSError as error:
            raise MediaError(f"The piped video cannot be written ({reason(error)}).") from error

    def abort(self) -> None:
        """Nothing: what was written to a pipe cannot be taken back."""

    def __enter__(self) -> RawSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()


def _ratio(text: str) -> Fraction:
    """``N:D`` of plain digits: exponents would allow numbers too large to compute with."""
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if found is None:
        raise ValueError(text)
    return Fraction(int(found[1]), int(found[2]))


def _described(
    size: tuple[int, int], rate: Fraction, pixels: PixelFormat, color: Color, aspect: Fraction
) -> FrameFormat:
    if not 1 <= min(size) <= max(size) <= LONGEST_SIDE or not 0 < rate < 10**9 or rate.denominator > 10**9:
        raise OptionError(f"got size {size} and rate {rate}, expected (height, width) and a rate above 0")
    return FrameFormat(size, pixels, rate, time_base=1 / rate, color=color, pixel_aspect=aspect)


def open_standard_input(
    uri: str = "-",
    *,
    size: tuple[int, int] | None = None,
    rate: float | Fraction | None = None,
    format: PixelFormat = "yuv420p",
) -> RawSource:
    """The video piped to this program; arguments as of :class:`RawSource`."""
    if sys.stdin is None:
        raise MediaError("Standard input is closed; there is no piped video.")
    return RawSource(sys.stdin.buffer, size=size, rate=rate, format=format)


def open_standard_output(uri: str, format: FrameFormat, *, origin: FrameSource | FileInfo | None = None) -> RawSink:
    """The pipe behind this program."""
    if sys.stdout is None:
        raise MediaError("Standard output is closed; the video cannot be piped.")
    return RawSink(sys.stdout.buffer, format, origin=origin)
