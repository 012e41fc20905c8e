"""Video files: decoded into frames in their own pixel format, and encoded again with everything else kept.

The only module that imports PyAV. Times are exact fractions, never frame rates: a video of variable rate stays one.

    with VideoSource("in.mp4") as source, VideoSink("out.mp4", source.info) as sink:
        for frame in source:
            sink.write(frame)

What is kept: every frame and its time, every other stream's packets byte for byte (audio, subtitles, fonts, covers),
the colour description, the sample aspect ratio, chapters, titles and languages. What changes is said in ``notes``.

Known limits: Matroska and WebM store times in milliseconds; the siting of chroma samples is not exposed by PyAV and is
taken from the codec's default; interlaced pictures are handled as whole frames.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import av
import av.filter
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.stream import Discard, Disposition
from av.video.reformatter import ColorTrc, Interpolation
from numpy.typing import NDArray

from .errors import MediaError, OptionError, did_you_mean
from .frame import Color, Frame, Matrix, PixelFormat, Siting

Planes = tuple[NDArray[np.uint8], ...]

NATIVE_FORMATS: dict[str, PixelFormat] = {
    "yuv420p": "yuv420p",
    "yuvj420p": "yuv420p",
    "nv12": "nv12",
    "rgb24": "rgb24",
}
_MATRICES: dict[int, Matrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
_CENTER_SITED = {"mjpeg", "mpeg1video", "theora", "vp8", "webp"}
_HDR = {int(ColorTrc.SMPTE2084): "PQ (HDR10)", int(ColorTrc.ARIB_STD_B67): "HLG"}
_FULL_RANGE = 2
_BEST = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_EVEN_FREE = "yuv444p"  # the format for odd sizes where an encoder wants even ones in 4:2:0


# ---------------------------------------------------------------------------------------------------------------------
# Frames


class FramePool:
    """Pictures that are used again, so that a stream allocates none per frame.

    A fresh 1080p picture costs a millisecond of page faults, a used one nothing. A picture is free when the pool alone
    refers to it: each plane view refers to its picture, so a view that somebody kept also keeps its pixels.
    """

    def __init__(self, width: int, height: int, format: str, limit: int = 16) -> None:
        self._shape = (width, height, format)
        self._limit = limit
        self._pictures: list[av.VideoFrame] = []

    def take(self) -> av.VideoFrame:
        """A writable picture with undefined pixels, no time and no tags."""
        for picture in self._pictures:
            if sys.getrefcount(picture) == 3:  # the list, the loop variable and the argument of getrefcount
                picture.make_writable()  # a new buffer, should an encoder still hold the old one
                picture.pts, picture.duration = None, 0
                return picture
        picture = av.VideoFrame(*self._shape)
        if len(self._pictures) < self._limit:
            self._pictures.append(picture)
        return picture


@dataclass(frozen=True, eq=False)
class VideoFrame(Frame):
    """A frame whose planes are views of a libav picture. Planes of a decoded frame are read-only: see :meth:`copy`."""

    picture: av.VideoFrame | None = None
    pool: FramePool | None = None

    def copy(self) -> VideoFrame:
        """A frame with writable planes, which :class:`VideoSink` encodes without another copy."""
        assert self.picture is not None and self.pool is not None
        picture = self.pool.take()
        picture.duration = self.picture.duration
        _copy_tags(self.picture, picture)
        planes = _planes(picture, self.format)
        for target, plane in zip(planes, self.planes, strict=True):
            np.copyto(target, plane)
        return replace(self, planes=planes, picture=picture)


def _planes(picture: av.VideoFrame, format: PixelFormat, *, writable: bool = True) -> Planes:
    """Views of a picture's planes, without padding; the views keep the picture alive."""
    views = []
    for index, plane in enumerate(picture.planes):
        samples = 3 if format == "rgb24" else 2 if format == "nv12" and index == 1 else 1
        shape = (plane.height, plane.width) if samples == 1 else (plane.height, plane.width, samples)
        strides = (abs(plane.line_size), 1) if samples == 1 else (abs(plane.line_size), samples, 1)
        view: NDArray[np.uint8] = np.ndarray(shape, np.uint8, plane, strides=strides)  # type: ignore[call-overload]
        if plane.line_size < 0:  # stored bottom up; PyAV's buffer starts at the lowest address
            view = view[::-1]
        view.flags.writeable = writable
        views.append(view)
    return tuple(views)


def _copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    target.colorspace, target.color_range = source.colorspace, source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


class Orientation(NamedTuple):
    """How stored pictures must be turned to be upright: transpose first, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """The orientation that a decoded picture's display matrix asks for; upright if it has none."""
        try:
            matrix = np.frombuffer(bytes(picture.side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)
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


# ---------------------------------------------------------------------------------------------------------------------
# Description


class StreamInfo(NamedTuple):
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


# ---------------------------------------------------------------------------------------------------------------------
# Reading


class VideoSource:
    """The frames of a video file, upright and in presentation order.

    Frames of ``yuv420p``, ``nv12`` and ``rgb24`` come as views of the decoder's own memory; other pixel formats are
    converted once (to ``yuv420p``, or ``rgb24`` for RGB, grey and palette pictures), which ``info.notes`` says.

    Args:
        path: the file.
        start: seconds after the first frame at which to begin; the first frame is the first that begins there or later.
        duration: seconds to read from there; None reads to the end.
        threads: decoder threads; 0 takes one per core.
        hdr: "error" refuses PQ and HLG; "tonemap" converts them to standard BT.709.

    Raises:
        MediaError: the file cannot be read as a video, or, while iterating, is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: float | None = None,
        duration: float | None = None,
        threads: int = 1,
        hdr: Literal["error", "tonemap"] = "error",
    ) -> None:
        if start is not None and start < 0:
            raise OptionError(f"start is {start} s; expected 0 or more")
        if duration is not None and duration <= 0:
            raise OptionError(f"duration is {duration} s; expected more than 0")
        if hdr not in ("error", "tonemap"):
            raise OptionError(f"hdr is {hdr!r}; expected 'error' or 'tonemap'")
        self.path = Path(path)
        self._threads = threads
        self._container = _open_input(self.path)
        try:
            self._open_stream()
            self._tonemap = _ToneMap() if hdr == "tonemap" else None
            self._describe(_seconds(start), _seconds(duration))
        except BaseException:
            self._container.close()
            raise

    def _open_stream(self) -> None:
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            kinds = sorted({stream.type for stream in self._container.streams})
            raise MediaError(f"{self.path} has no video, only {' and '.join(kinds) or 'no stream at all'}.")
        best = self._container.streams.best("video")
        self._stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        if self._stream.codec_context is None:
            raise MediaError(f"{self.path}: this build of PyAV has no decoder for its video.")
        for stream in self._container.streams:
            if stream.index != self._stream.index:
                stream.discard = Discard.all
        context = self._stream.codec_context
        context.thread_count = self._threads
        context.thread_type = "NONE" if self._threads == 1 else "AUTO"  # type: ignore[assignment]
        assert self._stream.time_base is not None
        self._tick = self._stream.time_base
        self._rate = self._stream.average_rate or self._stream.base_rate or None

    def _describe(self, start: Fraction | None, duration: Fraction | None) -> None:
        """Decode the first frame, which alone says what the frames will be like."""
        self._restart()
        first = next(self._decoded, None)
        if first is None:
            raise MediaError(f"{self.path} has a video stream, but no frame in it can be decoded.")
        self._waiting = first
        picture, time = first
        transfer = _HDR.get(picture.color_trc)
        notes = []
        if transfer is not None and self._tonemap is None:
            raise MediaError(
                f"{self.path} is high dynamic range video, {transfer}; the generators know standard range only. "
                "Let it be converted with --hdr tonemap."
            )
        if transfer is not None:
            notes.append(f"high dynamic range video, {transfer}, is tone-mapped to standard BT.709")
        else:
            self._tonemap = None
        self._orientation = Orientation.of(picture)
        stored = picture.format
        self._target = _target_format(stored)
        if stored.name not in NATIVE_FORMATS and transfer is None:
            notes.append(f"pixel format {stored.name} is converted to {self._target}, 8 bit")
        if picture.interlaced_frame:
            notes.append("the video is interlaced; its frames are translated whole, not deinterlaced")
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._colors: dict[tuple[int, int, str], Color] = {}
        picture = self._native(picture)
        width, height = picture.width, picture.height
        if self._orientation.transpose:
            width, height = height, width
        self._pool = FramePool(width, height, self._target)
        self._stored_size = (picture.width, picture.height)

        stream, context = self._stream, self._stream.codec_context
        begin = time + (start or 0)
        end = None if duration is None else begin + duration
        whole = self._length()
        part = whole if whole is None else max(Fraction(0), whole - (start or 0))
        if duration is not None:
            part = duration if part is None else min(part, duration)
        frames = stream.frames or None
        if (start or duration or not frames) and part is not None and self._rate:
            frames = round(part * self._rate)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self.info = VideoInfo(
            path=self.path,
            size=(height, width),
            format=self._target,
            stored_format=stored.name,
            time_base=self._tick,
            rate=self._rate,
            codec=context.codec.name,
            container=self._container.format.name,
            color=self._color(picture),
            tags=ColorTags(picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc),
            pixel_aspect=1 / aspect if self._orientation.transpose else aspect,
            rotation=self._orientation.degrees,
            duration=part,
            frames=frames,
            trim=None if start is None and duration is None else (begin, end),
            stream_index=stream.index,
            streams=[_stream_info(s) for s in self._container.streams],
            metadata=dict(self._container.metadata),
            notes=notes,
        )

    def _length(self) -> Fraction | None:
        if self._stream.duration:
            return self._stream.duration * self._tick
        if self._container.duration:
            return Fraction(self._container.duration, 1_000_000)
        return None

    def _restart(self) -> None:
        self._waiting: tuple[av.VideoFrame, Fraction] | None = None
        self._number = 0
        self._last: int | None = None
        self._decoded = self._decode()

    def _decode(self) -> Iterator[tuple[av.VideoFrame, Fraction]]:
        """Pictures as decoded, with their times."""
        try:
            for packet in self._container.demux(self._stream):
                try:
                    pictures = packet.decode()
                except av.error.InvalidDataError:
                    if self._number:
                        raise
                    continue  # a stream cut out of a broadcast begins with pictures whose references are missing
                for picture in pictures:
                    pts = self._pts(picture)
                    self._number += 1
                    yield picture, pts * self._tick
        except av.FFmpegError as error:
            raise self._damaged(error) from error

    def _pts(self, picture: av.VideoFrame) -> int:
        """Presentation time in ticks, strictly rising; estimated where the file has none."""
        pts = picture.pts if picture.pts is not None else picture.dts
        step = picture.duration or (round(1 / (self._rate * self._tick)) if self._rate else 1) or 1
        if pts is None:
            pts = 0 if self._last is None else self._last + step
        elif self._last is not None and pts <= self._last:
            note = "some frame times do not rise; they were moved by one tick"
            if note not in self.info.notes:
                self.info.notes.append(note)
            pts = self._last + 1
        self._last = pts
        return pts

    def _damaged(self, error: Exception) -> MediaError:
        at = f"after frame {self._number}" if self._number else "before the first frame"
        cure = ""
        if self._last is not None and self._number > 1:
            seconds = float((self._last + 1) * self._tick - (self.info.trim[0] if self.info.trim else 0))
            cure = f" The part before can be translated with --duration {max(0.0, seconds - 0.001):.3f}."
        problem = MediaError(f"{self.path} is damaged or cut off: decoding failed {at} ({_reason(error)}).{cure}")
        problem.frame_number = self._number + 1
        return problem

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames from the start of the wanted part; each call begins again."""
        begin, end = self.info.trim or (None, None)
        if self._number > 1 or (self._number == 1 and self._waiting is None):
            self._container.seek(0)
            self._restart()
        half = self._tick / 2
        if begin is not None and self._waiting is not None and begin > self._waiting[1]:
            self._seek(begin)
        for picture, time in self._upcoming():
            if begin is not None and time < begin - half:
                continue
            if end is not None and time >= end - half:
                return
            yield self._frame(picture, time)
        self._check_end()

    def _seek(self, begin: Fraction) -> None:
        """Go to the key frame before ``begin``; if the file's index misleads, back to the beginning."""
        first = self._waiting
        try:
            self._container.seek(int(begin / self._tick), stream=self._stream)
            self._restart()
            landed = next(self._decoded, None)
        except (av.FFmpegError, MediaError):
            landed = None
        if landed is None or landed[1] > begin:
            self._container.close()
            self._container = _open_input(self.path)
            self._open_stream()
            self._restart()
            return
        assert first is not None
        self._waiting = landed

    def _upcoming(self) -> Iterator[tuple[av.VideoFrame, Fraction]]:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            yield waiting
        yield from self._decoded

    def _check_end(self) -> None:
        """Say so when the frames end well before the length that the file states."""
        length = self._length() if self._stream.duration else None
        if length is None or self._last is None or self.info.trim is not None:
            return
        seen = (self._last - (self._stream.start_time or 0)) * self._tick
        if length - seen > max(Fraction(1), length / 20):
            self.info.notes.append(
                f"the frames end at {float(seen):.2f} s, though the file states {float(length):.2f} s; "
                "it may be cut off"
            )

    def _frame(self, picture: av.VideoFrame, time: Fraction) -> VideoFrame:
        duration = picture.duration
        picture = self._native(picture)
        if (picture.width, picture.height) != self._stored_size:
            problem = MediaError(
                f"{self.path}: the picture size changes from {self._stored_size[0]}x{self._stored_size[1]} to "
                f"{picture.width}x{picture.height} at frame {self._number}. Cut the file there, or scale it to one "
                "size."
            )
            problem.frame_number = self._number
            raise problem
        color = self._color(picture)
        planes = _planes(picture, self._target, writable=False)
        upright = self._orientation == Orientation()
        if not upright or any(plane.strides[0] < 0 for plane in planes):
            turned = self._pool.take()
            _copy_tags(picture, turned)
            targets = _planes(turned, self._target)
            for target, plane in zip(targets, planes, strict=True):
                np.copyto(target, self._orientation.apply(plane))
            picture, planes = turned, targets
        picture.duration = duration
        return VideoFrame(planes, self._target, color, time, picture, self._pool)

    def _native(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in a format that the kernels read."""
        if self._tonemap is not None:
            return self._tonemap(picture)
        if NATIVE_FORMATS.get(picture.format.name) == self._target:
            return picture
        return self._reformatter.reformat(picture, format=self._target, interpolation=_BEST, threads=1)

    def _color(self, picture: av.VideoFrame) -> Color:
        key = (picture.colorspace, picture.color_range, picture.format.name)
        if key not in self._colors:
            matrix = _MATRICES.get(picture.colorspace)
            if matrix is None:  # players guess by the size as well
                matrix = "bt601" if self._stream.codec_context.height < 720 else "bt709"
            full = picture.color_range == _FULL_RANGE or picture.format.name.startswith("yuvj")
            siting: Siting = "left"
            # Turned left-siting is none of the three that Color knows; the centre is nearest to all its turns.
            if self._stream.codec_context.codec.name in _CENTER_SITED or self._orientation != Orientation():
                siting = "center"
            self._colors[key] = Color(matrix, full, siting)
        return self._colors[key]

    def close(self) -> None:
        """Close the file; frames already given stay valid."""
        self._container.close()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ToneMap:
    """PQ or HLG to 8-bit BT.709, by the perceptual intent of libswscale."""

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        if self._graph is None:
            self._graph = self._build(picture)
        self._graph.vpush(picture)
        return self._graph.vpull()

    @staticmethod
    def _build(picture: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = (
            f"video_size={picture.width}x{picture.height}:pix_fmt={picture.format.name}:time_base=1/1000:"
            f"pixel_aspect=1/1:colorspace={picture.colorspace}:range={picture.color_range}"
        )
        scale = "out_color_matrix=bt709:out_transfer=bt709:out_primaries=bt709:out_range=tv:intent=perceptual"
        graph.link_nodes(
            graph.add("buffer", source),
            graph.add("scale", scale),
            graph.add("format", "pix_fmts=yuv420p"),
            graph.add("buffersink"),
        ).configure()
        return graph


def _open_input(path: Path) -> av.container.InputContainer:
    if not path.exists():
        raise MediaError(f"{path}: no such file.")
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected a video file. Pictures of a folder are read with --images.")
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes).")
        container = av.open(
            f"file:{path}", "r", metadata_errors="replace", container_options={"protocol_whitelist": "file"}
        )
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, MediaError):
            raise
        if isinstance(error, PermissionError):
            raise MediaError(f"{path} cannot be read: permission denied.") from error
        raise MediaError(f"{path} cannot be read as a video ({_reason(error)}): {_what_it_is(path)}.") from error
    if container.format.name == "tty":  # libav draws text files as pictures
        container.close()
        raise MediaError(f"{path} is a text file; expected a video.")
    return container


def _what_it_is(path: Path) -> str:
    """A guess why libav refuses a file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(512)
        if head[4:8] == b"ftyp":
            return "it begins like an MP4 file, but its index (moov) is missing or damaged; it was probably cut off"
        if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
            return "it contains text"
    return "it is damaged, cut off, or not a video"


def _reason(error: BaseException) -> str:
    """The few words that libav or the system has for an error."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:1].lower() + str(text)[1:]


def _seconds(value: float | None) -> Fraction | None:
    """Decimal seconds as the user wrote them: 0.1 is a tenth."""
    return None if value is None else Fraction(str(value))


def _target_format(format: av.VideoFormat) -> PixelFormat:
    native = NATIVE_FORMATS.get(format.name)
    if native is not None:
        return native
    colors = len(format.components) - bool(format.name.startswith(("ya", "rgba", "bgra", "argb", "abgr", "gbrap")))
    return "rgb24" if format.is_rgb or format.has_palette or colors < 3 else "yuv420p"


def _stream_info(stream: Any) -> StreamInfo:
    context = getattr(stream, "codec_context", None)
    name = context.codec.canonical_name if context is not None else (stream.name or "unknown")
    return StreamInfo(stream.index, stream.type, name, stream.metadata.get("language", ""))


# ---------------------------------------------------------------------------------------------------------------------
# Writing


class _Encoder(NamedTuple):
    """How one codec is asked for a given quality."""

    library: str
    crf: int
    even_only: bool = False
    """Whether 4:2:0 pictures must have even sizes."""

    def options(self, crf: float | None, preset: str) -> dict[str, str]:
        """Options of the encoder; its presets other than x264's are steps of the same ladder."""
        quality = f"{self.crf if crf is None else crf:g}"
        speed = PRESETS.index(preset)  # 0 fastest … 8 slowest
        if self.library == "libvpx-vp9":
            return {"crf": quality, "b": "0", "deadline": "good", "cpu-used": str(max(0, 8 - speed)), "row-mt": "1"}
        if self.library == "libsvtav1":
            return {"crf": quality, "preset": str(min(13, 12 - speed))}
        if self.library == "ffv1":
            return {"level": "3", "slicecrc": "1"}
        options = {"crf": quality, "preset": preset}
        return {**options, "x265-params": "log-level=error"} if self.library == "libx265" else options


PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")

CODECS: dict[str, _Encoder] = {
    "h264": _Encoder("libx264", 20, even_only=True),
    "hevc": _Encoder("libx265", 23, even_only=True),
    "vp9": _Encoder("libvpx-vp9", 32),
    "av1": _Encoder("libsvtav1", 32, even_only=True),
    "ffv1": _Encoder("ffv1", 0),
}


class _ContainerKind(NamedTuple):
    format: str
    codec: str
    audio: str
    """Encoder for audio that the container cannot hold as it is."""


CONTAINERS: dict[str, _ContainerKind] = {
    ".mp4": _ContainerKind("mp4", "h264", "aac"),
    ".m4v": _ContainerKind("mp4", "h264", "aac"),
    ".mov": _ContainerKind("mov", "h264", "aac"),
    ".mkv": _ContainerKind("matroska", "h264", "aac"),
    ".webm": _ContainerKind("webm", "vp9", "libopus"),
}

# Written by muxers about the file that they made, not by people about its content.
_MUXER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "rotate", "vendor_id"}


class VideoSink:
    """Encodes frames into a file, with the other streams of the video that they come from.

    The file grows under a temporary name in the same folder and takes its own name when it is finished. Left as a
    context manager it is finished on a normal end and on Ctrl-C (cut there, playable), and removed on other errors.

    Args:
        path: the output; its suffix chooses the container (.mp4, .m4v, .mov, .mkv, .webm).
        info: of the source: time base, colour tags, pixel aspect; streams, titles and chapters come from ``info.path``.
        size: (height, width) of the frames, if they are not as large as the source's.
        codec: "h264", "hevc", "vp9", "av1" or "ffv1" (lossless, .mkv); None: the container's usual one.
        crf: constant quality, 0 is best (for h264: lossless); None: 20 for h264.
        preset: speed, "ultrafast" to "veryslow".
        threads: encoder threads; 0 lets the encoder choose.
        overwrite: whether an existing file may be replaced.

    ``notes`` says what could not be kept.

    Raises:
        MediaError: the file cannot be written, or the disk is full. An existing file stays as it was.
        OptionError: an unknown codec, preset or suffix.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        *,
        size: tuple[int, int] | None = None,
        codec: str | None = None,
        crf: float | None = None,
        preset: str = "veryfast",
        threads: int = 0,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self.frames = 0
        self._info = info
        kind = CONTAINERS.get(self.path.suffix.lower())
        if kind is None:
            raise OptionError(
                f"{self.path}: cannot tell the container from the suffix '{self.path.suffix}'; "
                f"expected one of {', '.join(CONTAINERS)}."
            )
        name = codec or kind.codec
        if name not in CODECS:
            raise OptionError(f"Unknown codec '{name}'. {did_you_mean(name, CODECS)}")
        if preset not in PRESETS:
            raise OptionError(f"Unknown preset '{preset}'. {did_you_mean(preset, PRESETS)}")
        self._file = OutputFile(self.path, overwrite=overwrite)
        self._copies: _CopiedStreams | None = None
        try:
            self._output = av.open(
                self._file,
                "w",
                format=kind.format,
                buffer_size=1 << 18,
                container_options={"movflags": "+faststart"} if kind.format in ("mp4", "mov") else None,
            )
            self._stream = self._add_video(CODECS[name], kind, size or info.size, crf, preset, threads)
            self._output.metadata.update(_kept(info.metadata))
            if info.path is not None:
                self._copies = _CopiedStreams(info, self._output, kind, self.notes)
        except av.FFmpegError as error:
            self.abort()
            raise MediaError(f"{self.path} cannot be written ({_reason(error)}).") from error
        except BaseException:
            self.abort()
            raise
        self._last: int | None = None
        self._offset = Fraction(0)
        self._end = Fraction(0)
        self._pools: dict[tuple[int, int, str], FramePool] = {}
        self._reformatter = av.video.reformatter.VideoReformatter()

    def _add_video(
        self,
        encoder: _Encoder,
        kind: _ContainerKind,
        size: tuple[int, int],
        crf: float | None,
        preset: str,
        threads: int,
    ) -> av.VideoStream:
        info = self._info
        try:
            codec = av.codec.Codec(encoder.library, "w")
        except av.error.FFmpegError as error:
            raise MediaError(
                f"This build of PyAV has no {encoder.library} encoder. Install av from PyPI, or choose another --codec "
                f"({', '.join(CODECS)})."
            ) from error
        rate = info.rate or Fraction(25)
        try:
            stream = self._output.add_stream(encoder.library, rate=rate, time_base=info.time_base)
        except ValueError as error:
            raise OptionError(
                f"{self.path.suffix} files cannot hold {encoder.library} video; usual there is {kind.codec}."
            ) from error
        height, width = size
        context = stream.codec_context
        stream.time_base = info.time_base
        context.time_base = info.time_base
        context.width, context.height = width, height
        context.pix_fmt = self._pixel_format(encoder, codec, size)
        context.sample_aspect_ratio = info.pixel_aspect
        tags = info.tags
        if info.format == "rgb24" or context.pix_fmt == "rgb24":  # RGB becomes BT.709
            tags = ColorTags(1, 1, 1, 1)
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if info.color.full_range and info.format != "rgb24":
            context.color_range = _FULL_RANGE
        context.thread_count = threads
        # PyAV's default is slices, with which x264 compresses worse and scales less.
        context.thread_type = "AUTO"  # type: ignore[assignment]
        context.flags |= CodecFlags.frame_duration
        context.options = encoder.options(crf, preset)
        return stream

    def _pixel_format(self, encoder: _Encoder, codec: av.codec.Codec, size: tuple[int, int]) -> str:
        known = {format.name for format in codec.video_formats or ()}
        wanted = self._info.format if self._info.format in known and self._info.format != "rgb24" else "yuv420p"
        if encoder.even_only and (size[0] % 2 or size[1] % 2):
            if _EVEN_FREE not in known:
                raise OptionError(
                    f"{encoder.library} cannot encode the odd size {size[1]}x{size[0]}; choose --codec h264 or vp9."
                )
            self.notes.append(
                f"{size[1]}x{size[0]} is an odd size: encoded as {_EVEN_FREE}, which keeps it but which some players "
                "cannot show"
            )
            wanted = _EVEN_FREE
        return wanted

    def write(self, frame: Frame) -> None:
        """Encode a frame; times must rise. A frame without a time follows the last one at the average rate."""
        height, width = frame.size
        context = self._stream.codec_context
        if (height, width) != (context.height, context.width):
            raise MediaError(
                f"{self.path}: a frame of {width}x{height} came; the video is {context.width}x{context.height}."
            )
        pts = self._pts(frame)
        picture = self._picture(frame)
        duration = picture.duration
        picture.pts, picture.time_base, picture.pict_type = pts, self._info.time_base, 0
        try:
            self._mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            raise self._failed(error) from error
        self._last = pts
        self._end = (pts + (duration or self._step())) * self._info.time_base
        self.frames += 1

    def _step(self) -> int:
        return max(1, round(1 / ((self._info.rate or 25) * self._info.time_base)))

    def _pts(self, frame: Frame) -> int:
        if frame.time is None:
            return 0 if self._last is None else self._last + self._step()
        if self._last is None and self._copies is not None:
            self._offset = self._copies.start_at(frame.time)
        pts = round((frame.time - self._offset) / self._info.time_base)
        if self._last is not None and pts <= self._last:
            raise MediaError(
                f"{self.path}: frame {self.frames + 1} is timed at {float(frame.time):.4f} s, which is not after the "
                "frame before."
            )
        return pts

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """The frame as a picture of the encoder's format, without a copy where possible."""
        target = self._stream.codec_context.pix_fmt
        assert target is not None
        picture = frame.picture if isinstance(frame, VideoFrame) else None
        if picture is None or picture.format.name not in (frame.format, target):
            picture = self._copied(frame)
        if picture.format.name == target:
            return picture
        if frame.format == "rgb24":
            return self._reformatter.reformat(
                picture,
                format=target,
                dst_colorspace="ITU709",
                src_color_range="JPEG",
                dst_color_range="MPEG",
                interpolation=_BEST,
                threads=1,
            )
        return self._reformatter.reformat(picture, format=target, interpolation=_BEST, threads=1)

    def _copied(self, frame: Frame) -> av.VideoFrame:
        key = (frame.size[1], frame.size[0], str(frame.format))
        picture = self._pools.setdefault(key, FramePool(*key)).take()
        for target, plane in zip(_planes(picture, frame.format), frame.planes, strict=True):
            np.copyto(target, plane)
        context = self._stream.codec_context
        if frame.format != "rgb24":
            picture.colorspace, picture.color_range = context.colorspace, context.color_range
        if isinstance(frame, VideoFrame) and frame.picture is not None:
            picture.duration = frame.picture.duration
        return picture

    def _mux(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        for packet in packets:
            if self._copies is not None and packet.dts is not None:
                self._copies.write_until(packet.dts * packet.time_base)
            self._output.mux_one(packet)
        self._file.check()

    def close(self, *, complete: bool = True) -> None:
        """Finish the file and give it its name; a second call does nothing.

        Args:
            complete: False cuts the copied streams where the frames end, for a run that was stopped early.
        """
        if self._file.done:
            return
        try:
            if not self.frames:
                raise MediaError(f"{self.path}: no frame was written.")
            self._mux(self._stream.encode(None))
            if self._copies is not None:
                self._copies.finish(None if complete else self._end)
            self._output.close()
            self._file.commit()
        except av.FFmpegError as error:
            raise self._failed(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written; nothing happens after :meth:`close`."""
        if self._copies is not None:
            self._copies.close()
        if self._file.done:
            return
        self._file.discard()
        with contextlib.suppress(av.FFmpegError, AttributeError):  # the output may not be open yet
            self._output.close()

    def _failed(self, error: Exception) -> MediaError:
        self._file.check()  # a full disk reaches us as a broken container
        problem = MediaError(f"{self.path}: frame {self.frames + 1} cannot be encoded ({_reason(error)}).")
        problem.frame_number = self.frames + 1
        return problem

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, KeyboardInterrupt) and self.frames:
            self.close(complete=False)
        else:
            self.abort()


class OutputFile(io.RawIOBase):
    """A file under a temporary name, which takes its own name when it is whole.

    Errors of the system are kept and raised by :meth:`check`: libav would lose them on its way.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self.done = True  # until there is something to discard
        self._error: OSError | None = None
        if path.is_dir():
            raise MediaError(f"{path} is a folder; expected the name of a file to write.")
        if path.exists() and not overwrite:
            raise MediaError(f"{path} exists; pass -y to overwrite it.")
        folder = path.absolute().parent
        self.name = str(folder / f".{path.stem}.{os.getpid()}.part{path.suffix}")
        try:
            self._file = open(self.name, "wb+", buffering=0)  # noqa: SIM115
        except OSError as error:
            cure = "" if folder.is_dir() else f" The folder {folder} does not exist; create it first."
            raise MediaError(f"{path} cannot be written: {_reason(error)}.{cure}") from error
        self.done = False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data``; after an error nothing more is written."""
        view = memoryview(data)
        if self._error is None and not self._file.closed:
            try:
                written = 0
                while written < len(view):
                    written += self._file.write(view[written:]) or 0
            except OSError as error:
                self._error = error
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return 0 if self._file.closed else self._file.seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._file.closed else self._file.tell()

    def check(self) -> None:
        """Raise the error that a write met.

        Raises:
            MediaError: the disk is full, for example.
        """
        if self._error is None:
            return
        if self._error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise MediaError(
                f"{self.path} cannot be finished: {_reason(self._error)}. Free some space, or write to another disk."
            ) from self._error
        raise MediaError(f"{self.path} cannot be written: {_reason(self._error)}.") from self._error

    def commit(self) -> None:
        """Give the finished file its name."""
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        self.check()
        try:
            os.replace(self.name, self.path)
        except OSError as error:
            raise MediaError(f"{self.path} cannot be written: {_reason(error)}.") from error
        self.done = True

    def discard(self) -> None:
        """Remove the unfinished file."""
        if self.done:
            return
        self.done = True
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self.name)


class _CopiedStreams:
    """The other streams of the source, read beside the frames and written in step with them.

    Reading the file a second time needs no queue between decoder and encoder, however far apart they are.
    """

    def __init__(self, info: VideoInfo, output: av.container.OutputContainer, kind: _ContainerKind, notes: list[str]):
        assert info.path is not None
        self._output = output
        self._begin, self._end = info.trim or (None, None)
        self._trimmed = info.trim is not None
        self._input = _open_input(info.path)
        self._routes: dict[int, _Route] = {}
        self._offset = Fraction(0)
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        for stream in self._input.streams:
            if stream.index == info.stream_index:
                main = output.streams.video[0]
                main.metadata.update(_kept(stream.metadata))
                main.disposition = stream.disposition
                if self._input.format.flags & av.format.Flags.ts_discont.value and stream.start_time and not info.trim:
                    starts = [s.start_time * s.time_base for s in self._input.streams if s.start_time and s.time_base]
                    self._begin = min(starts)  # broadcast clocks begin anywhere; files begin at zero
                continue
            route = self._route(stream, kind, notes)
            if route is None:
                stream.discard = Discard.all
            else:
                self._routes[stream.index] = route
        chapters = self._chapters()
        if chapters:
            output.set_chapters(chapters)

    def _route(self, stream: Any, kind: _ContainerKind, notes: list[str]) -> _Route | None:
        """Where a stream's packets go; None, with a note, if the output cannot take them."""
        name = f"{stream.type} stream {stream.index}"
        codec = _stream_info(stream).codec
        cover = stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)
        if stream.type == "video" and not cover:
            notes.append(f"{name} is left out: one video is translated")
            return None
        if stream.type in ("data", "unknown") or (stream.type == "attachment" and kind.format != "matroska"):
            notes.append(f"{name} ({codec}) is left out: {kind.format} files written here do not carry it")
            return None
        try:
            target = self._output.add_stream_from_template(stream, opaque=True)
        except ValueError:
            if stream.type == "audio" and stream.codec_context is not None:
                notes.append(f"{name} is encoded again as {kind.audio}: {kind.format} files cannot hold {codec}")
                return self._labelled(stream, _Recoder(stream, self._output, kind.audio))
            notes.append(f"{name} is left out: {kind.format} files cannot hold {codec}")
            return None
        return self._labelled(stream, _Route(target))

    def _labelled(self, stream: Any, route: _Route) -> _Route:
        route.stream.metadata.update(_kept(stream.metadata))
        route.stream.disposition = stream.disposition
        return route

    def _chapters(self) -> list[Any]:
        chapters = []
        for chapter in self._input.chapters():
            base = chapter["time_base"]
            assert base is not None
            shift = self._begin or Fraction(0)
            begin = max(Fraction(0), chapter["start"] * base - shift)
            end = chapter["end"] * base - shift
            if self._trimmed and self._end is not None:
                end = min(end, self._end - shift)
            if end > begin:
                chapters.append({**chapter, "start": round(begin / base), "end": round(end / base)})
        return chapters

    def start_at(self, first: Fraction) -> Fraction:
        """Begin reading; the offset that is taken off all times, given the time of the first frame."""
        if self._trimmed:
            self._offset = first
            self._begin = first
            with contextlib.suppress(av.FFmpegError):  # a file that cannot seek is read from its beginning
                self._input.seek(max(0, int((first - 1) * 1_000_000)))
        elif self._begin is not None:
            self._offset = self._begin
        streams = [self._input.streams[index] for index in self._routes]
        if streams:
            self._packets = self._input.demux(*streams)
        return self._offset

    def write_until(self, time: Fraction | None) -> None:
        """Write the packets up to ``time`` in the output's times; None writes all that belong."""
        while True:
            packet = self._waiting if self._waiting is not None else self._next()
            if packet is None:
                return
            if time is not None and self._time(packet) - self._offset > time:
                self._waiting = packet
                return
            self._waiting = None
            self._routes[packet.stream.index].write(packet, self._offset, self._output)

    def _next(self) -> Any:
        for packet in self._packets:
            if packet.dts is None and packet.pts is None:
                continue  # the demuxer's flush packets
            time = self._time(packet, shown=True)
            if self._trimmed and self._begin is not None and time < self._begin:
                continue
            if self._trimmed and self._end is not None and time >= self._end:
                continue
            return packet
        return None

    @staticmethod
    def _time(packet: Any, *, shown: bool = False) -> Fraction:
        ticks = packet.pts if packet.dts is None or (shown and packet.pts is not None) else packet.dts
        return Fraction(ticks * packet.time_base)

    def finish(self, end: Fraction | None) -> None:
        """Write what is left, up to ``end`` in the output's times."""
        self.write_until(end)
        for route in self._routes.values():
            route.flush(self._output)

    def close(self) -> None:
        self._input.close()


class _Route:
    """Takes a stream's packets to the output as they are."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._last: int | None = None

    def write(self, packet: Any, offset: Fraction, output: av.container.OutputContainer) -> None:
        shift = round(offset / packet.time_base)
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
            if self._last is not None and packet.dts <= self._last:  # a repair that muxers insist on
                packet.dts = self._last + 1
                packet.pts = max(packet.pts or packet.dts, packet.dts)
            self._last = packet.dts
        packet.stream = self.stream
        output.mux_one(packet)

    def flush(self, output: av.container.OutputContainer) -> None:
        """Write what is held back."""


class _Recoder(_Route):
    """Decodes an audio stream and encodes it again, for containers that cannot hold it."""

    def __init__(self, source: Any, output: av.container.OutputContainer, codec: str) -> None:
        context = source.codec_context
        rate = 48000 if codec == "libopus" else context.sample_rate
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = context.layout.name
        stream.codec_context.bit_rate = 80_000 * max(1, context.layout.nb_channels)
        super().__init__(stream)
        self._resampler: av.AudioResampler | None = None

    def write(self, packet: Any, offset: Fraction, output: av.container.OutputContainer) -> None:
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= round(offset / frame.time_base)
            self._encode(frame, output)

    def _encode(self, frame: av.AudioFrame | None, output: av.container.OutputContainer) -> None:
        context = self.stream.codec_context
        if self._resampler is None:
            context.open(strict=False)
            self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate, context.frame_size)
        for piece in self._resampler.resample(frame):
            output.mux(self.stream.encode(piece))

    def flush(self, output: av.container.OutputContainer) -> None:
        if self._resampler is not None:
            self._encode(None, output)
            output.mux(self.stream.encode(None))


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that people wrote, without those of the muxer that made the file."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _MUXER_TAGS and not key.startswith(("_STATISTICS", "NUMBER_OF_", "BPS", "DURATION-"))
    }
