"""A long video in segments: groups of pictures of one encoder, kept as its packets; at the end they become one file.

One encoder runs from the first frame to the last, as without segments, and its packets go into files that each begin
with a key frame. The file that they become is therefore the one that there would be without segments. A run that
continues begins a new encoder, some groups of pictures before the end of what is kept: what an encoder carries from one
group into the next (rate control) has then settled to what it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
from av.container import OutputContainer

from ...errors import MediaError, reason
from ...files import OutputFile, cannot_write, parse_json, read_json, replace_file
from ...pixels.frame import Frame
from ..base import FrameFormat, Notes
from .codecs import ContainerKind
from .hardware import Coder
from .sink import VideoSink
from .source import VideoSource

_MAGIC = b"ganlens-segment/2\n"
_PACKET = struct.Struct("<qqqII")
"""Presentation and decoding time and duration in ticks, flags (1 key frame), bytes."""
_END = struct.Struct("<qqqII").pack(0, 0, 0, 0xFFFFFFFF, 0)
_NAME = "{:06d}.segment"
_CUT_OFF = "cut-off.json"
_SETTLING_FRAMES = 300
_DECODERS = {"av1": "libdav1d"}
"""Where the decoder is not called as the codec is."""


class SegmentHeader(NamedTuple):
    """What a segment says of itself."""

    encoder: str
    parameters: str
    """The encoder's parameter sets, in hexadecimal: equal in all segments of a file."""
    frames: int
    keys: int
    """How many of them are key frames; the first one is."""
    first: Fraction
    """Time of its first frame in seconds."""
    end: Fraction
    whole: bool
    """False: the encoder was stopped in it."""


class SegmentedSink:
    """A :class:`VideoSink` that a kill robs of no more than the last segments.

    Args:
        path: the output, as of :class:`VideoSink`.
        folder: of the segments, which exists. Those of an earlier run are continued: ``origin`` then begins where they
            end, or some groups of pictures before.
        format: of the frames.
        origin: their source.
        length: seconds after which the next key frame begins a new segment.
        options: of :class:`VideoSink`.

    Raises:
        MediaError: as of :class:`VideoSink`, and if a segment is of another encoder.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        format: FrameFormat,
        *,
        origin: VideoSource,
        length: Fraction,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        check_output(path, overwrite=overwrite)
        self.path, self.format = path, format
        self.notes = Notes()
        self._folder, self._origin, self._options = folder, origin, {**options, "overwrite": overwrite}
        kept = _kept(folder)
        number = _where_to_continue(kept)
        self.before = sum(header.frames for header in kept[:number])
        """Frames that an earlier run has made, which the source does not give again."""
        if number:
            origin.resume(kept[number].first, self.before)
        self._segments = _Segments(path, folder, format, length=length, number=number, **options)

    @property
    def encoder(self) -> Coder:
        """Which encoder was chosen, and why."""
        return self._segments.encoder

    def write(self, frame: Frame) -> None:
        """As of :class:`VideoSink`."""
        self._segments.write(frame)

    def close(self, *, complete: bool = True) -> None:
        """Make the file of the segments, and remove them; with ``complete=False`` those that are whole stay."""
        if self._segments.closed:
            return
        self._segments.close(complete=complete)
        if self._segments.repeated is False:
            self.notes.add(
                "the encoder did not repeat the frames before the interruption exactly: those after it may differ "
                "slightly from an uninterrupted run's"
            )
        paths = [self._folder / _NAME.format(number) for number in range(self._segments.number)]
        sink = VideoSink(self.path, self.format, origin=self._origin, **self._options)
        try:
            _join(sink, paths)
            sink.close(complete=complete)
        finally:
            sink.abort()
        for note in sink.notes:
            self.notes.add(note)
        if complete:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        last = read_header(paths[-1])
        if last is None or not last.whole:
            paths[-1].unlink(missing_ok=True)
        state = os.stat(self.path)
        replace_file(self._folder / _CUT_OFF, json.dumps([state.st_size, state.st_mtime_ns]))

    def abort(self) -> None:
        """Leave the segments that are whole."""
        self._segments.abort()


class _Segments(VideoSink):
    """Encodes frames as a :class:`VideoSink` for ``output`` does, into files of packets.

    Args:
        number: of the first segment. One that exists is kept where the new one ends with the same frame.
    """

    def __init__(
        self, output: Path, folder: Path, format: FrameFormat, *, length: Fraction, number: int, **options: Any
    ) -> None:
        self._folder, self._length = folder, length
        self.number = number
        """Number of the segment that is being written; after the end, how many there are."""
        self.closed = False
        self.repeated: bool | None = None
        """Whether frames that were encoded again came out as before; None: there were none."""
        self._split = True
        self._begin: int | None = None
        self._count = self._keys = 0
        super().__init__(output, format, **{**options, "overwrite": True, "origin": None})
        try:
            self._file.write(_MAGIC)
        except BaseException:
            self.abort()
            raise

    def _open_file(self, overwrite: bool) -> OutputFile:
        return OutputFile(self._folder / _NAME.format(self.number), overwrite=overwrite)

    def _open_output(self, kind: ContainerKind) -> OutputContainer:
        return av.open(io.BytesIO(), "w", format=kind.format)

    def _mux(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None and packet.dts is not None
            # Encoders may give times in a unit of their own.
            scale = packet.time_base / self.format.time_base
            pts, dts, duration = (round(ticks * scale) for ticks in (packet.pts, packet.dts, packet.duration or 0))
            if self._begin is None:
                self._begin = pts
            elif self._split and packet.is_keyframe and (pts - self._begin) * self.format.time_base >= self._length:
                self._finish(pts * self.format.time_base)
                self._file = self._open_file(True)
                self._file.write(_MAGIC)
                self._begin, self._count, self._keys = pts, 0, 0
            self._count += 1
            self._keys += int(packet.is_keyframe)
            self._file.write(_PACKET.pack(pts, dts, duration, int(packet.is_keyframe), packet.size))
            self._file.write(bytes(packet))
        self._file.check()

    def _finish(self, end: Fraction, *, whole: bool = True) -> None:
        context = self._stream.codec_context
        assert self._begin is not None
        first = self._begin * self.format.time_base
        parameters = (context.extradata or b"").hex()
        header = SegmentHeader(context.codec.name, parameters, self._count, self._keys, first, end, whole)
        text = json.dumps(header._replace(first=str(first), end=str(end))).encode()  # type: ignore[arg-type]
        self._file.write(_END + text + struct.pack("<I", len(text)))
        self._file.check()
        path = self._folder / _NAME.format(self.number)
        before = read_header(path)
        self.number += 1
        if before == header:
            self.repeated = _same_last_group(path, Path(self._file.name), context)
            self._file.discard()  # what was made without an interruption stays
        elif before is not None and before.whole and not whole:
            self._file.discard()  # stopped among frames that there are already
            self.number = len(_kept(self._folder))
        else:
            self._file.commit()

    def close(self, *, complete: bool = True) -> None:
        """Finish the last segment; where the run was stopped, it says so."""
        try:
            if not self.frames:
                raise MediaError(f"{self.path}: no frame was written.")
            self._split = complete  # what an encoder makes of a sudden end is no beginning to continue from
            self._mux(self._stream.encode(None))
            self._finish(self._end, whole=complete)
            self.closed = True
        except av.FFmpegError as error:
            raise self._failed(error) from error
        finally:
            self.abort()


def read_header(path: Path) -> SegmentHeader | None:
    """What a segment says of itself; None if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            end = file.seek(-4, os.SEEK_END)
            (length,) = struct.unpack("<I", file.read(4))
            file.seek(end - length - len(_END))
            if file.read(len(_END)) != _END:
                return None
            encoder, parameters, frames, keys, first, last, whole = parse_json(file.read(length))
            return SegmentHeader(
                str(encoder), str(parameters), int(frames), int(keys), Fraction(first), Fraction(last), bool(whole)
            )
    except (OSError, ValueError, TypeError, struct.error):
        return None


def _kept(folder: Path) -> list[SegmentHeader]:
    """The segments of an earlier run, up to the first one that is missing or not whole."""
    headers: list[SegmentHeader] = []
    while True:
        header = read_header(folder / _NAME.format(len(headers)))
        if header is None or not header.whole:
            return headers
        headers.append(header)


def _where_to_continue(kept: list[SegmentHeader]) -> int:
    """Number of the segment to begin with: a new encoder needs some frames to settle, and a group to compare."""
    frames = keys = 0
    for number in range(len(kept) - 1, -1, -1):
        frames, keys = frames + kept[number].frames, keys + kept[number].keys
        if frames >= _SETTLING_FRAMES and keys >= 2:
            return number
    return 0


def _same_last_group(one: Path, other: Path, encoder: av.VideoCodecContext) -> bool:
    """Whether two segments show the same from their last key frames on, to the bit. Packets may differ in numbering."""
    try:
        return _last_group(one, encoder) == _last_group(other, encoder)
    except av.FFmpegError:
        return False


def _last_group(path: Path, encoder: av.VideoCodecContext) -> str:
    """Digest of the decoded frames from the last key frame on."""
    group: list[av.Packet[Any]] = []
    with path.open("rb") as file:
        for packet in _packets(path, file):
            group = [packet] if packet.is_keyframe else [*group, packet]
    codec = encoder.codec.canonical_name
    decoder: Any = av.CodecContext.create(_DECODERS.get(codec, codec), "r")
    decoder.width, decoder.height, decoder.extradata = encoder.width, encoder.height, encoder.extradata
    digest = hashlib.sha256()
    for frame in [frame for packet in [*group, None] for frame in decoder.decode(packet)]:
        digest.update(frame.to_ndarray())
    return digest.hexdigest()


def _join(sink: VideoSink, segments: list[Path]) -> None:
    """Write the packets of segments, in their order, through an open sink; the caller closes it.

    Raises:
        MediaError: one is damaged, or encoded otherwise than the others.
    """
    parameters: tuple[str, str] | None = None
    for path in segments:
        header = read_header(path)
        if header is None:
            raise MediaError(f"{path} is damaged. Remove it, and continue with --resume.")
        parameters = parameters or (header.encoder, header.parameters)
        if (header.encoder, header.parameters) != parameters:
            raise MediaError(
                f"{path} was encoded otherwise than the segments before it, perhaps by another version of the encoder. "
                f"Remove the folder {path.parent} and begin again."
            )
        try:
            with path.open("rb") as file:
                sink.write_encoded(_packets(path, file), header.frames, header.first, header.end, parameters)
        except OSError as error:
            if isinstance(error, MediaError):
                raise
            raise MediaError(f"{path} cannot be read: {reason(error)}.") from error


def _packets(path: Path, file: BinaryIO) -> Iterator[av.Packet[Any]]:
    file.seek(len(_MAGIC))
    while (head := file.read(_PACKET.size)) != _END:
        if len(head) < _PACKET.size:
            raise MediaError(f"{path} is cut off. Remove it, and continue with --resume.")
        pts, dts, duration, key, size = _PACKET.unpack(head)
        packet: av.Packet[Any] = av.Packet(file.read(size))
        packet.pts, packet.dts, packet.duration = pts, dts, duration
        packet.is_keyframe = bool(key)
        yield packet


def count_kept(folder: Path) -> int:
    """How many whole segments a folder has."""
    return len(_kept(folder))


def is_cut_off(path: Path, folder: Path) -> bool:
    """Whether a file is what a stopped run made of the segments in ``folder``, to be replaced by the one that ends."""
    try:
        state = os.stat(path)
        return bool(read_json(folder / _CUT_OFF) == [state.st_size, state.st_mtime_ns])
    except (OSError, ValueError):
        return False


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written at the end, before hours of work.

    Raises:
        MediaError: it exists, or is a folder.
    """
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected the name of a file to write.")
    if os.path.lexists(path) and not overwrite:
        raise cannot_write(path, FileExistsError())
