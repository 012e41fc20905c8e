"""Reading videos."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import av
import av.filter
import numpy as np
from av.codec.hwaccel import HWAccel
from av.stream import Discard, Disposition
from av.video.reformatter import ColorRange, ColorTrc, VideoReformatter

from ...errors import BackendUnavailable, MediaError, OptionError, reason
from ...pixels.frame import Color, Matrix, PixelFormat, Siting
from .. import limits
from ..av_frames import (
    BEST,
    FULL_RANGE,
    DeviceFrame,
    FramePool,
    Orientation,
    VideoFrame,
    copy_tags,
    downloaded,
    on_gpu,
    plane_views,
    stored_format,
)
from ..base import ColorTags, FileInfo, FrameFormat, Notes, StreamInfo
from ..libav import fraction, open_to_read
from . import hardware
from .hardware import OF_NVDEC, Coder, DecoderName, Problem

NATIVE_FORMATS: dict[str, PixelFormat] = {
    "yuv420p": "yuv420p",
    "yuvj420p": "yuv420p",
    "nv12": "nv12",
    "rgb24": "rgb24",
}
MATRICES: dict[int, Matrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)$")
_CENTER_SITED = {"mjpeg", "mpeg1video", "theora", "vp8", "webp"}
OnError = Literal["skip", "stop"]
OPEN_S = 20.0
"""How long the first packets of a file are searched for: libav reads to the end if it finds none."""
JOIN_S = Fraction(1, 2)
"""Seconds that a clock must step back for what follows to be another recording."""
MOST_SKIPPED = 0.05
"""Share of the frames that may be left out because they cannot be decoded."""
TS_DISCONT = 0x0200
"""AVFMT_TS_DISCONT: containers whose clocks begin anywhere and may jump."""
_HDR = {int(ColorTrc.SMPTE2084): "PQ (HDR10)", int(ColorTrc.ARIB_STD_B67): "HLG"}


class VideoSource:
    """The frames of a video file, upright and in presentation order.

    Frames of ``yuv420p``, ``nv12`` and ``rgb24`` come as views of the decoder's own memory; other pixel formats are
    converted once (to ``yuv420p``, or ``rgb24`` for RGB, grey and palette pictures), which ``notes`` says. NVDEC
    gives ``nv12``, after :meth:`keep_on_device` in the GPU's memory.

    Args:
        path: the file.
        start: seconds after the first frame at which to begin; the first frame is the first that begins there or later.
        duration: seconds to read from there; None reads to the end.
        threads: decoder threads; 0 takes one per core. NVDEC needs none.
        decoder: "nvdec" decodes on the GPU or fails; "auto" does so where that works; "cpu". ``decoder`` says which it
            became, and why.
        device: which GPU decodes.
        hdr: "error" refuses PQ and HLG; "tonemap" converts them to standard BT.709.
        on_error: "skip" leaves out frames that cannot be decoded, and counts them in ``skipped`` and ``notes``, up to
            5 % of the video; "stop" raises at the first. What a file lacks at its end counts too if it states its
            number of frames; the error then says that the frames before are all there is (``at_end``).

    Raises:
        MediaError: the file cannot be read as a video, or, while iterating, too much of it is damaged.
        BackendUnavailable: NVDEC was asked for by name and does not decode this file here.
    """

    live = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: float | None = None,
        duration: float | None = None,
        threads: int = 1,
        decoder: DecoderName = "cpu",
        device: int = 0,
        hdr: Literal["error", "tonemap"] = "error",
        on_error: OnError = "skip",
    ) -> None:
        if start is not None and not 0 <= start < math.inf:
            raise OptionError(f"start is {start} s; expected 0 or more")
        if duration is not None and not 0 < duration < math.inf:
            raise OptionError(f"duration is {duration} s; expected more than 0")
        if hdr not in ("error", "tonemap"):
            raise OptionError(f"hdr is {hdr!r}; expected 'error' or 'tonemap'")
        if on_error not in get_args(OnError):
            raise OptionError(f"on_error is {on_error!r}; expected 'skip' or 'stop'")
        if decoder not in get_args(DecoderName):
            raise OptionError(f"decoder is {decoder!r}; expected one of {', '.join(get_args(DecoderName))}")
        self.path: Path = Path(path)
        self.notes: Notes = Notes()
        self._threads = threads
        self._decoded: Iterator[tuple[av.VideoFrame, Fraction]] = iter(())
        self._waiting: tuple[av.VideoFrame, Fraction] | None = None  # decoded, not yet given
        self._in_use = threading.Lock()
        self._last: int | None = None  # time of the last decoded one, in ticks
        self._given = 0  # frames given so far
        self.skipped: int
        """Frames that could not be decoded, of those read so far."""
        self._on_error = on_error
        self._first_fault = ""
        self.frames: int | None = None
        self._timeless = False  # whether pictures had no time
        self._hardware: HWAccel | None = None
        self._only_hardware = decoder == "nvdec"
        self._device = device
        self._kept = False  # whether frames stay in the GPU's memory
        self._container = open_input(self.path)
        self._fresh = True  # whether nothing was given yet
        self._resumed: tuple[Fraction, int] | None = None
        try:
            self._open_stream()
            self.decoder: Coder = self._choose_decoder(decoder)
            self._tonemap = _ToneMap() if hdr == "tonemap" else None
            self._describe(_seconds(start), _seconds(duration))
        except BaseException:
            self._container.close()
            raise

    def _open_stream(self) -> None:
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            kinds = sorted({stream.type for stream in self._container.streams})
            raise MediaError(f"{self.path} has no video{', only ' + ' and '.join(kinds) if kinds else ''}.")
        best = self._container.streams.best("video")
        self._stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        if self._stream.codec_context is None:
            raise MediaError(f"{self.path}: this build of PyAV has no decoder for its video.")
        limits.check_decoder(self.path, self._stream.codec_context.codec.name)
        limits.check_frame(self.path, self._stream.codec_context.width, self._stream.codec_context.height)
        for stream in self._container.streams:
            if stream.index != self._stream.index:
                stream.discard = Discard.all
        context = self._stream.codec_context
        threads = 1 if self._hardware is not None else self._threads
        context.thread_count = threads
        context.thread_type = "NONE" if threads == 1 else "AUTO"
        context.options = {**context.options, **limits.decoder_options()}
        tick = fraction(self._stream.time_base)
        assert tick is not None
        self._tick = tick
        self._rate = believable_rate(self.path, self._stream)
        self._restart()

    def _choose_decoder(self, wanted: DecoderName) -> Coder:
        """Choose the decoder: the requested one, or the first that works. It is open afterwards."""
        context = self._stream.codec_context
        # Not pix_fmt: PyAV 17, the newest for Python 3.10, crashes there if the file does not state the format.
        self._stored_format = context.format.name if context.format is not None else ""
        if wanted == "cpu":
            return Coder("cpu")
        problem = hardware.nvdec_problem(context.codec, self._device) or self._try_hardware()
        if problem is None:
            return Coder("nvdec", f"nvdec: decoding {context.codec.canonical_name}")
        if wanted == "nvdec":
            raise BackendUnavailable(
                f"--decoder nvdec cannot decode {self.path}: {problem} Use --decoder auto, or cpu."
            )
        if self._hardware is not None:
            self._hardware = None
            self._reopen()
        return Coder("cpu", f"nvdec: {problem.reason}; decoding {context.codec.canonical_name} on the CPU")

    def _try_hardware(self) -> Problem | None:
        """Open the stream for NVDEC and decode its first picture; why that was not NVDEC's work, or None."""
        self._hardware = hardware.cuda(self._device)
        first: tuple[av.VideoFrame, Fraction] | None = None
        error: BaseException | None = None
        with hardware.complaints() as said:
            try:
                self._reopen()
                first = next(self._decoded, None)
            except MediaError as caught:
                error = caught.__cause__ or caught
        self._waiting = first
        return hardware.nvdec_refusal(said, error, None if first is None else first[0])

    def _describe(self, start: Fraction | None, duration: Fraction | None) -> None:
        """Decode the first frame, which determines the format of all frames."""
        first = self._waiting or next(self._decoded, None)
        if first is None:
            raise MediaError(f"{self.path} has a video stream, but no frame in it can be decoded.")
        self._waiting = first
        picture, time = downloaded(first[0]), first[1]
        transfer = _HDR.get(picture.color_trc)
        if transfer is not None and self._tonemap is None:
            raise MediaError(
                f"{self.path} is high dynamic range video, {transfer}; the models take standard range only. "
                "Convert it with --hdr tonemap."
            )
        if transfer is not None:
            self.notes.add(f"high dynamic range video, {transfer}, is tone-mapped to standard BT.709")
        else:
            self._tonemap = None
        self._orientation = Orientation.of(picture)
        self._target = target_format(picture)
        stored = self._stored_format if picture.format.name in OF_NVDEC and self._hardware else picture.format.name
        if picture.format.name not in NATIVE_FORMATS and transfer is None:
            self.notes.add(f"pixel format {stored} is converted to {self._target}, 8 bit")
        if any(part.is_alpha for part in picture.format.components) or self._stream.metadata.get("alpha_mode") == "1":
            self.notes.add("the video's alpha is dropped")  # VP8 and VP9 keep it beside the picture
        if picture.interlaced_frame:
            self.notes.add("the video is interlaced; its frames are translated whole, not deinterlaced")
        self._reformatter = VideoReformatter()
        self._colors: dict[tuple[int, int, str], Color] = {}
        picture = self._native(picture)
        width, height = picture.width, picture.height
        if self._orientation.transpose:
            width, height = height, width
        self._pool = FramePool(width, height, self._target)
        self._stored_size = (picture.width, picture.height)
        self._on_gpu = (  # in a form that the kernels and NVENC read as it is
            on_gpu(first[0])
            and stored_format(first[0]) == self._target == "nv12"
            and self._orientation == Orientation()
            and self._tonemap is None
            and not any(length % 2 for length in self._stored_size)
        )

        stream, context = self._stream, self._stream.codec_context
        if self._timeless and picture.duration:  # bare streams say how long a picture lasts, their demuxers guess
            self._rate = 1 / (picture.duration * self._tick)
        self._origin = time
        begin = time + (start or 0)
        end = None if duration is None else begin + duration
        whole = self._length()
        part = whole if whole is None else max(Fraction(0), whole - (start or 0))
        if duration is not None:
            part = duration if part is None else min(part, duration)
        frames = stream.frames or None
        if (start or duration or not frames) and part is not None and self._rate:
            frames = round(part * self._rate)
        aspect = fraction(stream.sample_aspect_ratio) or Fraction(1)
        self.frames = frames
        self.format: FrameFormat = FrameFormat(
            size=(height, width),
            pixels=self._target,
            rate=self._rate,
            time_base=self._tick,
            color=self._color(picture),
            tags=ColorTags(picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc),
            pixel_aspect=1 / aspect if self._orientation.transpose else aspect,
        )
        self._trim = None if start is None and duration is None else (begin, end)
        self.file: FileInfo = FileInfo(
            path=self.path,
            container=self._container.format.name,
            codec=context.codec.name,
            stored_format=stored,
            rotation=self._orientation.degrees,
            duration=part,
            trim=self._trim,
            stream_index=stream.index,
            streams=tuple(stream_info(s) for s in self._container.streams),
            metadata=dict(self._container.metadata),
        )

    def keep_on_device(self, device: int) -> bool:
        """See :class:`~..base.DeviceSource`."""
        self._kept = self._on_gpu and device == self._device
        return self._kept

    def _length(self) -> Fraction | None:
        """Seconds that the file states for the video, or else for the longest stream."""
        if self._stream.duration:
            return self._stream.duration * self._tick
        stated = _DURATION_TAG.match(self._stream.metadata.get("DURATION", ""))
        if stated:
            return 3600 * Fraction(stated[1]) + 60 * Fraction(stated[2]) + Fraction(stated[3])
        if self._container.duration:
            return Fraction(self._container.duration, 1_000_000)
        return None

    def _restart(self) -> None:
        self._waiting = None
        self._last = None
        self._missed = self.skipped = 0
        self._jumped = 0
        self._decoded = self._decode()

    def _reopen(self) -> None:
        self._container.close()
        self._container = open_input(self.path, hardware=self._hardware)
        self._open_stream()

    def _decode(self) -> Iterator[tuple[av.VideoFrame, Fraction]]:
        """Pictures as decoded, with their times."""
        for packet in self._read_packets():
            try:
                pictures = packet.decode() if packet is not None else self._stream.codec_context.decode(None)
            except av.EOFError:  # the decoder was emptied before
                return
            except av.FFmpegError as error:
                # A stream cut out of a broadcast begins with pictures whose references are missing.
                if self._last is not None or not isinstance(error, av.InvalidDataError):
                    self._skip(error)
                else:
                    self._missed += 1
                continue
            for picture in pictures:
                self._check_hardware(picture)
                yield picture, self._pts(picture) * self._tick

    def _read_packets(self) -> Iterator[av.Packet[Any] | None]:
        """The stream's packets, at last an empty one that brings out what the decoder holds back."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:  # nothing can be read behind it
            left = max(1, self.frames - self._given) if self.frames and self._trim is None else 1
            try:
                self._skip(error, left)
            except MediaError as problem:
                problem.at_end = self._on_error == "skip" and self._hardware is None
                raise
            yield None

    def _skip(self, error: Exception, frames: int = 1) -> None:
        """Leave out frames that cannot be decoded.

        Raises:
            MediaError: none, or too many, may be left out.
        """
        if self._on_error == "stop" or self._hardware is not None:
            raise self._damaged(error) from error
        if not self.skipped:
            at = f"after frame {self._given}" if self._given else "before the first frame"
            self._first_fault = f"{at}: {reason(error)}"
        self.skipped += frames
        # Of a stream of unknown length the first hundred frames may lose a few.
        if self.skipped > max(1, MOST_SKIPPED * max(self.frames or 200, self._given + self.skipped)):
            raise self._damaged(error) from error

    def _check_hardware(self, picture: av.VideoFrame) -> None:
        """Notice where NVDEC gives up in the middle of a file, and libav goes on in software."""
        if self._last is None or self._hardware is None or stored_format(picture) in OF_NVDEC:
            return
        if self._only_hardware:
            problem = MediaError(
                f"{self.path}: NVDEC cannot decode frame {self._given + 1} and those after it "
                f"({stored_format(picture)}). Use --decoder auto, or cpu."
            )
            problem.frame_number = self._given + 1
            raise problem
        self.notes.add("NVDEC failed in the middle of the file; decoding the rest on the CPU")

    def _pts(self, picture: av.VideoFrame) -> int:
        """Presentation time in ticks, strictly rising; estimated where the file has none."""
        pts = picture.pts if picture.pts is not None else picture.dts
        step = picture.duration or (round(1 / (self._rate * self._tick)) if self._rate else 1) or 1
        if pts is None:
            self._timeless = True
            pts = -self._jumped if self._last is None else self._last + step - self._jumped
        pts += self._jumped
        if self._last is not None and (self._last - pts) * self._tick > JOIN_S:
            self._jumped += self._last + step - pts
            pts = self._last + step
            self.notes.add("timestamps jump back where recordings were joined; the parts are concatenated")
        if self._last is not None and pts <= self._last:
            self.notes.add("some frame times do not increase; they were moved by one tick")
            pts = self._last + 1
        self._last = pts
        return pts

    def _damaged(self, error: Exception) -> MediaError:
        at = f"after frame {self._given}" if self._given else "before the first frame"
        cure = ""
        if self._last is not None and self._given > 1:
            begin = self._trim[0] if self._trim else self._origin
            # Up to the last good frame, not with it: reading stops at the frame that no longer belongs.
            milliseconds = int((self._last * self._tick - begin) * 1000)
            cure = f" The part before can be translated with --duration {milliseconds / 1000:.3f}."
        if self._hardware is not None:
            cure += " It was NVDEC that failed; --decoder cpu may do better."
        lost = f"; {self.skipped} frames cannot be decoded, more than {MOST_SKIPPED:.0%}" if self.skipped else ""
        problem = MediaError(f"{self.path} is damaged or cut off: decoding failed {at} ({reason(error)}){lost}.{cure}")
        problem.frame_number = self._given + 1
        return problem

    def resume(self, time: Fraction, given: int) -> None:
        """Begin later, as if the frames before had been given already; what is wanted stays the same.

        Args:
            time: of the first frame that is given, in seconds.
            given: how many frames of the wanted part are before it.
        """
        self._resumed = (time, given)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames from the start of the wanted part; each call begins again."""
        frames = self._frames_from_start()
        while True:
            with self._in_use:
                frame = next(frames, None)
            if frame is None:
                return
            yield frame
            del frame  # or the pool would see the picture in use during the next one

    def _frames_from_start(self) -> Iterator[VideoFrame]:
        begin, end = self._trim or (None, None)
        if not self._fresh:
            self._reopen()
        self._fresh, self._given = False, 0
        half = self._tick / 2
        if self._resumed is not None:
            begin, self._given = self._resumed
        # Behind a jump of the clock no time can be sought: only reading tells how far it jumped.
        jumps = self._resumed is not None and self._container.format.flags & TS_DISCONT
        if begin is not None and begin > self._origin and not self._timeless and not jumps:
            self._seek(begin)
        for picture, time in self._upcoming():
            if begin is not None and time < begin - half:
                continue
            if end is not None and time >= end - half:
                return
            frame = self._frame(picture, time)
            self._given += 1
            yield frame
            del frame
        self._check_end()

    def _seek(self, begin: Fraction) -> None:
        """Go to the key frame before ``begin``; if the file's index misleads, back to the beginning."""
        try:
            self._container.seek(int(begin / self._tick), stream=self._stream)
            self._restart()
            landed = next(self._decoded, None)
        except (av.FFmpegError, MediaError):
            landed = None
        if landed is None or landed[1] > begin:
            self._reopen()
        else:
            self._waiting = landed

    def _upcoming(self) -> Iterator[tuple[av.VideoFrame, Fraction]]:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            yield waiting
        yield from self._decoded

    def _check_end(self) -> None:
        """Say what is missing: frames in between, and at the end as many as the file states."""
        if self._missed and self._trim is None and self._resumed is None:
            what = "1 frame" if self._missed == 1 else f"{self._missed} frames"
            self.notes.add(f"{what} that cannot be decoded before the first picture: left out")
        if self.skipped:
            what = (
                "1 frame that cannot be decoded is"
                if self.skipped == 1
                else f"{self.skipped} frames that cannot be decoded are"
            )
            self.notes.add(f"{what} left out (first {self._first_fault})")
        stated = self._stream.duration or "DURATION" in self._stream.metadata
        length = self._length() if stated else None
        if length is None or self._last is None or self._trim is not None:
            return
        seen = self._last * self._tick - self._origin
        says = f"the frames end at {float(seen):.2f} s, though the file states {float(length):.2f} s"
        stated_frames = self._stream.frames
        lacking = stated_frames - self._given - self.skipped > MOST_SKIPPED * stated_frames
        if lacking and length - seen > length / 20:
            problem = MediaError(
                f"{self.path} is cut off: got {self._given} of {stated_frames} frames; {says}. Download it again."
            )
            problem.at_end = self._on_error == "skip"
            raise problem
        if length - seen > max(Fraction(1), length / 20):
            self.notes.add(f"{says}; it may be cut off")

    def _frame(self, picture: av.VideoFrame, time: Fraction) -> VideoFrame:
        duration = picture.duration
        if self._kept and on_gpu(picture) and (picture.width, picture.height) == self._stored_size:
            return DeviceFrame(picture, self._color(picture), time, self._pool)
        picture = downloaded(picture)
        if (picture.width, picture.height) != self._stored_size:
            width, height = self._stored_size
            self.notes.add(
                f"the picture size changes from {width}x{height} to {picture.width}x{picture.height} at frame "
                f"{self._given + 1}; it is scaled to the first one"
            )
            picture = self._native(picture, self._stored_size)
        else:
            picture = self._native(picture)
        color = self._color(picture)
        planes = plane_views(picture, self._target, writable=False)
        upright = self._orientation == Orientation()
        if not upright or any(plane.strides[0] < 0 for plane in planes):
            turned = self._pool.take()
            copy_tags(picture, turned)
            targets = plane_views(turned, self._target)
            for target, plane in zip(targets, planes, strict=True):
                np.copyto(target, self._orientation.apply(plane))
            picture, planes = turned, targets
        picture.duration = duration
        return VideoFrame(planes, self._target, color, time, picture, self._pool)

    def _native(self, picture: av.VideoFrame, size: tuple[int, int] | None = None) -> av.VideoFrame:
        """The picture in a format that the kernels read.

        Args:
            size: (width, height) to scale it to.
        """
        width, height = size or (None, None)
        if size is None and self._tonemap is not None:
            return self._tonemap(picture)
        if size is None and NATIVE_FORMATS.get(picture.format.name) == self._target:
            return picture
        reformat = self._reformatter.reformat
        if is_grey(picture.format) and self._target == "yuv420p":
            # libswscale takes all grey for full range: told that the target is so too, it leaves the samples alone.
            grey = reformat(
                picture, width, height, "yuv420p", dst_color_range=ColorRange.JPEG, interpolation=BEST, threads=1
            )
            copy_tags(picture, grey)
            return grey
        return reformat(picture, width, height, self._target, interpolation=BEST, threads=1)

    def _color(self, picture: av.VideoFrame) -> Color:
        key = (picture.colorspace, picture.color_range, picture.format.name)
        if key not in self._colors:
            matrix = MATRICES.get(picture.colorspace)
            if matrix is None:  # players guess by the size as well
                matrix = "bt601" if self._stream.codec_context.height < 720 else "bt709"
            full = picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")
            siting: Siting = "left"
            # Turned left-siting is none of the three that Color knows; the centre is nearest to all its turns.
            if self._stream.codec_context.codec.name in _CENTER_SITED or self._orientation != Orientation():
                siting = "center"
            self._colors[key] = Color(matrix, full, siting)
        return self._colors[key]

    def close(self) -> None:
        """Close the file; frames already given stay valid."""
        self._decoded, self._waiting = iter(()), None  # the generator holds this object, and decoded pictures
        if self._in_use.acquire(blocking=False):  # else a thread reads, perhaps for ever: libav would crash
            self._container.close()
            self._in_use.release()

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
        graph.threads = 1  # each thread would compute the table for itself, which takes seconds
        source = (
            f"video_size={picture.width}x{picture.height}:pix_fmt={picture.format.name}:time_base=1/1000:"
            f"pixel_aspect=1/1:colorspace={picture.colorspace}:range={picture.color_range}"
        )
        scale = "out_color_matrix=bt709:out_transfer=bt709:out_primaries=bt709:out_range=tv:intent=perceptual:threads=1"
        graph.link_nodes(
            graph.add("buffer", source),
            graph.add("scale", scale),
            graph.add("format", "pix_fmts=yuv420p"),
            graph.add("buffersink"),
        ).configure()
        return graph


def expected_frames(path: Path) -> tuple[int | None, Fraction | None]:
    """How many frames a file states, and its frame rate, without decoding any; None for what it does not say."""
    try:
        with open_input(path) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                return None, None
            rate = fraction(stream.average_rate)
            seconds = Fraction(container.duration or 0, 1_000_000)
            return stream.frames or (round(seconds * rate) if rate else 0) or None, rate
    except (MediaError, av.FFmpegError):
        return None, None


def open_input(path: Path, kind: str = "video", hardware: HWAccel | None = None) -> av.container.InputContainer:
    """Open a local file for reading, or say in the user's terms why it is not a ``kind``.

    Args:
        hardware: decodes where it can.
    """
    if not path.exists():
        raise MediaError(f"{path}: no such file.")
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected a {kind} file. Pictures of a folder are read with --images.")
    if not path.is_file():  # to open a named pipe waits for its writer, and files are opened more than once
        raise MediaError(
            f"{path} is a named pipe or a device; expected a {kind} file. A video is piped to standard input: "
            "ffmpeg … -f yuv4mpegpipe - | engine translate -"
        )
    try:
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes).")
        container = open_to_read(
            f"file:{path}",
            container_options={
                "protocol_whitelist": "file",
                "format_whitelist": ",".join(limits.formats()),
                "codec_whitelist": limits.decoders(),
            },
            hwaccel=hardware,
            timeout=(OPEN_S, None),
        )
    except av.error.ExitError as error:
        raise MediaError(
            f"{path} cannot be read as a {kind}: no frame was found in {OPEN_S:g} s. It is damaged, or its disk is "
            "slow; copy it to another one first."
        ) from error
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, MediaError):
            raise
        if isinstance(error, PermissionError):
            raise MediaError(f"{path} cannot be read: permission denied.") from error
        raise MediaError(f"{path} cannot be read as a {kind} ({reason(error)}): {_what_it_is(path, kind)}.") from error
    if container.format.name == "tty":  # libav draws text files as pictures
        container.close()
        raise MediaError(f"{path} is a text file; expected a {kind}.")
    return container


def _what_it_is(path: Path, kind: str) -> str:
    """Guess why libav cannot open a file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(512)
        if head.lstrip().startswith((b"#EXTM3U", b"ffconcat")) or b"<MPD" in head or b"<SmoothStreaming" in head:
            return "it is a playlist that refers to other files; give those files, or join them with ffmpeg first"
        if head[4:8] == b"ftyp":
            return "it begins like an MP4 file, but its index (moov) is missing or damaged; it was probably cut off"
        if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
            return "it contains text"
    return f"it is damaged, cut off, or not a {kind}"


def stream_info(stream: Any) -> StreamInfo:
    """What a report says of one stream."""
    context = getattr(stream, "codec_context", None)
    name = context.codec.canonical_name if context is not None else (getattr(stream, "name", None) or "unknown")
    return StreamInfo(stream.index, stream.type, name, stream.metadata.get("language", ""))


def _seconds(value: float | None) -> Fraction | None:
    """Decimal seconds as the user wrote them: 0.1 is a tenth."""
    return None if value is None else Fraction(str(value))


def is_grey(format: av.VideoFormat) -> bool:
    """Whether pictures of a format have luma alone, and perhaps alpha."""
    return format.name.startswith(("gray", "ya8", "ya16", "yaf", "mono"))


def target_format(picture: av.VideoFrame) -> PixelFormat:
    """What frames of such pictures are converted to."""
    format = picture.format
    native = NATIVE_FORMATS.get(format.name)
    if native is not None:
        return native
    if is_grey(format) and not format.name.startswith("mono"):
        return "rgb24" if picture.color_range == FULL_RANGE else "yuv420p"
    return "rgb24" if format.is_rgb or format.has_palette or len(format.components) < 3 else "yuv420p"


# --- rates ------------------------------------------------------------------------------------------------------------

_RATES = tuple(
    Fraction(*rate)
    for rate in (
        (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1), (100, 1),
        (120000, 1001), (120, 1), (240, 1), (15, 1), (12, 1), (10, 1), (20, 1), (5, 1), (1, 1),
    )
)  # fmt: skip
_LIKELY = 130
"""Frames per second above which a rate that a file states is checked against the times of its packets."""
_CHECKED = 120
"""Packets that are looked at."""


def believable_rate(path: Path, stream: Any) -> Fraction | None:
    """Average frames per second of a stream; None if unknown.

    libav states what a container says, or a guess from few packets: of bare streams, raw DV and files that browsers
    record this may be the clock's frequency. What looks like that is counted instead.
    """
    stated = fraction(stream.average_rate) or fraction(stream.base_rate)
    guessed = fraction(stream.guessed_rate)
    if stated and stated <= _LIKELY and (not guessed or 0.4 < stated / guessed < 2.5):
        return stated
    counted = _counted_rate(path, stream.index)
    return counted or (guessed if guessed and guessed <= _LIKELY else None) or stated


def _counted_rate(path: Path, index: int) -> Fraction | None:
    """The rate by the times of the first packets; None if they have none."""
    times: set[Fraction] = set()
    with contextlib.suppress(av.FFmpegError), open_input(path) as container:
        for number, packet in enumerate(container.demux(container.streams[index])):
            if packet.pts is not None and packet.time_base:
                times.add(packet.pts * packet.time_base)
            if number >= _CHECKED:
                break
    if len(times) < 3:
        return None
    ordered = sorted(times)
    rate = (len(ordered) - 1) / (ordered[-1] - ordered[0])
    near = min(_RATES, key=lambda known: abs(known - rate))
    return near if abs(near - rate) < near / 200 else rate.limit_denominator(1001)
