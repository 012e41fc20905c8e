"""The streams of a video that are not translated: audio, subtitles, fonts, covers."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
from av.container import OutputContainer
from av.stream import Discard, Disposition

from ...errors import reason
from .. import limits
from ..base import FileInfo, Notes
from ..libav import fraction
from .codecs import ContainerKind
from .source import JOIN_S, TS_DISCONT, open_input, stream_info

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
        self._notes = notes
        self._lost: dict[int, tuple[int, str]] = {}
        for stream in self._input.streams:
            if stream.index == file.stream_index:
                main = output.streams.video[0]
                main.metadata.update(written_by_people(stream.metadata))
                main.disposition = stream.disposition
                if self._input.format.flags & TS_DISCONT and stream.start_time and not file.trim:
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
            route = _Route(_copy_parameters(stream, self._output))
        elif context is not None and not limits.may_decode(context.codec.name):
            notes.add(f"{name} is left out: its decoder '{context.codec.name}' is not used by default; see --allow")
            return None
        elif stream.type == "audio" and context is not None:
            notes.add(f"{name} is encoded again as {kind.audio}: {kind.format} files cannot hold {codec}")
            route = _SoundRecoder(stream, self._output, kind.audio)
            if route.channels != context.layout.nb_channels:
                notes.add(f"{name} has {context.layout.nb_channels} channels; {kind.audio} gets {route.channels}")
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
            base = fraction(chapter["time_base"])
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
            self._packets = self._read(streams)
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
            index = packet.stream.index
            try:
                self._routes[index].write(packet, self._offset, self._output)
            except av.FFmpegError as error:  # a fault of one packet is no reason to lose the video
                self._lose(index, error)

    def _lose(self, index: int, error: Exception) -> None:
        """Count a packet that is left out."""
        count, first = self._lost.get(index, (0, reason(error)))
        self._lost[index] = (count + 1, first)

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

    def _read(self, streams: list[Any]) -> Iterator[Any]:
        """The packets, up to where nothing can be read any more."""
        try:
            yield from self._input.demux(*streams)
        except av.FFmpegError as error:
            self._notes.add(f"the other streams cannot be read to their end ({reason(error)})")

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
        """Write what is left, up to ``end`` in the output's times, and note what could not be."""
        self.write_until(end)
        for index, route in self._routes.items():
            try:
                route.flush(self._output)
            except av.FFmpegError as error:
                self._lose(index, error)
        for index, (count, first) in self._lost.items():
            stream = self._input.streams[index]
            what = "1 packet that cannot be used is" if count == 1 else f"{count} packets that cannot be used are"
            self._notes.add(f"{stream.type} stream {index}: {what} left out ({first})")

    def close(self) -> None:
        self._input.close()


def _holds(kind: ContainerKind, stream: Any) -> bool:
    """Whether a container takes a stream's packets as they are; only writing a file tells for certain."""
    try:
        trial = av.open(io.BytesIO(), "w", format=kind.format)
        made = _copy_parameters(stream, trial)
        trial.start_encoding()
        if stream_info(stream).codec.startswith("pcm_"):  # whose channels are looked at when the index is written
            packet = av.Packet(bytes(64))
            packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = made, 0, 0, 1, made.time_base
            trial.mux_one(packet)
        trial.close()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _copy_parameters(stream: Any, output: OutputContainer) -> Any:
    """A stream of the output for the packets of another one.

    Channels that the source counts but does not name (PCM in Matroska) get their usual names, without which MP4 takes
    none.
    """
    made = output.add_stream_from_template(stream, opaque=True)
    context = stream.codec_context
    if stream.type == "audio" and context is not None and context.layout.name.endswith(" channels"):
        usual = _LAYOUTS.get(context.layout.nb_channels)
        if usual is not None:
            cast(Any, made).codec_context.layout = usual
    return made


class _Route:
    """Takes a stream's packets to the output as they are."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._last: Fraction | None = None  # decoding time of the packet before, in the output's ticks
        self._jumped = Fraction(0)  # what clocks that stepped back are late by, in seconds

    def write(self, packet: Any, offset: Fraction, output: OutputContainer) -> None:
        """Write a packet, ``offset`` seconds earlier than it says."""
        base, tick = packet.time_base, self.stream.time_base
        shift = round((offset - self._jumped) / base)
        if packet.dts is not None and self._last is not None:
            late = self._last * tick - (packet.dts - shift) * base
            if late > JOIN_S:  # recordings that were joined: the second one's clock begins again
                self._jumped += late + (packet.duration or 1) * base
                shift = round((offset - self._jumped) / base)
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
            # Times must rise in the ticks of the output, which may be longer than those of the source.
            ticks = round(packet.dts * base / tick)
            if self._last is not None and ticks <= self._last:
                ticks = int(self._last) + 1
                packet.pts = max(ticks, round((packet.pts if packet.pts is not None else packet.dts) * base / tick))
                packet.dts, packet.duration = ticks, round((packet.duration or 0) * base / tick)
                packet.time_base = tick
            self._last = Fraction(ticks)
        packet.stream = self.stream
        output.mux_one(packet)

    def flush(self, output: OutputContainer) -> None:
        """Write what is held back."""


_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Channel layouts by their number of channels that encoders take: of layouts with the same channels elsewhere (side for
back) libopus takes one, and libav's wrapper may crash where it refuses."""
_AAC_LAYOUTS = {**_LAYOUTS, 4: "4.0"}
_GAP_S = 0.05
"""Seconds of sound that may be missing or doubled before its place is mended."""


class _SoundRecoder(_Route):
    """Decodes an audio stream and encodes it again, for containers that cannot hold it.

    What the encoder gets is settled at the start, within its limits; what the source has may change on its way.
    """

    def __init__(self, source: Any, output: OutputContainer, codec: str) -> None:
        given = source.codec_context
        encoder = av.codec.Codec(codec, "w")
        layouts = _LAYOUTS if codec == "libopus" else _AAC_LAYOUTS
        channels = given.layout.nb_channels or 2
        layout = given.layout.name if given.layout.name in layouts.values() else layouts.get(channels, "stereo")
        rate = _nearest_rate(given.sample_rate or 48000, encoder.audio_rates)
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = layout
        self.channels = stream.codec_context.layout.nb_channels
        stream.codec_context.bit_rate = 80_000 * max(1, self.channels)
        super().__init__(stream)
        self._given: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None
        self._fifo = av.AudioFifo()
        self._begin: Fraction | None = None
        """When the first sample is heard, in seconds."""
        self._samples = 0
        """Put into the queue before the encoder so far."""
        self._encoded = 0

    def write(self, packet: Any, offset: Fraction, output: OutputContainer) -> None:
        """Decode a packet, and encode what is whole of it."""
        for frame in packet.decode():
            time = None if frame.pts is None else frame.pts * frame.time_base - offset
            self._take(frame, time)
            self._encode(output)

    def _take(self, frame: av.AudioFrame, time: Fraction | None) -> None:
        """Put a decoded frame into the queue, in the encoder's format and at its time."""
        context = self.stream.codec_context
        if not context.is_open:
            context.open(strict=False)
        given = (frame.format.name, frame.layout.name, frame.sample_rate)
        if given != self._given:
            self._drain()
            self._given = given
            self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
        if time is not None:
            if self._begin is None:
                self._begin = max(time, Fraction(0))
            missing = round((time - self._begin) * context.sample_rate) - self._samples
            if missing > _GAP_S * context.sample_rate:
                self._silence(min(missing, _LONGEST_SILENCE_S * context.sample_rate))
        assert self._resampler is not None
        frame.pts = None
        for piece in self._resampler.resample(frame):
            self._queue(piece)

    def _drain(self) -> None:
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                self._queue(piece)
            self._resampler = None

    def _silence(self, samples: int) -> None:
        """Fill a gap, so that what follows is heard at its time."""
        context = self.stream.codec_context
        while samples > 0:
            count = min(samples, 4096)
            piece = av.AudioFrame(context.format.name, context.layout.name, count)
            for plane in piece.planes:
                plane.update(bytes(plane.buffer_size))
            piece.sample_rate = context.sample_rate
            self._queue(piece)
            samples -= count

    def _queue(self, piece: av.AudioFrame) -> None:
        piece.pts, piece.time_base = None, Fraction(1, piece.sample_rate)
        self._fifo.write(piece)
        self._samples += piece.samples

    def _encode(self, output: OutputContainer, *, all_of_it: bool = False) -> None:
        context = self.stream.codec_context
        size = context.frame_size or 1024
        while True:
            piece = self._fifo.read(size, partial=all_of_it)
            if piece is None:
                return
            begin = round((self._begin or 0) * context.sample_rate)
            piece.pts, piece.time_base = begin + self._encoded, Fraction(1, context.sample_rate)
            self._encoded += piece.samples
            output.mux(self.stream.encode(piece))

    def flush(self, output: OutputContainer) -> None:
        if self.stream.codec_context.is_open:
            self._drain()
            self._encode(output, all_of_it=True)
            output.mux(self.stream.encode(None))


_LONGEST_SILENCE_S = 3600


def _nearest_rate(rate: int, known: list[int] | None) -> int:
    """The lowest rate of an encoder that keeps all that ``rate`` holds, or else its highest."""
    if not known or rate in known:
        return rate
    return min((each for each in known if each >= rate), default=max(known))


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
