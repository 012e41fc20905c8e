"""The streams of a video that are not translated: audio, subtitles, fonts, covers."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Discard, Disposition

from ..base import FileInfo, Notes
from .codecs import ContainerKind
from .source import open_input, stream_info

_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT: clocks that begin anywhere and may jump

_LONGEST_TITLE_S = 10  # how far before a cut titles are looked for that are still shown

# Written by muxers about the file that they made, not by people about its content.
_MUXER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "rotate", "vendor_id"}


class CopiedStreams:
    """The other streams of the source, read beside the frames and written in step with them.

    Reading the file a second time needs no queue between decoder and encoder, however far apart they are.
    """

    def __init__(self, file: FileInfo, output: OutputContainer, kind: ContainerKind, notes: Notes) -> None:
        self._output = output
        self._begin: Fraction | None = None
        self._end: Fraction | None = None
        if file.trim is not None:
            self._begin, self._end = file.trim
        self._trimmed = file.trim is not None
        self._input = open_input(file.path)
        self._routes: dict[int, _Route] = {}
        self._offset = Fraction(0)
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        for stream in self._input.streams:
            if stream.index == file.stream_index:
                main = output.streams.video[0]
                main.metadata.update(written_by_people(stream.metadata))
                main.disposition = stream.disposition
                if self._input.format.flags & _TS_DISCONT and stream.start_time and not file.trim:
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

    def _route(self, stream: Any, kind: ContainerKind, notes: Notes) -> _Route | None:
        """Where a stream's packets go; None, with a note, if the output cannot take them."""
        name = f"{stream.type} stream {stream.index}"
        codec = stream_info(stream).codec
        cover = stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)
        if stream.type == "video" and not cover:
            notes.add(f"{name} is left out: one video is translated")
            return None
        if stream.type in ("data", "unknown") or (stream.type == "attachment" and kind.format != "matroska"):
            notes.add(f"{name} ({codec}) is left out: {kind.format} files written here do not carry it")
            return None
        route: _Route
        context = stream.codec_context
        if stream.type == "attachment" or _holds(kind, stream):
            route = _Route(self._output.add_stream_from_template(stream, opaque=True))
        elif stream.type == "audio" and context is not None:
            notes.add(f"{name} is encoded again as {kind.audio}: {kind.format} files cannot hold {codec}")
            route = _SoundRecoder(stream, self._output, kind.audio)
        elif stream.type == "subtitle" and context is not None and context.codec.text_sub:
            notes.add(f"{name} is encoded again as {kind.subtitles}: {kind.format} files cannot hold {codec}")
            route = _TextRecoder(stream, self._output, kind.subtitles)
        else:
            notes.add(f"{name} is left out: {kind.format} files cannot hold {codec}")
            return None
        route.stream.metadata.update(written_by_people(stream.metadata))
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
                self._input.seek(max(0, int((first - _LONGEST_TITLE_S) * 1_000_000)))
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
            if packet.stream.disposition & Disposition.attached_pic and packet.size:
                packet.pts = packet.dts = round(self._offset / packet.time_base)  # a cover has no time
            if packet.dts is None and packet.pts is None:
                continue  # the demuxer's flush packets
            time = self._time(packet, shown=True)
            if self._trimmed and self._begin is not None and packet.stream.type == "subtitle" and time < self._begin:
                time = self._begun_before(packet, time, self._begin)
            if self._trimmed and self._begin is not None and time < self._begin:
                continue
            if self._trimmed and self._end is not None and time >= self._end:
                continue
            return packet
        return None

    @staticmethod
    def _begun_before(packet: Any, time: Fraction, begin: Fraction) -> Fraction:
        """Let a title that is still shown at ``begin`` begin there; its time then."""
        end = time + (packet.duration or 0) * packet.time_base
        if end <= begin:
            return time
        ticks = math.ceil(begin / packet.time_base)
        packet.duration -= ticks - packet.pts
        packet.pts = packet.dts = ticks
        return Fraction(ticks * packet.time_base)

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


def _holds(kind: ContainerKind, stream: Any) -> bool:
    """Whether a container takes a stream's packets as they are; only writing a header tells for certain."""
    try:
        trial = av.open(io.BytesIO(), "w", format=kind.format)
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    trial.close()
    return True


class _Route:
    """Takes a stream's packets to the output as they are."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._last: int | None = None

    def write(self, packet: Any, offset: Fraction, output: OutputContainer) -> None:
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

    def flush(self, output: OutputContainer) -> None:
        """Write what is held back."""


class _SoundRecoder(_Route):
    """Decodes an audio stream and encodes it again, for containers that cannot hold it."""

    def __init__(self, source: Any, output: OutputContainer, codec: str) -> None:
        context = source.codec_context
        rate = 48000 if codec == "libopus" else context.sample_rate
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = context.layout.name
        stream.codec_context.bit_rate = 80_000 * max(1, context.layout.nb_channels)
        super().__init__(stream)
        self._resampler: av.AudioResampler | None = None

    def write(self, packet: Any, offset: Fraction, output: OutputContainer) -> None:
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= round(offset / frame.time_base)
            self._encode(frame, output)

    def _encode(self, frame: av.AudioFrame | None, output: OutputContainer) -> None:
        context = self.stream.codec_context
        if self._resampler is None:
            context.open(strict=False)
            self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate, context.frame_size)
        for piece in self._resampler.resample(frame):
            output.mux(self.stream.encode(piece))

    def flush(self, output: OutputContainer) -> None:
        if self._resampler is not None:
            self._encode(None, output)
            output.mux(self.stream.encode(None))


class _TextRecoder(_Route):
    """Decodes a stream of text subtitles and encodes it again, for containers that cannot hold it."""

    def __init__(self, source: Any, output: OutputContainer, codec: str) -> None:
        self._decoder = source.codec_context
        self._decoder.open(strict=False)  # only an open decoder has the styles
        stream = output.add_stream(codec)
        assert isinstance(stream, av.subtitles.stream.SubtitleStream)
        stream.codec_context.subtitle_header = self._decoder.subtitle_header
        super().__init__(stream)

    def write(self, packet: Any, offset: Fraction, output: OutputContainer) -> None:
        subtitle = self._decoder.decode2(packet)
        if subtitle is not None and len(subtitle):
            encoded = self.stream.codec_context.encode_subtitle(subtitle)
            encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.dts, packet.duration
            encoded.time_base = packet.time_base
            super().write(encoded, offset, output)


def written_by_people(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that people wrote, without those of the muxer that made the file."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _MUXER_TAGS and not key.startswith(("_STATISTICS", "NUMBER_OF_", "BPS", "DURATION-"))
    }
