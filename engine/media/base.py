"""What a source and a sink of frames are: the seams through which pictures enter and leave a session.

A source or a sink needs no base class: whatever has these members is one. Each kind has one row in
:data:`~ganlens.engine.media.uri.SOURCES` or :data:`~ganlens.engine.media.uri.SINKS`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol, get_args, runtime_checkable

from ..errors import OptionError, printable
from ..pixels.frame import Color, Frame, PixelFormat


class ColorTags(NamedTuple):
    """Colour description as libav numbers it (ITU-T H.273); 2 is unspecified, 0 for the range."""

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True)
class FrameFormat:
    """What all frames of a source have in common: everything that a sink needs to know before the first frame."""

    size: tuple[int, int]
    """(height, width), upright."""
    pixels: PixelFormat = "yuv420p"
    rate: Fraction | None = None
    """Average frames per second; None if unknown."""
    time_base: Fraction = Fraction(1, 1000)
    """The unit in which frame times are exact."""
    color: Color = field(default_factory=Color)
    tags: ColorTags = field(default_factory=ColorTags)
    pixel_aspect: Fraction = Fraction(1)
    """Width of a sample over its height."""


def parse_format(text: str, what: str) -> tuple[tuple[int, int], Fraction, PixelFormat]:
    """Size (height, width), rate and pixel format of ``WxH@RATE[:FORMAT]``, for example ``1280x720@30000/1001:nv12``.

    Args:
        what: what stands before the text, for the error.

    Raises:
        OptionError: it is written otherwise, or a number is out of range.
    """
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})@(\d{1,9}(?:[./]\d{1,9})?)(?::(\w+))?", text)
    try:
        assert found is not None
        width, height, rate, pixels = found.groups()
        size, exact = (int(height), int(width)), Fraction(rate)
        assert min(size) > 0 and exact > 0
    except (AssertionError, ZeroDivisionError):
        raise OptionError(
            f"{what}{text}: expected WxH@RATE or WxH@RATE:FORMAT, for example 1280x720@30:nv12."
        ) from None
    for known in get_args(PixelFormat):
        if (pixels or "yuv420p") == known:
            return size, exact, known
    raise OptionError(
        f"{what}{text}: unknown pixel format '{pixels}'; expected one of {', '.join(get_args(PixelFormat))}."
    )


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a file."""

    index: int
    kind: str
    codec: str
    language: str = ""


@dataclass(frozen=True)
class FileInfo:
    """What is known of the file behind a source: for reports, and for passing its other streams on."""

    path: Path
    container: str = ""
    codec: str = ""
    stored_format: str = ""
    """Pixel format in the file, by libav's name."""
    rotation: int = 0
    """Counterclockwise degrees by which the stored pictures were turned to be upright."""
    duration: Fraction | None = None
    """Seconds of the part that is read, estimated."""
    trim: tuple[Fraction, Fraction | None] | None = None
    """Where the part that is read begins and ends, in the file's own times; None for the whole file."""
    stream_index: int = 0
    streams: tuple[StreamInfo, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


class Notes:
    """What a user should know of a source or a sink: conversions, losses, oddities. Grows while frames flow.

    Safe to add to from one thread and to read from another. The same text is kept once.
    """

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Keep a note, unless it is there already."""
        with self._lock:
            self._texts.setdefault(printable(text))

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._texts))

    def __len__(self) -> int:
        return len(self._texts)


class FrameSource(Protocol):
    """Where frames come from: a file, a pipe, a camera, a stream, a program.

    Iterating gives frames in presentation order; each keeps its exact time in seconds. A file may be iterated again and
    then begins again; a live source goes on. Errors are :class:`~ganlens.engine.errors.MediaError`.
    """

    @property
    def format(self) -> FrameFormat:
        """What all frames have in common."""
        ...

    @property
    def live(self) -> bool:
        """Whether frames that are not read in time are lost: only the newest one matters."""
        ...

    @property
    def file(self) -> FileInfo | None:
        """The file behind it; None where there is none."""
        ...

    @property
    def frames(self) -> int | None:
        """Number of frames, estimated; None if unknown or endless."""
        ...

    @property
    def notes(self) -> Notes:
        """What a user should know."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Free what it holds; frames already given stay valid. A second call does nothing."""
        ...


@runtime_checkable
class DeviceSource(Protocol):
    """A source that can leave its frames where a GPU decoded them."""

    def keep_on_device(self, device: int) -> bool:
        """Give frames in the memory of this GPU (:class:`~.av_frames.DeviceFrame`) from now on, if that can be.

        Returns:
            Whether it can: the frames are decoded there, in a form that the kernels read.
        """
        ...


class FrameSink(Protocol):
    """Where frames go: a file, a pipe, a virtual camera, a page, a program. Frames come in order from one thread."""

    @property
    def notes(self) -> Notes:
        """What a user should know."""
        ...

    def write(self, frame: Frame) -> None:
        """Take one frame; the sink does not keep it beyond the call, or keeps a copy."""
        ...

    def close(self, *, complete: bool = True) -> None:
        """Finish: what was written is whole and usable. ``complete=False``: the source was cut short."""
        ...

    def abort(self) -> None:
        """Remove what cannot be finished. After :meth:`close` it does nothing."""
        ...
