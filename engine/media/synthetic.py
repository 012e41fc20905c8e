"""A source and a sink without files, for tests, measurements and trying things out: a moving picture, and nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from ..errors import OptionError, ShapeError
from ..pixels.frame import Color, Frame
from .av_frames import BEST, FramePool, VideoFrame, plane_views, rgb_to_yuv
from .base import ColorTags, FileInfo, FrameFormat, FrameSource, Notes, parse_format

USUAL = "1280x720@30"
SECONDS = 10
SPEED = 4
"""Pixels by which the picture moves to the left from frame to frame."""
BITS = 24
"""Bits of the frame number; it wraps to 0 after 2^24 frames."""


class TestSource:
    """A moving picture: coloured discs over a gradient, and each frame's number as a row of squares at the top left.

    Frame ``n`` has the time ``n / rate`` exactly and always the same pixels. :func:`frame_number` reads the number.

    Args:
        uri: ``test:[WxH@RATE[:FORMAT]][,frames=N][,seconds=S][,live]``: by default 1280x720@30:yuv420p for 10 seconds;
            ``seconds=inf`` never ends. ``live`` gives each frame at its time by the clock, as a camera does, and skips
            those whose time has passed.

    Raises:
        OptionError: the address is written otherwise.
    """

    __test__ = False  # pytest takes classes of this name for tests
    file = None

    def __init__(self, uri: str = "test:") -> None:
        shape, *settings = uri.removeprefix("test:").split(",")
        size, rate, pixels = parse_format(shape or USUAL, "test:")
        values = {name: value for name, _, value in (setting.partition("=") for setting in settings)}
        self.live = values.pop("live", None) is not None
        self.frames = _count(uri, values, rate)
        color, tags = Color(), ColorTags()
        if pixels != "rgb24":
            large = size[0] >= 720
            color, tags = Color("bt709" if large else "bt601"), ColorTags(*((1, 1, 1, 1) if large else (6, 1, 6, 6)))
        self.format = FrameFormat(size, pixels, rate, time_base=1 / rate, color=color, tags=tags)
        self.notes = Notes()
        self._panorama = self._draw()
        self._pool = FramePool(size[1], size[0], pixels)

    def _draw(self) -> tuple[NDArray[np.uint8], ...]:
        """Planes of a picture twice as wide as the frames, whose halves are the same."""
        height, width = self.format.size
        width += width % 2
        sky = np.empty((height, width, 3), np.uint8)
        y, x = np.arange(height), np.arange(width)
        sky[:] = np.stack([100 + 0 * y, 170 - 40 * y // height, 220 - 150 * y // height], -1)[:, None]
        random = np.random.default_rng(5)
        for _ in range(24):
            row, column, radius = random.random(3) * (height, width, min(height, width) / 6)
            around = np.abs(x - column)
            across = np.minimum(around, width - around) ** 2
            rows = slice(max(0, int(row - radius)), int(row + radius) + 1)
            inside = (y[rows, None] - row) ** 2 + across < radius**2
            sky[rows][inside] = random.integers(30, 226, 3)
        rgb = FramePool(2 * width, height, "rgb24").take()
        np.copyto(plane_views(rgb, "rgb24")[0], np.concatenate([sky, sky], 1))
        pixels = self.format.pixels
        if pixels != "rgb24":
            matrix = Colorspace.ITU709 if self.format.color.matrix == "bt709" else Colorspace.ITU601
            planar = rgb_to_yuv(VideoReformatter(), rgb, "yuv420p", matrix=matrix)
            rgb = VideoReformatter().reformat(planar, format=pixels, interpolation=BEST, threads=1)
        return tuple(plane.copy() for plane in plane_views(rgb, pixels))

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames from number 0."""
        format, rate = self.format, self.format.rate
        assert rate is not None
        begin = time.monotonic()
        number = 0
        while self.frames is None or number < self.frames:
            if self.live:
                ahead = float(number / rate) - (time.monotonic() - begin)
                if ahead > 0:
                    time.sleep(ahead)
                elif -ahead * rate >= 1:
                    number += int(-ahead * rate)
                    continue
            picture = self._pool.take()
            planes = plane_views(picture, format.pixels)
            self._paint(planes, number)
            yield VideoFrame(planes, format.pixels, format.color, number / rate, picture, self._pool)
            del picture, planes  # or the pool would see the picture in use during the next one
            number += 1

    def _paint(self, planes: tuple[NDArray[np.uint8], ...], number: int) -> None:
        width = self.format.size[1] + self.format.size[1] % 2
        for index, (plane, panorama) in enumerate(zip(planes, self._panorama, strict=True)):
            shift = number * SPEED % width // (2 if index else 1)
            np.copyto(plane, panorama[:, shift : shift + plane.shape[1]])
        side = _side(self.format.size)
        for bit in range(BITS):
            square = planes[0][:side, bit * side : (bit + 1) * side]
            square[...] = 235 if number >> bit & 1 else 16

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> TestSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def frame_number(frame: Frame) -> int:
    """The number in a frame of :class:`TestSource`, also after a filter that keeps dark from bright.

    Raises:
        ShapeError: the frame is too small to have one.
    """
    side = _side(frame.size)
    if not side:
        raise ShapeError(f"a frame of (height, width) {frame.size} has no number: expected {BITS} columns or more")
    squares = (frame.planes[0][:side, bit * side : (bit + 1) * side] for bit in range(BITS))
    return sum(int(square.mean() > 128) << bit for bit, square in enumerate(squares))


def _side(size: tuple[int, int]) -> int:
    """Pixels of a square of the number's row."""
    return min(16, size[1] // BITS, size[0])


def _count(uri: str, values: dict[str, str], rate: Fraction) -> int | None:
    """How many frames ``frames=`` or ``seconds=`` ask for; None without end."""
    try:
        if "frames" in values:
            count = int(values.pop("frames"))
        else:
            seconds = values.pop("seconds", str(SECONDS))
            if seconds == "inf" and not values:
                return None
            count = round(Fraction(seconds) * rate)
        if values or count < 1:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise OptionError(
            f"{uri}: expected test:WxH@RATE:FORMAT and, after commas, frames=N or seconds=S (above 0) and live; for "
            "example test:640x480@30,frames=90."
        ) from None
    return count


class NullSink:
    """Takes frames and writes nothing.

    Args:
        uri: ``null:``.
        format: of the frames.
        origin: unused.
        keep: whether ``kept`` gets a copy of each frame.
    """

    def __init__(
        self,
        uri: str,
        format: FrameFormat,
        *,
        origin: FrameSource | FileInfo | None = None,
        keep: bool = False,
    ) -> None:
        if uri.removeprefix("null:"):
            raise OptionError(f"{uri}: expected null: alone.")
        self.format = format
        self.notes = Notes()
        self.frames = 0
        """How many were written."""
        self.kept: list[Frame] = []
        self.complete: bool | None = None
        """The argument of :meth:`close`; None before."""
        self._keep = keep

    def write(self, frame: Frame) -> None:
        """Count a frame."""
        if frame.size != self.format.size:
            raise ShapeError(f"got a frame of (height, width) {frame.size}, expected {self.format.size}")
        self.frames += 1
        if self._keep:
            self.kept.append(frame.copy())

    def close(self, *, complete: bool = True) -> None:
        """Nothing is open."""
        self.complete = complete

    def abort(self) -> None:
        """Nothing was written."""

    def __enter__(self) -> NullSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
