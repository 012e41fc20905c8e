"""What is known of a video before its frames are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...pixels.frame import Color, PixelFormat


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a file."""

    index: int
    kind: str
    codec: str
    language: str = ""


class ColorTags(NamedTuple):
    """Colour description as libav numbers it (ITU-T H.273); 2 is unspecified, 0 for the range."""

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


@dataclass
class VideoInfo:
    """What is known of a video before its frames are read."""

    path: Path | None
    size: tuple[int, int]
    """(height, width) of the frames, upright."""
    format: PixelFormat
    """Pixel format of the frames."""
    time_base: Fraction
    rate: Fraction | None = None
    """Average frames per second; None if unknown."""
    stored_format: str = ""
    """Pixel format in the file, by libav's name."""
    codec: str = ""
    container: str = ""
    color: Color = field(default_factory=Color)
    tags: ColorTags = field(default_factory=ColorTags)
    pixel_aspect: Fraction = Fraction(1)
    """Width of a sample over its height."""
    rotation: int = 0
    """Counterclockwise degrees by which the stored pictures were turned to be upright."""
    duration: Fraction | None = None
    """Seconds of the part that is read, estimated."""
    frames: int | None = None
    """Number of frames of the part that is read, estimated."""
    trim: tuple[Fraction, Fraction | None] | None = None
    """Where the part that is read begins and ends, in the file's own times; None for the whole file."""
    stream_index: int = 0
    streams: list[StreamInfo] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a user should know: conversions, streams left out, oddities of the file."""


def stream_info(stream: Any) -> StreamInfo:
    context = getattr(stream, "codec_context", None)
    name = context.codec.canonical_name if context is not None else (stream.name or "unknown")
    return StreamInfo(stream.index, stream.type, name, stream.metadata.get("language", ""))
