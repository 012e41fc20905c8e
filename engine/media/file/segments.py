"""A long video in segments: each is encoded by itself and kept as its packets; at the end they become one file.

What is kept is what the encoder gave, so that the file is the one that the container's writer makes of these packets,
with sound, titles and chapters as in any other: nothing is encoded twice, and there is no seam in the sound.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
from av.container import OutputContainer

from ...errors import MediaError, reason
from ...files import OutputFile, cannot_write, parse_json
from ..base import FrameFormat
from .codecs import ContainerKind
from .sink import VideoSink

_MAGIC = b"ganlens-segment/1\n"
_PACKET = struct.Struct("<qqqII")
"""Presentation and decoding time and duration in ticks, flags (1 key frame), bytes."""
_END = struct.Struct("<qqqII").pack(0, 0, 0, 0xFFFFFFFF, 0)
NUMBERED = "{:06d}.segment"


class SegmentHeader(NamedTuple):
    """What a segment says of itself."""

    encoder: str
    parameters: str
    """The encoder's parameter sets, in hexadecimal: equal in all segments of a file."""
    frames: int
    first: Fraction | None
    """Time of its first frame in seconds; None if it has none."""
    end: Fraction
    notes: tuple[str, ...]


class SegmentSink(VideoSink):
    """Encodes frames as a :class:`VideoSink` for ``output`` would, into a file of packets.

    Args:
        output: the file that the segments will become; its suffix chooses the container.
        path: of the segment.
        format, options: as of :class:`VideoSink`.
    """

    def __init__(self, output: Path, path: Path, format: FrameFormat, **options: Any) -> None:
        self._place = path
        self._first: Fraction | None = None
        super().__init__(output, format, **{**options, "overwrite": True, "origin": None})
        try:
            self._file.write(_MAGIC)
        except BaseException:
            self.abort()
            raise

    def _open_file(self, overwrite: bool) -> OutputFile:
        return OutputFile(self._place, overwrite=overwrite)

    def _open_output(self, kind: ContainerKind) -> OutputContainer:
        return av.open(io.BytesIO(), "w", format=kind.format)

    def write(self, frame: Any) -> None:
        """As of :class:`VideoSink`."""
        super().write(frame)
        if self._first is None:
            self._first = frame.time

    def _mux(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None and packet.dts is not None
            # Encoders may give times in a unit of their own.
            scale = packet.time_base / self.format.time_base
            times = (round(ticks * scale) for ticks in (packet.pts, packet.dts, packet.duration or 0))
            self._file.write(_PACKET.pack(*times, int(packet.is_keyframe), packet.size))
            self._file.write(bytes(packet))
        self._file.check()

    def close(self, *, complete: bool = True) -> None:
        """Finish the segment; one that was stopped is removed, to be made again as a whole."""
        if self._file.done:
            return
        try:
            if complete:
                context = self._stream.codec_context
                if self.frames:
                    self._mux(self._stream.encode(None))
                values = {
                    "encoder": context.codec.name,
                    "parameters": (context.extradata or b"").hex() if self.frames else "",
                    "frames": self.frames,
                    "first": None if self._first is None else str(self._first),
                    "end": str(self._end),
                    "notes": list(self.notes),
                }
                text = json.dumps(values).encode()
                self._file.write(_END + text + struct.pack("<I", len(text)))
                self._file.commit()
        except av.FFmpegError as error:
            raise self._failed(error) from error
        finally:
            self.abort()


def read_header(path: Path) -> SegmentHeader | None:
    """What a segment says of itself; None if it is missing or not whole."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            end = file.seek(-4, os.SEEK_END)
            (length,) = struct.unpack("<I", file.read(4))
            file.seek(end - length - len(_END))
            if file.read(len(_END)) != _END:
                return None
            values = parse_json(file.read(length))
            first = None if values["first"] is None else Fraction(values["first"])
            return SegmentHeader(
                str(values["encoder"]),
                str(values["parameters"]),
                int(values["frames"]),
                first,
                Fraction(values["end"]),
                tuple(map(str, values["notes"])),
            )
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def join(sink: VideoSink, segments: list[Path]) -> None:
    """Write the packets of segments, in their order, through an open sink; the caller closes it.

    Raises:
        MediaError: one is damaged, or encoded otherwise than the others.
    """
    parameters: tuple[str, str] | None = None
    for path in segments:
        header = read_header(path)
        if header is None:
            raise MediaError(f"{path} is damaged. Remove it, and go on with --resume.")
        if not header.frames:
            continue
        parameters = parameters or (header.encoder, header.parameters)
        if (header.encoder, header.parameters) != parameters:
            raise MediaError(
                f"{path} was encoded otherwise than the segments before it, perhaps by another version of the encoder. "
                f"Remove the folder {path.parent} and begin again."
            )
        assert header.first is not None
        try:
            with path.open("rb") as file:
                sink.write_encoded(_packets(path, file), header.frames, header.first, header.end, parameters)
        except OSError as error:
            if isinstance(error, MediaError):
                raise
            raise MediaError(f"{path} cannot be read: {reason(error)}.") from error
        for note in header.notes:
            sink.notes.add(note)


def _packets(path: Path, file: BinaryIO) -> Iterator[av.Packet[Any]]:
    file.seek(len(_MAGIC))
    while (head := file.read(_PACKET.size)) != _END:
        if len(head) < _PACKET.size:
            raise MediaError(f"{path} is cut off. Remove it, and go on with --resume.")
        pts, dts, duration, key, size = _PACKET.unpack(head)
        packet: av.Packet[Any] = av.Packet(file.read(size))
        packet.pts, packet.dts, packet.duration = pts, dts, duration
        packet.is_keyframe = bool(key)
        yield packet


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written at the end, before hours of work.

    Raises:
        MediaError: it exists, or is a folder.
    """
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected the name of a file to write.")
    if os.path.lexists(path) and not overwrite:
        raise cannot_write(path, FileExistsError())
