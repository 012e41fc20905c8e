"""Writing videos."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter

from ...errors import BackendUnavailable, MediaError, OptionError, did_you_mean, reason
from ...files import OutputFile
from ...pixels.frame import Frame
from ...threads import ordinary_priority
from ..av_frames import BEST, FULL_RANGE, DeviceFrame, FramePool, VideoFrame, plane_views, rgb_to_yuv
from ..base import ColorTags, FileInfo, FrameFormat, FrameSource, Notes
from . import hardware
from .codecs import CODECS, CONTAINERS, NVENC, PRESETS, ContainerKind, Encoder
from .hardware import Coder, EncoderName, Problem
from .passthrough import CopiedStreams, written_by_people

_EVEN_FREE = "yuv444p"  # the format for odd sizes where an encoder wants even ones in 4:2:0


class VideoSink:
    """Encodes frames into a file, with the other streams of the video that they come from.

    The file grows under a temporary name in the same folder and takes its own name when it is finished. Left as a
    context manager it is finished on a normal end and on Ctrl-C (cut there, playable), and removed on other errors.

    Args:
        path: the output; its suffix chooses the container (.mp4, .m4v, .mov, .mkv, .webm).
        format: of the frames: size, time base, colour tags, pixel aspect.
        origin: the source of the frames, or its file: other streams, titles and chapters are taken from there.
        codec: "h264", "hevc", "vp9", "av1" or "ffv1" (lossless, .mkv); None: the container's usual one.
        crf: constant quality, 0 is best (for h264, and for all of NVENC's: lossless); None: 20 for h264. NVENC's scale
            is of the same range, but not the same: files of one number differ in size.
        preset: speed, "ultrafast" to "veryslow".
        threads: encoder threads; 0 lets the encoder choose.
        encoder: "nvenc" encodes on the GPU or fails; "auto" does so where that works; "cpu". ``encoder`` says which it
            became, and why.
        device: which GPU encodes. Frames that are in its memory stay there.
        overwrite: whether an existing file may be replaced.

    ``notes`` says what could not be kept.

    Raises:
        MediaError: the file cannot be written, or the disk is full. An existing file stays as it was.
        OptionError: an unknown codec, preset or suffix.
        BackendUnavailable: NVENC was asked for by name and does not encode such frames here.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: FrameFormat,
        *,
        origin: FrameSource | FileInfo | None = None,
        codec: str | None = None,
        crf: float | None = None,
        preset: str = "veryfast",
        threads: int = 0,
        encoder: EncoderName = "cpu",
        device: int = 0,
        overwrite: bool = False,
    ) -> None:
        self.path: Path = Path(path)
        self.notes: Notes = Notes()
        self.frames: int = 0
        self.format = format
        self._device = device
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
        if encoder not in get_args(EncoderName):
            raise OptionError(f"encoder is {encoder!r}; expected one of {', '.join(get_args(EncoderName))}")
        if crf is not None and not 0 <= crf <= CODECS[name].largest_crf:
            raise OptionError(f"crf is {crf:g}; {name} takes 0 (best) to {CODECS[name].largest_crf}.")
        self._file = self._open_file(overwrite)
        self._copies: CopiedStreams | None = None
        self._in_use = threading.RLock()
        try:
            self._output = self._open_output(kind)
            self.encoder: Coder
            self.encoder, chosen = self._choose_encoder(encoder, name, crf, preset)
            self._stream = self._add_video(chosen, kind, crf, preset, threads)
            file = origin if origin is None or isinstance(origin, FileInfo) else origin.file
            if file is not None:
                self._output.metadata.update(written_by_people(file.metadata))
                self._copies = CopiedStreams(file, self._output, kind, self.notes)
        except av.FFmpegError as error:
            self.abort()
            raise MediaError(f"{self.path} cannot be written ({reason(error)}).") from error
        except BaseException:
            self.abort()
            raise
        self._last: int | None = None
        self._last_dts: int | None = None
        self._flush = True
        self._offset = Fraction(0)
        self._end = Fraction(0)
        self._pools: dict[tuple[int, int, str], FramePool] = {}
        self._reformatter = VideoReformatter()

    def _open_file(self, overwrite: bool) -> OutputFile:
        return OutputFile(self.path, overwrite=overwrite)

    def _open_output(self, kind: ContainerKind) -> OutputContainer:
        movie = kind.format in ("mp4", "mov")
        return av.open(
            self._file,
            "w",
            format=kind.format,
            buffer_size=1 << 18,
            container_options=_movie_options(self.format.time_base) if movie else None,
        )

    def _choose_encoder(
        self,
        wanted: EncoderName,
        codec: str,
        crf: float | None,
        preset: str,
    ) -> tuple[Coder, Encoder]:
        """Choose the encoder: the requested one, or the first that works."""
        on_cpu = CODECS[codec]
        if wanted == "cpu":
            return Coder("cpu"), on_cpu
        on_gpu = NVENC.get(codec)
        problem: Problem | None = Problem(f"NVENC does not support {codec}", f"It supports {', '.join(NVENC)}")
        if on_gpu is not None:
            problem = self._try_encoder(on_gpu, crf, preset)
        if problem is None:
            assert on_gpu is not None
            return Coder("nvenc", f"nvenc: using {on_gpu.library}"), on_gpu
        if wanted == "nvenc":
            raise BackendUnavailable(
                f"--encoder nvenc cannot encode {self.path}: {problem} Use --encoder auto, or cpu."
            )
        return Coder("cpu", f"nvenc: {problem.reason}; using {on_cpu.library}"), on_cpu

    def _try_encoder(self, encoder: Encoder, crf: float | None, preset: str) -> Problem | None:
        """Why an encoder does not encode frames of this size here; None: it does."""
        try:
            codec = av.codec.Codec(encoder.library, "w")
            pixel_format = self._pixel_format(encoder, codec)
        except (ValueError, OptionError) as error:
            return Problem(reason(error).rstrip("."))
        return hardware.encoder_problem(
            encoder.library,
            self.format.size,
            pixel_format,
            encoder.options(crf, preset),
            hardware.encodes_there(encoder.library, self._device),
        )

    def _add_video(
        self,
        encoder: Encoder,
        kind: ContainerKind,
        crf: float | None,
        preset: str,
        threads: int,
    ) -> av.VideoStream:
        format = self.format
        try:
            codec = av.codec.Codec(encoder.library, "w")
        except ValueError as error:
            raise MediaError(
                f"This build of PyAV has no {encoder.library} encoder. Install av from PyPI, or choose another --codec "
                f"({', '.join(CODECS)})."
            ) from error
        rate = format.rate or Fraction(25)
        on_gpu = self.encoder.name == "nvenc"
        accelerator = hardware.encodes_there(encoder.library, self._device) if on_gpu else None
        self._takes_device_pictures = accelerator is not None
        there: dict[str, Any] = {} if accelerator is None else {"hwaccel": accelerator}  # not known to every PyAV
        try:
            stream = self._output.add_stream(
                encoder.library,
                rate=rate,
                time_base=format.time_base,
                **there,
            )
        except ValueError as error:
            raise OptionError(
                f"{self.path.suffix} files cannot hold {encoder.library} video; usual there is {kind.codec}."
            ) from error
        assert isinstance(stream, av.VideoStream)
        height, width = format.size
        context = stream.codec_context
        stream.time_base = format.time_base
        context.time_base = format.time_base
        context.width, context.height = width, height
        context.pix_fmt = self._pixels = self._pixel_format(encoder, codec)
        if self._pixels == _EVEN_FREE:
            self.notes.add(
                f"{width}x{height} is an odd size: encoded as {_EVEN_FREE}, which keeps it but which some players "
                "cannot show"
            )
        context.sample_aspect_ratio = format.pixel_aspect
        tags = format.tags
        if format.pixels == "rgb24" or self._pixels == "rgb24":  # RGB becomes BT.709
            tags = ColorTags(1, 1, 1, 1)
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if format.color.full_range and format.pixels != "rgb24":
            context.color_range = FULL_RANGE
        context.thread_count = threads
        # PyAV's default is slices, with which x264 compresses worse and scales less.
        context.thread_type = "AUTO"
        context.flags |= CodecFlags.frame_duration
        context.options = encoder.options(crf, preset)
        return stream

    def _pixel_format(self, encoder: Encoder, codec: av.codec.Codec) -> str:
        height, width = self.format.size
        known = {format.name for format in codec.video_formats or ()}
        pixels = self.format.pixels
        wanted: str = pixels if pixels in known and pixels != "rgb24" else "yuv420p"
        if encoder.even_only and (height % 2 or width % 2):
            if _EVEN_FREE not in known:
                raise OptionError(
                    f"{encoder.library} cannot encode the odd size {width}x{height}; choose --codec h264 or vp9."
                )
            wanted = _EVEN_FREE
        return wanted

    def write(self, frame: Frame) -> None:
        """Encode a frame; times must rise. A frame without a time follows the last one at the average rate."""
        height, width = frame.size
        context = self._stream.codec_context
        if (height, width) != (context.height, context.width):
            raise MediaError(
                f"{self.path}: got a frame of {width}x{height}; the video is {context.width}x{context.height}."
            )
        with self._in_use:
            pts = self._pts(frame)
            picture = self._picture(frame)
            duration = picture.duration
            picture.pts, picture.time_base, picture.pict_type = pts, self.format.time_base, 0
            try:
                if self._takes_device_pictures and not context.is_open:
                    context.open(strict=False)  # or PyAV opens it with the picture's frames context, but in NV12
                with contextlib.nullcontext() if context.is_open else ordinary_priority():
                    packets = self._stream.encode(picture)
                self._mux(packets)
            except av.FFmpegError as error:
                raise self._failed(error) from error
            self._last = pts
            self._end = (pts + (duration or self._step())) * self.format.time_base
            self.frames += 1

    def write_encoded(
        self,
        packets: Iterable[av.Packet[Any]],
        frames: int,
        first: Fraction,
        end: Fraction,
        parameters: tuple[str, str],
    ) -> None:
        """Take frames that an encoder like this sink's has encoded already, from a key frame on.

        Args:
            packets: in decoding order, with times in ticks of the format's time base.
            frames: how many there are.
            first, end: time of the first one, and end of the last one, in seconds.
            parameters: name of the encoder, and its parameter sets in hexadecimal.

        Raises:
            MediaError: they were encoded otherwise.
        """
        context = self._stream.codec_context
        try:
            if not context.is_open:
                with ordinary_priority():
                    context.open(strict=False)
            own = context.codec.name, (context.extradata or b"").hex()
            if own != parameters:
                raise MediaError(
                    f"{self.path}: the segments were encoded with other options, or another version of "
                    f"{parameters[0]}. Begin again without --resume."
                )
            if self._copies is not None and self._last_dts is None:
                self._offset = self._copies.start_at(first)
            shift = round(self._offset / self.format.time_base)
            for packet in packets:
                assert packet.pts is not None and packet.dts is not None
                pts, dts = packet.pts - shift, packet.dts - shift
                if self._last_dts is not None and dts <= self._last_dts:  # at a seam of uneven frame times
                    dts = self._last_dts + 1
                packet.pts, packet.dts, packet.time_base, packet.stream = pts, dts, self.format.time_base, self._stream
                self._last_dts = dts
                self._mux([packet])
        except av.FFmpegError as error:
            raise self._failed(error) from error
        self._flush = False
        self._end = end - self._offset
        self.frames += frames

    def _step(self) -> int:
        return max(1, round(1 / ((self.format.rate or 25) * self.format.time_base)))

    def _pts(self, frame: Frame) -> int:
        if frame.time is None:
            return 0 if self._last is None else self._last + self._step()
        if self._last is None and self._copies is not None:
            self._offset = self._copies.start_at(frame.time)
        pts = round((frame.time - self._offset) / self.format.time_base)
        if self._last is not None and pts <= self._last:
            raise MediaError(
                f"{self.path}: frame {self.frames + 1} is timed at {float(frame.time):.4f} s, which is not after the "
                "frame before."
            )
        return pts

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """The frame as a picture of the encoder's format, without a copy where possible."""
        if isinstance(frame, DeviceFrame) and self._takes_device_pictures and self._pixels == frame.format:
            return frame.device_picture
        target = self._pixels
        picture = frame.picture if isinstance(frame, VideoFrame) else None
        if picture is None or picture.format.name not in (frame.format, target):
            picture = self._copied(frame)
        if picture.format.name == target:
            return picture
        if frame.format == "rgb24":
            return rgb_to_yuv(self._reformatter, picture, target)
        return self._reformatter.reformat(picture, format=target, interpolation=BEST, threads=1)

    def _copied(self, frame: Frame) -> av.VideoFrame:
        key = (frame.size[1], frame.size[0], str(frame.format))
        picture = self._pools.setdefault(key, FramePool(*key)).take()
        for target, plane in zip(plane_views(picture, frame.format), frame.planes, strict=True):
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
        self._in_use.acquire()
        try:
            if not self.frames:
                raise MediaError(f"{self.path}: no frame was written.")
            if self._flush:
                self._mux(self._stream.encode(None))
            if self._copies is not None:
                self._copies.finish(None if complete else self._end)
            self._output.close()
            self._file.commit()
        except av.FFmpegError as error:
            raise self._failed(error) from error
        finally:
            self.abort()
            self._in_use.release()

    def abort(self) -> None:
        """Remove what was written; nothing happens after :meth:`close`."""
        finished = self._file.done
        self._file.discard()
        if not self._in_use.acquire(blocking=False):  # a thread writes or reads on, perhaps for ever: libav would crash
            return
        if self._copies is not None:
            self._copies.close()
        if not finished:
            with contextlib.suppress(av.FFmpegError, AttributeError):  # the output may not be open yet
                self._output.close()
        self._in_use.release()

    def _failed(self, error: Exception) -> MediaError:
        self._file.check()  # a full disk reaches us as a broken container
        problem = MediaError(f"{self.path}: frame {self.frames + 1} cannot be encoded ({reason(error)}).")
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


def _movie_options(time_base: Fraction) -> dict[str, str]:
    """The index first, so that players can begin early; late starts to the tick, where the default is milliseconds."""
    scale = time_base.denominator if 1000 <= time_base.denominator <= 10_000_000 else 90_000
    return {"movflags": "+faststart", "movie_timescale": str(scale)}
